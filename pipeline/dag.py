"""The one DAG, for every target."""

from typing import NamedTuple

from ml_metadata.proto import metadata_store_pb2
from tfx.components import ExampleValidator, StatisticsGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2, transform_pb2

from components.beam.options import beam_args
from components.library.layout import SpanImport
from components.nodes.champion import Champion
from components.nodes.data_gate import DataGate
from components.nodes.distribution_validator import DistributionValidator
from components.nodes.drift_detector import DriftDetector
from components.nodes.endpoint_pusher import EndpointPusher
from components.nodes.evaluator import GateEvaluator
from components.nodes.example_gen import ImportExampleGen
from components.nodes.import_schema import ImportSchemaGen
from components.nodes.pusher import StorePusher
from components.nodes.recorder import Recorder
from components.nodes.reference_profile import ReferenceProfile
from components.nodes.reporter import Reporter
from components.nodes.retrain_policy import RetrainPolicy
from components.nodes.trainer import Trainer, Tuner, with_window
from components.nodes.transform import Transform
from pipeline.config.settings import PipelineConfig
from pipeline.config.targets import VertexConfig, vertex_api
from pipeline.planning.plan import Plan, Value
from pipeline.workspace import Workspace

POLICY = RetrainPolicy.__name__
"""The node whose decision the rest of the run waits for; see `waiting_nodes`."""


def _configured(node: BaseComponent, custom_config: Value) -> BaseComponent:
    """`node` with its custom configuration: TFX's constructors take none that is not known yet."""
    node.exec_properties["custom_config"] = custom_config
    return node


class _Slot(NamedTuple):
    """The nodes of one span of the window."""

    examples: BaseComponent
    statistics: BaseComponent
    validator: BaseComponent
    data_gate: BaseComponent
    transform: BaseComponent


def _said(node: BaseComponent, name: str) -> Value:
    """What a node says in its output `name`, for a parameter of another."""
    return node.outputs[name].future()[0].value


def _is_empty(source: Value) -> bool:
    """Whether it is known already that there is no span for a slot; in a compiled pipeline that shows in each run."""
    return isinstance(source, str) and SpanImport.model_validate_json(source).span is None


def _slot(suffix: str, source: Value, earlier: Value, schema: BaseComponent, plan: Plan, workspace: Workspace) -> _Slot:
    """Nodes for what is imported by `source`; `suffix` tells them from those of the other slots.

    Args:
      earlier: the anomalies that the slots before this let pass.
    """
    set_aside = str(workspace.set_aside)
    examples = ImportExampleGen(source=source, set_aside=set_aside).with_id(f"ImportExampleGen{suffix}")
    # With the schema, because it declares `audio` an image: nobody needs the most frequent of megabyte values.
    statistics = StatisticsGen(examples=examples.outputs["examples"], schema=schema.outputs["schema"]).with_id(
        f"StatisticsGen{suffix}"
    )
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]).with_id(
        f"ExampleValidator{suffix}"
    )
    data_gate = DataGate(
        anomalies=validator.outputs["anomalies"],
        on_anomaly=plan.on_anomaly,
        earlier=earlier,
        source=source,
        set_aside=set_aside,
    ).with_id(f"DataGate{suffix}")
    transform = _configured(
        Transform(
            examples=examples.outputs["examples"],
            schema=schema.outputs["schema"],
            preprocessing_fn="components.audio.preprocessing.preprocessing_fn",
            # The test split is judged raw, through the served signature: nothing needs it transformed.
            splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
            # The raw examples have theirs from StatisticsGen, and without analyzers there is nothing to cache.
            disable_statistics=True,
            disable_analyzer_cache=True,
        ),
        plan.transform,
    ).with_id(f"Transform{suffix}")
    return _Slot(examples, statistics, validator, data_gate, transform)


