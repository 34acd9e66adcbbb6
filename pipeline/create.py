"""The one DAG, for every target."""

from typing import TYPE_CHECKING

from ml_metadata.proto import metadata_store_pb2
from tfx.components import ExampleValidator, StatisticsGen, Trainer, Tuner
from tfx.dsl.components.base.base_component import BaseComponent
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import trainer_pb2, transform_pb2

from components.beam import beam_args
from components.champion import Champion
from components.data_gate import DataGate
from components.endpoint_pusher import EndpointPusher
from components.evaluator import GateEvaluator
from components.example_gen import ImportExampleGen
from components.import_schema import ImportSchemaGen
from components.pusher import StorePusher
from components.reporter import Reporter
from components.transform import Transform
from pipeline.config import PipelineConfig
from pipeline.plan import Plan
from pipeline.targets import VertexConfig, vertex_api
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from pipeline.plan import Value


def _configured(node: BaseComponent, custom_config: "Value") -> BaseComponent:
    """`node` with its custom configuration: TFX's constructors take none that is not known yet."""
    node.exec_properties["custom_config"] = custom_config
    return node


def create_pipeline(
    config: PipelineConfig,
    plan: Plan,
    workspace: Workspace,
    *,
    first: tuple[BaseComponent, ...] = (),
    artifacts: str | None = None,
    metadata: metadata_store_pb2.ConnectionConfig | None = None,
    vertex: VertexConfig | None = None,
) -> Pipeline:
    """ImportExampleGen to Reporter. One per process: TFX registers a node once.

    Args:
      config: its name, its Beam options and whether there is a Tuner; the rest of it is in the plan.
      plan: the parameters of the nodes.
      workspace: where models go.
      first: nodes that come before, such as the one that makes the plan.
      artifacts: where artifacts go; None: where the target puts them.
      metadata: where ML Metadata is; None: where the target keeps it.
      vertex: what Vertex AI is told, if it is the target: with an endpoint in it, that serves what is pushed.

    Returns:
      A pipeline that any TFX runner takes.
    """
    examples = ImportExampleGen(span_dir=plan.span_dir, digest=plan.span_digest)
    schema = ImportSchemaGen(schema_file=plan.schema_file, digest=plan.schema_digest)
    # With the schema, because it declares `audio` an image: nobody needs the most frequent of megabyte values.
    statistics = StatisticsGen(examples=examples.outputs["examples"], schema=schema.outputs["schema"])
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    data_gate = DataGate(anomalies=validator.outputs["anomalies"], on_anomaly=plan.on_anomaly)

    transform = _configured(
        Transform(
            examples=examples.outputs["examples"],
            schema=schema.outputs["schema"],
            preprocessing_fn="components.preprocessing.preprocessing_fn",
            # The test split is judged raw, through the served signature: nothing needs it transformed.
            splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
            # The raw examples have theirs from StatisticsGen, and without analyzers there is nothing to cache.
            disable_statistics=True,
            disable_analyzer_cache=True,
        ),
        plan.transform,
    )
    transform.add_upstream_node(data_gate)

    inputs = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema.outputs["schema"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["eval"]),
    }
    tuners = []
    if config.tune.enabled:
        tuners = [_configured(Tuner(tuner_fn="models.tuning.tuner_fn", **inputs), plan.tuner)]
        inputs["hyperparameters"] = tuners[0].outputs["best_hyperparameters"]
    trainer = _configured(Trainer(run_fn="models.training.run_fn", **inputs), plan.trainer)

    champion = Champion(store=str(workspace.models), version=plan.champion)
    champion.add_upstream_node(trainer)  # fetched when it is needed, not before hours of training
    evaluator = GateEvaluator(
        held_out=examples.outputs["examples"],
        model=trainer.outputs["model"],
        champion=champion.outputs["champion"],
        genres=plan.genres,
        gate=plan.gate,
        span="",
        golden_span="",
        best="",
        source=plan.evaluator_source,
    )
    pusher = StorePusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        evaluation=evaluator.outputs["evaluation"],
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
    reporter = Reporter(
        examples=examples.outputs["examples"],
        anomalies=validator.outputs["anomalies"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        pushed_model=pusher.outputs["pushed_model"],
        lineage=plan.lineage,
        history=str(workspace.history),
        store=str(workspace.models),
        config=plan.config,
        source=plan.reporter_source,
    )
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=artifacts,
        components=[
            *first,
            examples,
            statistics,
            schema,
            validator,
            data_gate,
            transform,
            *tuners,
            trainer,
            champion,
            evaluator,
            pusher,
            *endpoint_pushers,
            reporter,
        ],
        enable_cache=True,
        metadata_connection_config=metadata,
        beam_pipeline_args=beam_args(config.beam, tfx_workers=True),
    )
