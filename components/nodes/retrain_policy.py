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
from components.retraining.config import RetrainConfig
from components.retraining.history import note_decision
from components.retraining.policy import Facts, decide
from components.store.model_store import Lineage

RETRAIN, WAIT = "retrain", "wait"


@component
def RetrainPolicy(  # noqa: N802 (the name of a node)
    drift: InputArtifact[simple_artifacts.File],
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    facts: Parameter[str],
    retrain: Parameter[str],
    lineage: Parameter[str],
    history: Parameter[str],
    now: Parameter[str],
    source: Parameter[str],
) -> OutputDict(decision=str, account=str):
    """Decides, says why, and keeps it in the history.

    Args:
      drift: what `DriftDetector` found.
      anomalies: what TFX's DistributionValidator found.
      facts: `Facts`, JSON.
      retrain: `RetrainConfig`, JSON.
      lineage: of the candidate, JSON.
      history: directory of the records; empty: the decision is not kept.
      now: ISO 8601. No two runs have the same, so that no cache answers in the place of this node.
      source: digest of this code.

    Returns:
      decision: "retrain" or "wait"; the nodes behind this one run only if it is "retrain".
      account: the whole decision and what was found of drift, JSON.
    """
    del source
    known = Facts.model_validate_json(facts)
    remedy = "Restore it, or run in another workspace."
    by_families = read_record(epath.Path(drift.uri) / DRIFT_REPORT, DriftReport, remedy)
    report = add_anomalies(by_families, anomalies)
    decision = decide(RetrainConfig.model_validate_json(retrain), known, report)
    for line in (*report.findings, *report.notes):
        print(f"drift: {line}", flush=True)
    print(f"{decision.action}: {'; '.join(decision.reasons)}", flush=True)
    if history:
        data = Lineage.model_validate_json(lineage).data
        note_decision(epath.Path(history), data, known, report, decision, datetime.fromisoformat(now))
    account = {"decision": decision.model_dump(mode="json"), "drift": report.model_dump(mode="json")}
    return {"decision": RETRAIN if decision.action == RETRAIN else WAIT, "account": json.dumps(account)}
