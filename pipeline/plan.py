"""What a run is to do, worked out from the configuration, the library and what is served.

A run on this machine knows it before its first node. Elsewhere the pipeline is compiled once and started many times,
so its first node, `pipeline.planner.Planner`, works it out, and its answers are parameters of the other nodes. Either
way a node's parameters say all that its output depends on, which is what every cache goes by.
"""

import hashlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from components.config import FeatureConfig
from components.errors import UserError
from components.library import SCHEMA_FILE, span_dir
from components.model_store import Lineage, champion_of
from models.registry import kind_of, weights_digest
from pipeline.config import PipelineConfig, changed_config
from pipeline.digest import source_digest

if TYPE_CHECKING:
    from tfx.dsl.placeholder import placeholder

    from pipeline.preflight import Preflight

    Value = str | placeholder.Placeholder
    """Text, or where a node will find it."""


NEWEST = -1
"""As a span: the newest that is complete when the run begins."""
_COMPILED = ("name", "data", "span", "workspace", "beam", "kubeflow", "vertex")
"""Settings that `settings` cannot change: the pipeline was compiled with them, or they are run parameters."""


def parse_settings(text: str) -> list[str]:
    """The single settings, as `section.key=value`, of a text that has them divided by line ends or semicolons."""
    return [part.strip() for part in text.replace("\n", ";").split(";") if part.strip()]


def run_config(compiled: PipelineConfig, data: str, span: int, settings: str) -> PipelineConfig:
    """The configuration of a run: that of the compiled pipeline with what the run parameters say.

    Raises:
      UserError: settings that are not known, not valid, or fixed in the compiled pipeline.
    """
    changed = changed_config(compiled, parse_settings(settings))
    fixed = [key for key in _COMPILED if getattr(changed, key) != getattr(compiled, key)]
    if changed.tune.enabled != compiled.tune.enabled:
        fixed.append("tune.enabled")
    if fixed:
        raise UserError(
            f"run parameter `settings`: {', '.join(fixed)} cannot be changed by it. The parameters `data` and `span` "
            "say what to run on; for the rest, compile the pipeline again."
        )
    return changed.model_copy(update={"data": data, "span": None if span == NEWEST else span})


@dataclass(frozen=True)
class Plan:
    """Parameters of the nodes. All are text, because that is what nodes can tell each other on every target."""

    span_dir: "Value"
    """Directory of the span."""
    span_digest: "Value"
    """Of its content, and of the code that imports it."""
    schema_file: "Value"
    schema_digest: "Value"
    """Of the schema's content."""
    on_anomaly: "Value"
    """See `DataGate`."""
    transform: "Value"
    """Custom configuration of Transform, JSON."""
    tuner: "Value"
    trainer: "Value"
    champion: "Value"
    """Version to compare with; 0 for none."""
    genres: "Value"
    """Class list, JSON."""
    gate: "Value"
    """GateConfig, JSON."""
    evaluator_source: "Value"
    """Digest of the code."""
    lineage: "Value"
    """Of the candidate, JSON."""
    keep_versions: "Value"
    """Number of versions in the model store."""
    config: "Value"
    """The whole configuration, JSON."""
    reporter_source: "Value"
    endpoint_source: "Value"


def _digest(*parts: object) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def make_plan(config: PipelineConfig, inputs: "Preflight") -> Plan:
    """What a run on `inputs` is to do now.

    Raises:
      UserError: the model store cannot be read.
    """
    kind = kind_of(config.model)
    features = FeatureConfig(
        representation=kind.representation, genres=inputs.library.genres, audio=config.audio, mel=config.mel
    ).model_dump_json()
    transform = {
        "features": features,
        "source": source_digest("components.preprocessing", "components.transform"),
    }
    learning = {
        "features": features,
        "model": config.model.model_dump_json(),
        "train": config.train.model_dump_json(),
    }
    trainer = {
        **learning,
        "weights": weights_digest(config.model),
        "checkpoints": str(inputs.workspace.checkpoints),
        "source": source_digest("models.training", kind.module),
    }
    tuner: dict[str, Any] | None = None
    if config.tune.enabled:
        source = source_digest("models.tuning", kind.module)
        tuner = {**learning, "tune": config.tune.model_dump_json(), "source": source}

    candidate = _digest(inputs.manifest.digest, transform, trainer, tuner)
    parent = champion_of(inputs.workspace.models, candidate)
    lineage = Lineage(candidate=candidate, parent=parent, data=str(inputs.data), span=inputs.manifest.span)
    schema = inputs.data / SCHEMA_FILE
    return Plan(
        span_dir=str(span_dir(inputs.data, inputs.manifest.span)),
        span_digest=_digest(inputs.manifest.digest, source_digest("components.example_gen")),
        schema_file=str(schema),
        schema_digest=hashlib.sha256(schema.read_bytes()).hexdigest()[:16],
        on_anomaly=config.validation.on_anomaly,
        transform=json.dumps(transform),
        tuner=json.dumps(tuner),
        trainer=json.dumps(trainer),
        champion=str(parent or 0),
        genres=json.dumps(inputs.library.genres),
        gate=config.gate.model_dump_json(),
        evaluator_source=source_digest("components.evaluator"),
        lineage=lineage.model_dump_json(),
        keep_versions=str(config.deploy.keep_versions),
        config=config.model_dump_json(),
        reporter_source=source_digest("components.reporter"),
        endpoint_source=source_digest("components.endpoint_pusher"),
    )
