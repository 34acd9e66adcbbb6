"""Runs the DAG on this machine: TFX's LocalDagRunner, node by node, so that a person can watch."""

import copy
import shutil
import time
from collections.abc import Callable
from pathlib import Path

from etils import epath
from ml_metadata.metadata_store import ListOptions, OrderByField
from ml_metadata.proto import metadata_store_pb2
from tfx.dsl.compiler import compiler, constants
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.orchestration.portable import execution_publish_utils, runtime_parameter_utils
from tfx.orchestration.portable.mlmd import execution_lib
from tfx.proto.orchestration import pipeline_pb2
from tfx.types.artifact import Artifact

from components.nodes.retrain_policy import RETRAIN
from pipeline.dag import POLICY, create_pipeline
from pipeline.local.cache import record_files
from pipeline.node_state import NodeState, State
from pipeline.planning.prospect import Prospect

Observer = Callable[[NodeState], None]
Artifacts = dict[str, dict[str, metadata_store_pb2.Artifact]]
"""By node and by name of the output."""


def create_local(prospect: Prospect, *, keep_account: bool = True) -> Pipeline:
    """Makes the DAG for a run on this machine, with ML Metadata in a sqlite file of the workspace.

    Args:
      prospect: the run.
      keep_account: whether the decision to retrain goes into the history.
    """
    workspace, plan = prospect.inputs.workspace, prospect.plan
    if not keep_account:
        plan = plan.model_copy(update={"policy": plan.policy.model_copy(update={"history": None})})
    return create_pipeline(
        prospect.config,
        plan.texts(),
        artifacts=str(workspace.artifacts),
        metadata=sqlite_metadata_connection_config(str(workspace.metadata)),
    )


def compile_pipeline(pipeline: Pipeline, run_id: str) -> pipeline_pb2.Pipeline:
    """Compiles the DAG to TFX's intermediate representation, for the run with the id `run_id`."""
    ir = compiler.Compiler().compile(pipeline)
    runtime_parameter_utils.substitute_runtime_parameter(ir, {constants.PIPELINE_RUN_ID_PARAMETER_NAME: run_id})
    return ir


def node_ids(ir: pipeline_pb2.Pipeline) -> list[str]:
    """Returns the ids of the nodes, in the order in which they run."""
    return [node.pipeline_node.node_info.id for node in ir.nodes]


def run_local(
    pipeline: Pipeline, ir: pipeline_pb2.Pipeline, observe: Observer, *, decide_only: bool = False
) -> Artifacts:
    """Runs every node in turn; the first failure ends the run, and so does a decision not to retrain.

    Nothing else may be running in the workspace: an execution that ML Metadata has as running counts as killed.

    Args:
      pipeline: the DAG that `ir` was compiled from.
      ir: see `compile_pipeline`.
      observe: called at each change of a node's state.
      decide_only: whether the run ends with the decision, whatever it is.

    Returns:
      The artifacts that the run made, or took from an earlier one.

    Raises:
      Exception: the exception of the failing node, after `observe` was called.
    """
    _bury_killed(pipeline)
    artifacts: Artifacts = {}
    ended = False
    for node in ir.nodes:
        name = node.pipeline_node.node_info.id
        if ended:
            observe(NodeState(name, "skipped"))
            continue
        single = copy.deepcopy(ir)
        del single.nodes[:]
        single.nodes.append(node)
        observe(NodeState(name, "running"))
        start = time.monotonic()
        try:
            LocalDagRunner().run_with_ir(single)
        except BaseException as error:
            state: State = "canceled" if isinstance(error, KeyboardInterrupt) else "failed"
            observe(NodeState(name, state, time.monotonic() - start))
            raise
        cached, outputs = _outcome(pipeline, ir, name)
        observe(NodeState(name, "cached" if cached else "done", time.monotonic() - start))
        artifacts[name] = outputs
        if name == POLICY:
            ended = decide_only or text_of(outputs["decision"]) != RETRAIN
    return artifacts


def _bury_killed(pipeline: Pipeline) -> None:
    """Marks the execution that a killed run left behind as failed, and removes its files, as TFX does after a failure.

    There is at most one, and it is the last: every run begins with this. If that was complete when the run was killed,
    what its files are like may not have been recorded.
    """
    latest = ListOptions(limit=1, order_by=OrderByField.ID, is_asc=False)
    with metadata.Metadata(pipeline.metadata_connection_config) as handle:
        for execution in handle.store.get_executions(list_options=latest):
            if execution.last_known_state == metadata_store_pb2.Execution.RUNNING:
                places = (f"*/*/{execution.id}", f"*/.system/*/{execution.id}", "*/.system/stateful_working_dir/*")
                for place in places:
                    for written in Path(pipeline.pipeline_info.pipeline_root).glob(place):
                        shutil.rmtree(written)
                execution_publish_utils.publish_failed_execution(handle, [], execution.id)
            elif execution.last_known_state == metadata_store_pb2.Execution.COMPLETE:
                record_files(handle.store, _first(execution_lib.get_output_artifacts(handle, execution.id)).values())


def text_of(value: metadata_store_pb2.Artifact) -> str:
    """Returns the text that a node wrote as an output."""
    return epath.Path(value.uri).read_text()


def _outcome(
    pipeline: Pipeline, ir: pipeline_pb2.Pipeline, node: str
) -> tuple[bool, dict[str, metadata_store_pb2.Artifact]]:
    """Returns whether a node of this run was cached, and its outputs by name; records what new ones are like."""
    with metadata.Metadata(pipeline.metadata_connection_config) as handle:
        store = handle.store
        run = store.get_context_by_type_and_name(
            "pipeline_run", ir.runtime_spec.pipeline_run_id.field_value.string_value
        )
        executions = [
            execution for execution in store.get_executions_by_context(run.id) if execution.type == _type(ir, node)
        ]
        latest = max(executions, key=lambda execution: execution.id)
        outputs = execution_lib.get_output_artifacts(handle, latest.id)
        cached = latest.last_known_state == metadata_store_pb2.Execution.CACHED
        if not cached:
            record_files(store, _first(outputs).values())
        return cached, _first(outputs)


def _first(outputs: dict[str, list[Artifact]]) -> dict[str, metadata_store_pb2.Artifact]:
    return {key: values[0].mlmd_artifact for key, values in outputs.items() if values}


def _type(ir: pipeline_pb2.Pipeline, node: str) -> str:
    return next(n.pipeline_node.node_info.type.name for n in ir.nodes if n.pipeline_node.node_info.id == node)
