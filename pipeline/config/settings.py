"""The whole configuration of a pipeline, and how it is read: defaults, then a YAML file, then `--set a.b=value`."""

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
"""A span by its number, or the first or the last that is complete when a run begins."""


class ComparedModel(Section):
    """What `genre compare` sets otherwise for one kind of model."""

    window_seconds: float | None = Field(None, gt=0.0, description="null: model.window_seconds")
    options: dict[str, Any] = Field(default_factory=dict, description="settings of this kind")


class PipelineConfig(Section):
    """Everything that a run depends on, but where its data and its workspace are."""

    name: str = Field("genre", pattern=r"^[a-z][a-z0-9-]{0,62}$", description="pipeline name, as MLMD and KFP show it")
    data: str = Field("workspace/data", description="root of the ingested library")
    span: Span = Field("last", description="newest span to train on: a number, first or last (of the complete ones)")
    window: int = Field(1, ge=1, description="number of spans to train on: `span` and those before it")
    exclude: tuple[SpanNumber, ...] = Field((), description="spans that are not trained on")
    golden: Span | None = Field("first", description="span whose test split judges every model; null: none")
    workspace: str = Field("workspace", description="artifacts, metadata, runs and pushed models")
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
    kubeflow: KubeflowConfig | None = Field(None, description="for `genre compile --target kubeflow`")
    vertex: VertexConfig | None = Field(None, description="for `genre compile --target vertex`")
    compare: dict[str, ComparedModel] = Field(
        default_factory=dict, description="by kind: window_seconds and options for `genre compare`"
    )

    @model_validator(mode="after")
    def _check(self) -> "PipelineConfig":
        highest = self.audio.sample_rate / 2
        if self.mel.fmin >= highest or (self.mel.fmax or highest) > highest:
            raise ValueError(
                f"mel.fmin {self.mel.fmin:g} and mel.fmax {self.mel.fmax} must lie below half of audio.sample_rate, "
                f"{highest:g} Hz: there is nothing above"
            )
        return self


class _Loader(yaml.SafeLoader):
    """YAML as people mean it: 1e-3 is a number, and the same key twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """A mapping, once it is clear that no key hides another."""
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key} stands there twice", problem_mark=node.start_mark
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
    """Defaults, overlaid with the YAML `file` and then with `overrides`, each as `section.key=value`.

    Raises:
      UserError: a file that cannot be read, or unknown or ill-typed keys, each named by its dotted path.
    """
    source = " and ".join(filter(None, [str(file or ""), "--set" if overrides else ""])) or "defaults"
    return _overlaid(_read_yaml(file) if file else {}, overrides, source)


def changed_config(config: PipelineConfig, overrides: Sequence[str]) -> PipelineConfig:
    """`config` overlaid with `overrides`, each as `section.key=value`.

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
    """16 hexadecimal digits that change with any setting."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]
