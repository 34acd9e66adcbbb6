"""What a run came to, as a file for programs: `summary.json`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epath

from components.base.section import Section
from components.drift.report import DriftReport
from components.evaluation.results import VERDICT, Metrics, Verdict
from components.library.layout import Manifest
from components.retraining.policy import Decision
from components.store.model_store import WITHDRAWN_PROPERTY, current_version, version_dir, withdrawal_of
from pipeline.workspace import Workspace

if TYPE_CHECKING:
    from ml_metadata.proto import metadata_store_pb2

    Artifacts = dict[str, dict[str, metadata_store_pb2.Artifact]]


class NodeSummary(Section):
    """A node of the run."""

    state: str
    cached: bool
    seconds: float


class ModelSummary(Section):
    """The served model after the run."""

    version: int
    path: str


class Summary(Section):
    """Everything that a program may want to know of a finished run."""

    status: str
    """succeeded, or failed."""
    error: str | None
    run_id: str
    config_digest: str
    data: str
    dataset: Manifest
    """Of the newest span."""
    window: tuple[int, ...]
    """Spans that were trained on."""
    decision: Decision | None
    """Whether to retrain, and why; null if the run did not come so far."""
    drift: DriftReport | None
    seconds: float
    nodes: dict[str, NodeSummary]
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    """95 %, Wilson."""
    macro_f1: float | None
    metrics: Metrics | None
    """Of the candidate on the test split, per genre too."""
    golden: Metrics | None
    """The same on the golden set; null where there is none."""
    blessed: bool | None
    verdict: Verdict | None
    pushed: ModelSummary | None
    """The version that this run's candidate was pushed as; null if it was not."""
    rolled_back: int | None
    """The version that this run's candidate had when it was rolled back; null if it never was."""
    served: ModelSummary | None
    report: str | None
    log: str


def read_verdict(artifacts: "Artifacts") -> Verdict | None:
    """The gate's verdict, if the run came that far."""
    if "GateEvaluator" not in artifacts:
        return None
    uri = artifacts["GateEvaluator"]["evaluation"].uri
    return Verdict.model_validate_json((epath.Path(uri) / VERDICT).read_text())


def account(artifacts: "Artifacts") -> tuple[Decision | None, DriftReport | None]:
    """The decision to retrain and what was found of drift, if the run came that far."""
    if "RetrainPolicy" not in artifacts:
        return None, None
    told = json.loads(epath.Path(artifacts["RetrainPolicy"]["account"].uri).read_text())
    return (
        Decision.model_validate_json(json.dumps(told["decision"])),
        DriftReport.model_validate_json(json.dumps(told["drift"])),
    )


def pushed_model(artifacts: "Artifacts", workspace: Workspace) -> tuple[ModelSummary | None, int | None]:
    """What the run's candidate was pushed as, and as what it was rolled back; each only if it was.

    A cached push tells what it was then; whether that was rolled back since, the store knows.
    """
    if "StorePusher" not in artifacts:
        return None, None
    properties = artifacts["StorePusher"]["pushed_model"].custom_properties
    if WITHDRAWN_PROPERTY in properties:
        return None, int(properties[WITHDRAWN_PROPERTY].string_value)
    if not properties["pushed"].int_value:
        return None, None
    version = int(properties["pushed_version"].string_value)
    if withdrawal_of(workspace.models, version):
        return None, version
    return ModelSummary(version=version, path=properties["pushed_destination"].string_value), None


def served_model(workspace: Workspace) -> ModelSummary | None:
    """What is served now."""
    version = current_version(workspace.models)
    if version is None:
        return None
    return ModelSummary(version=version, path=str(version_dir(workspace.models, version)))


def report_path(artifacts: "Artifacts") -> Path | None:
    """The report's page, if the run came that far."""
    return Path(artifacts["Reporter"]["report"].uri) / "report.html" if "Reporter" in artifacts else None
