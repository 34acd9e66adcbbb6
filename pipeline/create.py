"""The one DAG, for every target."""

import hashlib
import json
from pathlib import Path

from etils import epath
from google.protobuf import struct_pb2
from tfx.components import ExampleValidator, StatisticsGen, Trainer, Tuner
from tfx.components.schema_gen.import_schema_gen.component import ImportSchemaGen
from tfx.orchestration.metadata import sqlite_metadata_connection_config
from tfx.orchestration.pipeline import Pipeline
from tfx.proto import example_gen_pb2, trainer_pb2, transform_pb2

from components.beam import beam_args
from components.champion import Champion
from components.config import FeatureConfig
from components.data_gate import DataGate
from components.evaluator import GateEvaluator
from components.example_gen import ImportExampleGen
from components.library import SCHEMA_FILE, SPLITS, Library, Manifest, span_dir
from components.model_store import Lineage, champion_of
from components.pusher import StorePusher
from components.reporter import Reporter
from components.transform import Transform
from models.registry import kind_of, weights_digest
from pipeline.config import PipelineConfig
from pipeline.digest import source_digest
from pipeline.workspace import Workspace


def feature_config(config: PipelineConfig, library: Library) -> FeatureConfig:
    """What the Transform graph depends on."""
    return FeatureConfig(
        representation=kind_of(config.model).representation,
        genres=library.genres,
        audio=config.audio,
        mel=config.mel,
    )


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def _source_config(module: str) -> example_gen_pb2.CustomConfig:
    """The digest of `module` in the one form that an ExampleGen takes settings in."""
    config = example_gen_pb2.CustomConfig()
    config.custom_config.Pack(struct_pb2.Value(string_value=source_digest(module)))
    return config


def create_pipeline(
    config: PipelineConfig, library: Library, manifest: Manifest, data: str, workspace: Workspace
) -> Pipeline:
    """ImportExampleGen to Reporter. One per process: TFX registers a node once.

    Args:
      config: the whole configuration.
      library: what every span shares.
      manifest: the span to run on.
      data: root of the library.
      workspace: where artifacts, metadata and models go.

    Returns:
      A pipeline with sqlite metadata, which any TFX runner takes.
    """
    features = feature_config(config, library)
    root = Path(data)
    examples = ImportExampleGen(
        input_base=str(span_dir(root, manifest.span)),
        input_config=example_gen_pb2.Input(
            splits=[example_gen_pb2.Input.Split(name=split, pattern=f"{split}/*") for split in SPLITS]
        ),
        custom_config=_source_config("components.example_gen"),
    )
    schema = ImportSchemaGen(schema_file=str(root / SCHEMA_FILE))
    # With the schema, because it declares `audio` an image: nobody needs the most frequent of megabyte values.
    statistics = StatisticsGen(examples=examples.outputs["examples"], schema=schema.outputs["schema"])
    validator = ExampleValidator(statistics=statistics.outputs["statistics"], schema=schema.outputs["schema"])
    data_gate = DataGate(anomalies=validator.outputs["anomalies"], on_anomaly=config.validation.on_anomaly)

    transform_config = {
        "features": features.model_dump_json(),
        "source": source_digest("components.preprocessing", "components.transform"),
    }
    transform = Transform(
        examples=examples.outputs["examples"],
        schema=schema.outputs["schema"],
        preprocessing_fn="components.preprocessing.preprocessing_fn",
        # The test split is judged raw, through the served signature: nothing needs it transformed.
        splits_config=transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"]),
        custom_config=transform_config,
        # The raw examples have theirs from StatisticsGen, and without analyzers there is nothing to cache.
        disable_statistics=True,
        disable_analyzer_cache=True,
    )
    transform.add_upstream_node(data_gate)

    trainer_config = {
        "features": features.model_dump_json(),
        "model": config.model.model_dump_json(),
        "weights": weights_digest(config.model),
        "train": config.train.model_dump_json(),
        "checkpoints": str(workspace.checkpoints),
        "source": source_digest("models.training", kind_of(config.model).module),
    }
    inputs = {
        "examples": transform.outputs["transformed_examples"],
        "transform_graph": transform.outputs["transform_graph"],
        "schema": schema.outputs["schema"],
        "train_args": trainer_pb2.TrainArgs(splits=["train"]),
        "eval_args": trainer_pb2.EvalArgs(splits=["eval"]),
    }
    tuner_config = {
        "features": features.model_dump_json(),
        "model": config.model.model_dump_json(),
        "train": config.train.model_dump_json(),
        "tune": config.tune.model_dump_json(),
        "source": source_digest("models.tuning", kind_of(config.model).module),
    }
    searching = config.tune.enabled and kind_of(config.model).family == "network"
    tuners = []
    if searching:
        tuners = [Tuner(tuner_fn="models.tuning.tuner_fn", custom_config=tuner_config, **inputs)]
        inputs["hyperparameters"] = tuners[0].outputs["best_hyperparameters"]
    trainer = Trainer(run_fn="models.training.run_fn", custom_config=trainer_config, **inputs)

    candidate = _digest(manifest.digest, transform_config, trainer_config, tuner_config if searching else None)
    parent = champion_of(epath.Path(workspace.models), candidate)
    champion = Champion(store=str(workspace.models), version=parent or 0)
    champion.add_upstream_node(trainer)  # looked up when it is needed, not before hours of training
    evaluator = GateEvaluator(
        examples=examples.outputs["examples"],
        model=trainer.outputs["model"],
        champion=champion.outputs["champion"],
        genres=json.dumps(library.genres),
        gate=config.gate.model_dump_json(),
        source=source_digest("components.evaluator"),
    )
    pusher = StorePusher(
        model=trainer.outputs["model"],
        model_blessing=evaluator.outputs["blessing"],
        store=str(workspace.models),
        lineage=Lineage(candidate=candidate, parent=parent, data=str(root), span=manifest.span),
    )
    reporter = Reporter(
        examples=examples.outputs["examples"],
        anomalies=validator.outputs["anomalies"],
        model=trainer.outputs["model"],
        model_run=trainer.outputs["model_run"],
        evaluation=evaluator.outputs["evaluation"],
        pushed_model=pusher.outputs["pushed_model"],
        data=str(root),
        span=manifest.span,
        config=config.model_dump_json(),
        source=source_digest("components.reporter"),
    )
    return Pipeline(
        pipeline_name=config.name,
        pipeline_root=str(workspace.artifacts),
        components=[
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
            reporter,
        ],
        enable_cache=True,
        metadata_connection_config=sqlite_metadata_connection_config(str(workspace.metadata)),
        beam_pipeline_args=beam_args(config.beam, tfx_workers=True),
    )