def create_pipeline(
    config: PipelineConfig,
    plan: Plan,
    workspace: Workspace,
    *,
    first: tuple[BaseComponent, ...] = (),
    artifacts: str | None = None,
    metadata: metadata_store_pb2.ConnectionConfig | None = None,
    vertex: VertexConfig | None = None,
    keep_account: bool = True,
) -> Pipeline:
    """The window to the report. One per process: TFX registers a node once.

    Args:
      config: its name, its Beam options and whether there is a Tuner; the rest of it is in the plan.
      plan: the parameters of the nodes.
      workspace: where models go.
      first: nodes that come before, such as the one that makes the plan.
      artifacts: where artifacts go; None: where the target puts them.
      metadata: where ML Metadata is; None: where the target keeps it.
      vertex: what Vertex AI is told, if it is the target: with an endpoint in it, that serves what is pushed.
      keep_account: whether the decision to retrain goes into the history.

    Returns:
      A pipeline that any TFX runner takes.
    """
    schema = ImportSchemaGen(schema_file=plan.schema_file, digest=plan.schema_digest)
    slots: list[_Slot] = []
    for number, source in enumerate(plan.slots):
        if _is_empty(source):
            continue
        suffix = f"_{number}" if len(plan.slots) > 1 else ""
        earlier = _said(slots[-1].data_gate, "words") if slots else ""
        slots.append(_slot(suffix, source, earlier, schema, plan, workspace))
    held_out = ImportExampleGen(source=plan.held_out, set_aside=str(workspace.set_aside)).with_id("HeldOutExampleGen")
    champion = Champion(store=str(workspace.models), version=plan.champion)
    drift = DriftDetector(
        held_out=held_out.outputs["examples"],
        champion=champion.outputs["champion"],
        settings=plan.drift,
        source=plan.drift_source,
    )
    distribution = DistributionValidator(
        statistics=drift.outputs["statistics"],
        baseline_statistics=drift.outputs["baseline_statistics"],
        thresholds=drift.outputs["thresholds"],
    )
    policy = RetrainPolicy(
        drift=drift.outputs["drift"],
        anomalies=distribution.outputs["anomalies"],
        facts=plan.facts,
        retrain=plan.retrain,
        lineage=plan.lineage,
        history=str(workspace.history) if keep_account else "",
        now=plan.now,
        source=plan.policy_source,
    )
    policy.add_upstream_node(slots[-1].data_gate)
    for slot in slots:
        slot.transform.add_upstream_node(policy)

    transform, *more = [slot.transform for slot in slots]
    more = [each.outputs["transformed_examples"] for each in more]
    inputs = {
        "examples": transform.outputs["transformed_examples"],
        # Without analyzers, it is the same for every span.
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema.outputs["schema"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["eval"]),
    }
    tuners = []
    if config.tune.enabled:
        tuner = Tuner(tuner_fn="models.fitting.tuning.tuner_fn", **inputs)
        tuners = [with_window(_configured(tuner, plan.tuner), more)]
        inputs["hyperparameters"] = tuner.outputs["best_hyperparameters"]
    if config.train.warm_start:
        inputs["base_model"] = champion.outputs["champion"]
    trainer = with_window(_configured(Trainer(run_fn="models.fitting.training.run_fn", **inputs), plan.trainer), more)

    evaluator = GateEvaluator(
        held_out=held_out.outputs["examples"],
        model=trainer.outputs["model"],
        champion=champion.outputs["champion"],
        genres=plan.genres,
        span=plan.newest,
        golden_span=plan.golden,
        best=plan.best,
        gate=plan.gate,
        source=plan.evaluator_source,
    )
    reference = ReferenceProfile(
        model=trainer.outputs["model"],
        held_out=held_out.outputs["examples"],
        source=plan.reference_source,
    )
    pusher = StorePusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        reference=reference.outputs["reference"],
        store=str(workspace.models),
        lineage=plan.lineage,
        keep=plan.keep_versions,
    )
    endpoint_pushers = []
    if vertex is not None and vertex.endpoint is not None:
        endpoint_pushers = [
            EndpointPusher(
                pushed_model=pusher.outputs["pushed_model"],
                model=config.name,
                endpoint=vertex.endpoint.model_dump_json(),
                project=vertex.project,
                region=vertex.region,
                api=vertex_api(vertex),
                source=plan.endpoint_source,
            )
        ]
    recorder = Recorder(
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        pushed_model=pusher.outputs["pushed_model"],
        lineage=plan.lineage,
        history=str(workspace.history),
        now=plan.now,
    )
    reporter = Reporter(
        examples=held_out.outputs["examples"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        pushed_model=pusher.outputs["pushed_model"],
        anomalies=_said(slots[-1].data_gate, "words"),
        lineage=plan.lineage,
        history=str(workspace.history),
        store=str(workspace.models),
        config=plan.config,
        source=plan.reporter_source,
    )
    for last in (*endpoint_pushers, reporter):
        recorder.add_upstream_node(last)  # a run that ended before that is gone on with
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=artifacts,
        components=[
            *first,
            schema,
            *(node for slot in slots for node in slot),
            held_out,
            champion,
            drift,
            distribution,
            policy,
            *tuners,
            trainer,
            evaluator,
            reference,
            pusher,
            *endpoint_pushers,
            reporter,
            recorder,
        ],
        enable_cache=True,
        metadata_connection_config=metadata,
        beam_pipeline_args=beam_args(config.beam, tfx_workers=True),
    )


def waiting_nodes(pipeline: Pipeline) -> list[str]:
    """Ids of the nodes that run only if the decision is to retrain: all that it does not rest on."""
    rests_on: set[str] = set()
    unseen = [node for node in pipeline.components if node.id == POLICY]
    while unseen:
        node = unseen.pop()
        if node.id not in rests_on:
            rests_on.add(node.id)
            unseen += node.upstream_nodes
    return [node.id for node in pipeline.components if node.id not in rests_on]
