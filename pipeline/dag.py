"""The one DAG, for every target."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ml_metadata.proto import metadata_store_pb2
from tfx.components import ExampleValidator, StatisticsGen
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline

from components.beam.options import beam_args
from components.nodes.champion import Champion
from components.nodes.data_gate import DataGate
from components.nodes.distribution_validator import DistributionValidator
from components.nodes.drift_detector import DriftDetector
from components.nodes.endpoint_pusher import EndpointPusher
from components.nodes.evaluator import GateEvaluator
from components.nodes.example_gen import ImportExampleGen
from components.nodes.import_schema import ImportSchemaGen
from components.nodes.parameters.example_gen import ImportParameters
from components.nodes.pusher import StorePusher
from components.nodes.recorder import Recorder
from components.nodes.reference_profile import ReferenceProfile
from components.nodes.reporter import Reporter
from components.nodes.retrain_policy import RetrainPolicy
from components.nodes.trainer import Trainer, Tuner
from components.nodes.transform import Transform
from pipeline.config.settings import PipelineConfig
from pipeline.planning.plan import slot_name

Text = Any
"""A text, or a TFX placeholder for where a node will find it."""
POLICY = RetrainPolicy.__name__
"""The node whose decision the rest of the run waits for; see `waiting_nodes`."""


class _Slot(NamedTuple):
    """The nodes of one span of the window."""

    examples: BaseComponent
    statistics: BaseComponent
    validator: BaseComponent
    data_gate: BaseComponent
    transform: BaseComponent


def _text_of(node: BaseComponent, name: str) -> Text:
    """Returns the text that a node has for an output, as a parameter of another node."""
    return node.outputs[name].future()[0].value


def _is_empty(imported: Text) -> bool:
    """Checks whether it is known already that a slot has no span; in a compiled pipeline, each run finds out."""
    return isinstance(imported, str) and ImportParameters.model_validate_json(imported).clips.span is None


def _slot(suffix: str, imported: Text, earlier: Text, schema: BaseComponent, texts: Mapping[str, Text]) -> _Slot:
    """Makes the nodes of a slot; `suffix` tells their ids from those of the other slots.

    Args:
      imported: parameters of its import.
      earlier: the anomalies that the slots before this let pass.
    """
    examples = ImportExampleGen(parameters=imported).with_id(f"ImportExampleGen{suffix}")
    # With the schema, because it declares `audio` an image: nobody needs the most frequent of megabyte values.
    statistics = StatisticsGen(examples=examples.outputs["examples"], schema=schema.outputs["schema"]).with_id(
        f"StatisticsGen{suffix}"
    )
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"]).with_id(
        f"ExampleValidator{suffix}"
    )
    data_gate = DataGate(
        anomalies=validator.outputs["anomalies"], imported=imported, earlier=earlier, parameters=texts["data_gate"]
    ).with_id(f"DataGate{suffix}")
    transform = Transform(
        examples=examples.outputs["examples"], schema=schema.outputs["schema"], parameters=texts["transform"]
    ).with_id(f"Transform{suffix}")
    return _Slot(examples, statistics, validator, data_gate, transform)


def create_pipeline(
    config: PipelineConfig,
    texts: Mapping[str, Text],
    *,
    first: tuple[BaseComponent, ...] = (),
    artifacts: str | None = None,
    metadata: metadata_store_pb2.ConnectionConfig | None = None,
    endpoint: bool = False,
) -> Pipeline:
    """Makes the DAG, from the window to the report. One per process: TFX registers a node once.

    Args:
      config: its name, its window, its Beam options, and whether there is a Tuner and a warm start.
      texts: the parameters of the nodes, as `pipeline.planning.plan.Plan.texts` names them.
      first: nodes that come before, such as the one that makes the plan.
      artifacts: where artifacts go; None: where the target puts them.
      metadata: where ML Metadata is; None: where the target keeps it.
      endpoint: whether a node puts what is pushed behind an endpoint.

    Returns:
      A pipeline that any TFX runner takes.
    """
    schema = ImportSchemaGen(parameters=texts["schema_gen"])
    slots: list[_Slot] = []
    for number in range(config.window):
        imported = texts[slot_name(number)]
        if _is_empty(imported):
            continue
        suffix = f"-{number}" if config.window > 1 else ""
        earlier = _text_of(slots[-1].data_gate, "words") if slots else ""
        slots.append(_slot(suffix, imported, earlier, schema, texts))
    held_out = ImportExampleGen(parameters=texts["held_out"]).with_id("HeldOutExampleGen")
    champion = Champion(parameters=texts["champion"])
    drift = DriftDetector(
        held_out=held_out.outputs["examples"], champion=champion.outputs["champion"], parameters=texts["drift"]
    )
    distribution = DistributionValidator(
        statistics=drift.outputs["statistics"],
        baseline_statistics=drift.outputs["baseline_statistics"],
        thresholds=drift.outputs["thresholds"],
    )
    policy = RetrainPolicy(
        drift=drift.outputs["drift"], anomalies=distribution.outputs["anomalies"], parameters=texts["policy"]
    )
    policy.add_upstream_node(slots[-1].data_gate)
    for slot in slots:
        slot.transform.add_upstream_node(policy)

    learning = {
        "spans": [slot.transform.outputs["transformed_examples"] for slot in slots],
        # Without analyzers, it is the same for every span.
        "transform_graph": slots[0].transform.outputs["transform_graph"],
        "schema": schema.outputs["schema"],
    }
    tuners = [Tuner(**learning, parameters=texts["tuner"])] if config.tune.enabled else []
    trainer = Trainer(
        **learning,
        parameters=texts["trainer"],
        hyperparameters=tuners[0].outputs["best_hyperparameters"] if tuners else None,
        base_model=champion.outputs["champion"] if config.train.warm_start else None,
    )

    evaluator = GateEvaluator(
        held_out=held_out.outputs["examples"],
        model=trainer.outputs["model"],
        champion=champion.outputs["champion"],
        parameters=texts["evaluator"],
    )
    reference = ReferenceProfile(
        model=trainer.outputs["model"], held_out=held_out.outputs["examples"], parameters=texts["reference"]
    )
    pusher = StorePusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
        reference=reference.outputs["reference"],
        parameters=texts["pusher"],
    )
    endpoint_pushers = []
    if endpoint:
        endpoint_pushers = [EndpointPusher(pushed_model=pusher.outputs["pushed_model"], parameters=texts["endpoint"])]
    recorder = Recorder(
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        pushed_model=pusher.outputs["pushed_model"],
        parameters=texts["recorder"],
    )
    reporter = Reporter(
        examples=held_out.outputs["examples"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        reference=reference.outputs["reference"],
        pushed_model=pusher.outputs["pushed_model"],
        anomalies=_text_of(slots[-1].data_gate, "words"),
        parameters=texts["reporter"],
    )
    for last in (*endpoint_pushers, reporter):
        recorder.add_upstream_node(last)  # a run that ended before these did is taken up again
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
    """Lists the ids of the nodes that run only if the decision is to retrain: all that it does not rest on."""
    rests_on: set[str] = set()
    unseen = [node for node in pipeline.components if node.id == POLICY]
    while unseen:
        node = unseen.pop()
        if node.id not in rests_on:
            rests_on.add(node.id)
            unseen += node.upstream_nodes
    return [node.id for node in pipeline.components if node.id not in rests_on]
