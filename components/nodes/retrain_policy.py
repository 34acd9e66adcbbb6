"""The node that decides whether to retrain, before anything is transformed or trained."""

import json
from datetime import datetime

from etils import epath
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputDict, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.base.json_records import read_record
from components.drift.report import DRIFT_REPORT, DriftReport
from components.nodes.distribution_validator import add_anomalies
from components.nodes.parameters.retrain_policy import PolicyParameters
from components.retraining.history import note_decision
from components.retraining.policy import decide

RETRAIN, WAIT = "retrain", "wait"


@component
def RetrainPolicy(  # noqa: N802 (the name of a node)
    drift: InputArtifact[simple_artifacts.File],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    parameters: Parameter[str],
) -> OutputDict(decision=str, account=str):  # type: ignore[valid-type]  # TFX reads the outputs here
    """Decides, prints the reasons, and records the decision in the history.

    Args:
      drift: the report of `DriftDetector`.
      anomalies: of TFX's DistributionValidator.
      parameters: `PolicyParameters`, JSON.

    Returns:
      decision: "retrain" or "wait"; the nodes behind this one run only if it is "retrain".
      account: the whole decision and the drift report, JSON.
    """
    known = PolicyParameters.model_validate_json(parameters)
    remedy = "Restore it, or run in another workspace."
    measured = read_record(epath.Path(drift.uri) / DRIFT_REPORT, DriftReport, remedy)
    report = add_anomalies(measured, anomalies)
    decision = decide(known.retrain, known.facts, report)
    for line in (*report.findings, *report.notes):
        print(f"drift: {line}", flush=True)
    print(f"{decision.action}: {'; '.join(decision.reasons)}", flush=True)
    if known.history is not None:
        now = datetime.fromisoformat(known.now)
        note_decision(epath.Path(known.history), known.data, known.facts, report, decision, now)
    account = {"decision": decision.model_dump(mode="json"), "drift": report.model_dump(mode="json")}
    return {"decision": RETRAIN if decision.action == RETRAIN else WAIT, "account": json.dumps(account)}
