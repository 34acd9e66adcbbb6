"""The outcome of a run as a file for programs: `summary.json`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from etils import epath

from components.base.section import Section
from components.drift.report import DriftReport
from components.evaluation.results import Metrics, Verdict, read_evaluation
from components.library.layout import Manifest
from components.retraining.policy import Decision
from components.store.model_card import HISTORY
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
    """The outcome of a run, for programs."""

    status: str
    """succeeded, or failed."""
    error: str | None
    run_id: str
    config_digest: str
    config: dict[str, Any] = {}  # noqa: RUF012 (pydantic copies it)
    """The whole configuration; empty in a summary of an earlier version."""
    data: str
    dataset: Manifest
    """Manifest of the newest span."""
    window: tuple[int, ...]
    """Spans that were trained on."""
    decision: Decision | None
    """The decision to retrain or not, with its reasons; null if the run did not come so far."""
    drift: DriftReport | None
    seconds: float
    nodes: dict[str, NodeSummary]
    accuracy: float | None
    accuracy_interval: tuple[float, float] | None
    """95 % interval of Wilson, from 0 to 1."""
    macro_f1: float | None
    metrics: Metrics | None
    """Of the candidate on the test split, overall and per genre."""
    golden: Metrics | None
    """The same on the golden set; null if there is none."""
    blessed: bool | None
    verdict: Verdict | None
    pushed: ModelSummary | None
    """Version that this run's candidate is in the model store; null if it was not pushed."""
    newly_pushed: bool = False
    """Whether this run pushed it; false where an earlier one did."""
    model: str | None
    """How the members of an ensemble count, and why; null for other kinds, or if the run did not come so far."""
    set_aside: tuple[int, ...] = ()
    """Spans that this run set aside, because they cannot be used."""
    rolled_back: int | None
    """Version of this run's candidate that was rolled back; null if none was."""
    served: ModelSummary | None
    report: str | None
    log: str


def read_verdict(artifacts: "Artifacts") -> Verdict | None:
    """Returns the gate's verdict; None if the run did not come so far."""
    if "GateEvaluator" not in artifacts:
        return None
    uri = artifacts["GateEvaluator"]["evaluation"].uri
    return read_evaluation(epath.Path(uri))


def account(artifacts: "Artifacts") -> tuple[Decision | None, DriftReport | None]:
    """Returns the decision to retrain and the report on drift; None if the run did not come so far."""
    if "RetrainPolicy" not in artifacts:
        return None, None
    written = json.loads(epath.Path(artifacts["RetrainPolicy"]["account"].uri).read_text())
    return (
        Decision.model_validate_json(json.dumps(written["decision"])),
        DriftReport.model_validate_json(json.dumps(written["drift"])),
    )


def pushed_model(artifacts: "Artifacts", workspace: Workspace) -> tuple[ModelSummary | None, int | None]:
    """Returns the version that the run's candidate was pushed as, or else the number of its rolled-back version.

    A cached push has the version of the former push; the model store knows whether that was rolled back since.
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
    """Returns the version that is served now; None if there is none."""
    version = current_version(workspace.models)
    if version is None:
        return None
    return ModelSummary(version=version, path=str(version_dir(workspace.models, version)))


def model_in_words(artifacts: "Artifacts") -> str | None:
    """Returns how an ensemble's members count, and why; None for other kinds, or if the run did not come so far."""
    if "Trainer" not in artifacts:
        return None
    history = json.loads((epath.Path(artifacts["Trainer"]["model_run"].uri) / HISTORY).read_text())
    return history["chosen"].get("explanation")


def report_path(artifacts: "Artifacts") -> Path | None:
    """Returns the report's page; None if the run did not come so far."""
    return Path(artifacts["Reporter"]["report"].uri) / "report.html" if "Reporter" in artifacts else None
