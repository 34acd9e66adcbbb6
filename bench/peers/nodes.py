"""Nodes of a DAG in a new process: `python -m bench.peers.nodes JOB OUT` runs them and writes the seconds of each.

Our DAG and the stock one both run through `pipeline.local.runner`, so that TFX's own work around a node is the same.
"""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.harness.timing import Sample, in_new_process
from components.base.section import Section
from pipeline.node_state import NodeState
from pipeline.process import large_imports

if TYPE_CHECKING:
    from tfx import v1 as tfx

PREPARATION = ("ImportSchemaGen", "ImportExampleGen", "StatisticsGen", "ExampleValidator", "DataGate", "Transform")
"""Our nodes from wav records to features."""
FEATURES = "Transform.transformed_examples"
"""Name of the figure with the bytes of the features, in our DAG and in the stock one."""


class NodesJob(Section):
    """The nodes to run, and where."""

    dag: str = "ours"
    """"ours" or "stock"."""
    data: str
    workspace: str
    settings: tuple[str, ...]
    nodes: tuple[str, ...] | None = None
    """Nodes in order, with all that they depend on; None: all. Those that the workspace has cached do not run again."""
    fresh: tuple[str, ...] = ()
    """Nodes that run although they are cached."""
    pure: bool = False
    """True: also time a pass that reads, decodes and transforms the same clips, without Beam and without writing."""


def run_nodes(job: NodesJob, log: Path) -> Sample:
    """Runs `job` in a new process.

    Returns:
      The whole process. `figures` has the seconds of every node by its name, those until the DAG was made as "imports",
      those of a pure pass as "pure", and the bytes of every output as "<node>.<output>".
    """
    out = log.with_suffix(".json")
    sample = in_new_process([sys.executable, "-m", "bench.peers.nodes", job.model_dump_json(), str(out)], log)
    figures: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return sample.model_copy(update={"figures": figures})


def tree_bytes(directory: Path) -> int:
    """Adds up the bytes of all files in a directory and below."""
    return sum(file.stat().st_size for file in directory.rglob("*") if file.is_file())


def _ours(job: NodesJob) -> "tfx.dsl.Pipeline":
    from pipeline.config.settings import load_config
    from pipeline.local.runner import create_local
    from pipeline.planning.prospect import prospect

    places = (f'data="{job.data}"', f'workspace="{job.workspace}"')
    config = load_config(None, (*places, *job.settings))
    wanted = prospect(config, asked=True)
    wanted.inputs.workspace.local.mkdir(parents=True, exist_ok=True)
    return create_local(wanted)


def _stock(job: NodesJob) -> "tfx.dsl.Pipeline":
    from bench.peers.stock import create_stock_pipeline
    from pipeline.config.settings import load_config

    Path(job.workspace).mkdir(parents=True, exist_ok=True)
    return create_stock_pipeline(Path(job.data), Path(job.workspace), load_config(None, job.settings))


def _main(job: NodesJob, out: Path) -> None:
    start = time.monotonic()
    create: Callable[[NodesJob], tfx.dsl.Pipeline] = {"ours": _ours, "stock": _stock}[job.dag]
    with large_imports():  # as `genre run` does it
        pipeline = create(job)
        from pipeline.local.runner import compile_pipeline, run_local

    ir = compile_pipeline(pipeline, f"bench-{time.time_ns()}")  # TFX runs no node twice in a run of one name
    figures = {"imports": time.monotonic() - start}
    by_name = {node.pipeline_node.node_info.id: node for node in list(ir.nodes)}
    del ir.nodes[:]
    for name in job.nodes or by_name:
        node = by_name[name]
        node.pipeline_node.execution_options.caching_options.enable_cache = name not in job.fresh
        ir.nodes.append(node)

    def observe(state: NodeState) -> None:
        figures[state.node] = state.seconds
        if state.state == "cached" and state.node in job.fresh:
            raise RuntimeError(f"{state.node} was not measured: it was taken from the cache")

    artifacts = run_local(pipeline, ir, observe)
    for name, outputs in artifacts.items():
        figures |= {f"{name}.{output}": tree_bytes(Path(made.uri)) for output, made in outputs.items()}
    if job.pure:
        from bench.peers.pure import read_decode_and_transform

        examples = Path(artifacts["ImportExampleGen"]["examples"].uri)
        read_decode_and_transform(examples, job.settings)  # the first pass includes what libraries import late
        start = time.monotonic()
        read_decode_and_transform(examples, job.settings)
        figures["pure"] = time.monotonic() - start
    out.write_text(json.dumps(figures, indent=2), encoding="utf-8")


if __name__ == "__main__":
    _main(NodesJob.model_validate_json(sys.argv[1]), Path(sys.argv[2]))
