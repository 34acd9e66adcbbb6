"""Reads the whole configuration of a pipeline: defaults, then a YAML file, then `--set a.b=value`."""

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, PlainValidator, ValidationError, model_validator

from components.audio.config import AudioConfig, MelConfig
from components.base.errors import UserError
from components.base.section import Section, problems
from components.beam.config import BeamConfig
from components.drift.config import DriftConfig
from components.evaluation.config import GateConfig
from components.library.config import IngestConfig, ValidationConfig
from components.retraining.config import RetrainConfig
from components.store.config import DeployConfig
from models.config import ModelConfig, TrainConfig
from models.fitting.tuning_config import TuneConfig
from pipeline.config.targets import KubeflowConfig, VertexConfig

SpanNumber = Annotated[int, Field(ge=0)]


def _span(value: Any) -> Any:
    if value in ("first", "last") or (type(value) is int and value >= 0):
        return value
    raise ValueError(f"not a span: {value!r}; give its number, first or last")


Span = Annotated[int | Literal["first", "last"], PlainValidator(_span)]
"""A span by its number; or the first or last one that is complete when a run begins."""


class ComparedModel(Section):
    """Settings of one kind of model that `genre compare` uses instead of those of `model`."""

    window_seconds: float | None = Field(
        None, gt=0.0, description="length of a window, in seconds; null: model.window_seconds"
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="options of this kind, as model.options; empty: their defaults"
    )


class PipelineConfig(Section):
    """Everything that a run depends on."""

    name: str = Field(
        "genre", pattern=r"^[a-z][a-z0-9-]{0,62}$", description="name of the pipeline, in ML Metadata and on Kubeflow"
    )
    data: str = Field("workspace/data", description="root folder of the ingested library")
    span: Span = Field(
        "last", description="newest span to train on: its number, or first or last of the complete spans"
    )
    window: int = Field(1, ge=1, description="number of spans to train on: `span` and the spans before it")
    exclude: tuple[SpanNumber, ...] = Field((), description="numbers of spans that are never trained on")
    golden: Span | None = Field(
        "first", description="span whose test split judges every model: its number, first or last; null: none does"
    )
    workspace: str = Field("workspace", description="root folder of artifacts, metadata, runs and pushed models")
    audio: AudioConfig = AudioConfig()
    ingest: IngestConfig = IngestConfig()
    mel: MelConfig = MelConfig()
    validation: ValidationConfig = ValidationConfig()
    model: ModelConfig = ModelConfig()
    train: TrainConfig = TrainConfig()
    tune: TuneConfig = TuneConfig()
    drift: DriftConfig = DriftConfig()
    retrain: RetrainConfig = RetrainConfig()
    gate: GateConfig = GateConfig()
    deploy: DeployConfig = DeployConfig()
    beam: BeamConfig = BeamConfig()
    kubeflow: KubeflowConfig | None = Field(
        None, description="settings of `--target kubeflow`; null: the pipeline does not run on Kubeflow Pipelines"
    )
    vertex: VertexConfig | None = Field(
        None, description="settings of `--target vertex`; null: the pipeline does not run on Vertex AI"
    )
    compare: dict[str, ComparedModel] = Field(
        default_factory=dict, description="window_seconds and options for `genre compare`, by kind of model"
    )

    @model_validator(mode="after")
    def _check(self) -> "PipelineConfig":
        highest = self.audio.sample_rate / 2
        if self.mel.fmin >= highest or (self.mel.fmax or highest) > highest:
            raise ValueError(
                f"mel.fmin {self.mel.fmin:g} and mel.fmax {self.mel.fmax} must not exceed half of audio.sample_rate, "
                f"{highest:g} Hz: there are no frequencies above it"
            )
        return self


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: 1e-3 is a number, and a key that appears twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Returns a mapping; a key that appears twice is an error."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"the key {key} appears twice", problem_mark=node.start_mark
                )
        return super().construct_mapping(node, deep)


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), _Loader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise UserError(f"{path}: not readable as YAML: {error}") from error
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected `section: ...` lines, found a {type(content).__name__}")
    return content


def _set(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    if not separator or not key:
        raise UserError(f"--set {override}: expected --set section.key=value")
    *sections, last = key.split(".")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"--set {override}: {section} is a value, not a section")
        values = inner
    try:
        values[last] = yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        raise UserError(f"--set {override}: the value is not readable as YAML: {error}") from error


def load_config(file: Path | None = None, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Returns the defaults, overlaid with the YAML `file` and then with `overrides`, each as `section.key=value`.

    Raises:
      UserError: a file that cannot be read, or unknown or ill-typed keys, each named by its dotted path.
    """
    source = " and ".join(filter(None, [str(file or ""), "--set" if overrides else ""])) or "defaults"
    return _overlaid(_read_yaml(file) if file else {}, overrides, source)


def changed_config(config: PipelineConfig, overrides: Sequence[str]) -> PipelineConfig:
    """Returns `config` overlaid with `overrides`, each as `section.key=value`.

    Raises:
      UserError: unknown or ill-typed keys, each named by its dotted path.
    """
    return _overlaid(json.loads(config.model_dump_json()), overrides, "--set")


def _overlaid(values: dict[str, Any], overrides: Sequence[str], source: str) -> PipelineConfig:
    for override in overrides:
        _set(values, override)
    try:
        text = json.dumps(values, default=str)
    except (TypeError, ValueError) as error:  # a key that is no text, or an anchor that refers to itself
        raise UserError(f"configuration ({source}) is not valid: {error}") from error
    try:
        # Through JSON, because strict mode then takes a list for a tuple, as YAML writes it, and 5 for 5.0.
        return PipelineConfig.model_validate_json(text)
    except ValidationError as error:
        listed = "\n".join(f"  {problem}" for problem in problems(error))
        raise UserError(f"configuration ({source}) is not valid:\n{listed}") from error


def config_digest(config: PipelineConfig) -> str:
    """Returns 16 hexadecimal digits that change with any setting."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]
