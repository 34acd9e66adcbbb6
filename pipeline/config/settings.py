"""Reads the whole configuration of a pipeline: defaults, a YAML file, GENRE_WORKSPACE, then `--set a.b=value`.

A relative path in a file is relative to the folder of the file; any other is relative to the current directory. A file
called genre.yaml marks the folder of a project: the default paths are in there, too.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PlainValidator, ValidationError, model_validator

from components.audio.config import AudioConfig, MelConfig
from components.base.errors import UserError
from components.base.section import Section, problems, shortened
from components.beam.config import BeamConfig
from components.drift.config import DriftConfig
from components.evaluation.config import GateConfig
from components.library.config import IngestConfig, ValidationConfig
from components.retraining.config import RetrainConfig
from components.store.config import DeployConfig
from models.config import ModelConfig, TrainConfig
from models.fitting.tuning_config import TuneConfig
from models.pretrained import PRETRAINED
from pipeline.config.targets import KubeflowConfig, VertexConfig
from pipeline.config.yaml_text import MAX_DEPTH, parse, read_mapping
from pipeline.notifying.config import SECRETS, NotifyConfig

PROJECT_FILE = "genre.yaml"
WORKSPACE_VARIABLE = "GENRE_WORKSPACE"
_DEFAULT_PATHS = ("data", "workspace")
_PATHS = (
    *_DEFAULT_PATHS,
    "beam.flink.job_server_jar",
    "beam.spark.job_server_jar",
    "model.options.weights",
    "model.options.settings.*.weights",
    "compare.*.options.weights",
    "compare.*.options.settings.*.weights",
)
"""The settings that are paths of this machine; * stands for every key."""

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
    notify: NotifyConfig = NotifyConfig()
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


def find_project_file() -> Path | None:
    """Returns the genre.yaml of the current directory, or else of the nearest one above it; None if there is none."""
    try:
        here = Path.cwd()
    except FileNotFoundError:
        raise UserError("the current directory was removed. Change to another one.") from None
    return next((file for each in (here, *here.parents) if os.path.isfile(file := each / PROJECT_FILE)), None)


def _read_file(file: Path) -> dict[str, Any]:
    """Returns the settings in a file, with absolute paths."""
    values = read_mapping(file)
    if file.name == PROJECT_FILE:
        values = {name: PipelineConfig.model_fields[name].default for name in _DEFAULT_PATHS} | values
    for setting in _PATHS:
        _make_absolute(values, setting.split("."), os.path.abspath(file.parent))
    return values


def _make_absolute(values: Any, keys: Sequence[str], folder: str) -> None:
    """Joins `folder` with the path that a setting has in `values`, if it is there."""
    key, *inner = keys
    for name in (values if key == "*" else {key} & values.keys()) if isinstance(values, dict) else ():
        if inner:
            _make_absolute(values[name], inner, folder)
        elif isinstance(values[name], str) and values[name] != PRETRAINED and "://" not in values[name]:
            values[name] = os.path.normpath(os.path.join(folder, values[name]))


def _set(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    given = f"--set {shortened(override)}"
    *sections, last = key.split(".")
    if not separator or not key or len(sections) > MAX_DEPTH:
        raise UserError(f"{given}: expected --set section.key=value")
    for section in sections:
        inner = values.setdefault(section, {})
        if not isinstance(inner, dict):
            raise UserError(f"{given}: {section} is a value, not a section")
        values = inner
    try:
        values[last] = parse(text)
    except ValueError as error:
        raise UserError(f"{given}: the value is not readable as YAML: {error}") from error


def load_config(file: Path | None = None, overrides: Sequence[str] = ()) -> PipelineConfig:
    """Returns the defaults, overlaid with a YAML file, the environment, and `overrides`, each as `section.key=value`.

    Raises:
      UserError: a file that cannot be read, or unknown or ill-typed keys, each named by its dotted path.
    """
    source = " and ".join(filter(None, [str(file or ""), "--set" if overrides else ""])) or "defaults"
    values = _read_file(file) if file else {}
    if place := os.environ.get(WORKSPACE_VARIABLE):
        values["workspace"] = place
    return _overlaid(values, overrides, source)


def changed_config(config: PipelineConfig, overrides: Sequence[str]) -> PipelineConfig:
    """Returns `config` overlaid with `overrides`, each as `section.key=value`.

    Raises:
      UserError: unknown or ill-typed keys, each named by its dotted path.
    """
    return _overlaid(json.loads(config.model_dump_json(context=SECRETS)), overrides, "--set")


def _overlaid(values: dict[str, Any], overrides: Sequence[str], source: str) -> PipelineConfig:
    for override in overrides:
        _set(values, override)
    try:
        # Through JSON, because strict mode then takes a list for a tuple, as YAML writes it, and 5 for 5.0.
        return PipelineConfig.model_validate_json(json.dumps(values, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        found = shortened(ascii(error.object[max(error.start - 40, 0) : error.end]))
        raise UserError(f"configuration ({source}) is not valid: a text in it is no UTF-8: {found}") from error
    except ValidationError as error:
        listed = "\n".join(f"  {problem}" for problem in problems(error, PipelineConfig))
        raise UserError(f"configuration ({source}) is not valid:\n{listed}") from error


def config_digest(config: PipelineConfig) -> str:
    """Returns 16 hexadecimal digits that change with any setting."""
    return hashlib.sha256(config.model_dump_json().encode()).hexdigest()[:16]
