"""The node that records the outcome of a candidate in the history."""

import json
from datetime import UTC, datetime

from etils import epath
from tfx.dsl.component.experimental.annotations import InputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from components.evaluation.results import read_evaluation
from components.nodes.parameters.recorder import RecorderParameters
from components.retraining.history import note_outcome, outcome_of
from components.store.model_card import HISTORY
from components.store.model_store import WITHDRAWN_PROPERTY


@component
def Recorder(  # noqa: N802 (the name of a node)
    model_run: InputArtifact[standard_artifacts.ModelRun],
    evaluation: InputArtifact[standard_artifacts.ModelEvaluation],
    pushed_model: InputArtifact[standard_artifacts.PushedModel],
    parameters: Parameter[str],
) -> None:
    """Records the gate's verdict and what became of the candidate, unless that is recorded already.

    Args:
      model_run: holds `history.json`.
      evaluation: holds the verdict.
      pushed_model: has the version that the candidate was pushed as, if it was.
      parameters: `RecorderParameters`, JSON.
    """
    known = RecorderParameters.model_validate_json(parameters)
    version = withdrawn = None
    if pushed_model.get_int_custom_property("pushed"):
        version = int(pushed_model.get_string_custom_property("pushed_version"))
    elif rolled_back := pushed_model.get_string_custom_property(WITHDRAWN_PROPERTY):
        withdrawn = int(rolled_back)
    training = json.loads((epath.Path(model_run.uri) / HISTORY).read_text())
    verdict = read_evaluation(epath.Path(evaluation.uri))
    outcome = outcome_of(verdict, version, withdrawn, training.get("started_from", ""), datetime.now(UTC))
    note_outcome(epath.Path(known.history), known.candidate, outcome)
