"""The outlook of a run now, without TensorFlow: for `genre run`, `genre retrain` and `genre watch`."""

from dataclasses import dataclass
from datetime import UTC, datetime

from components.drift.report import DriftReport
from components.library.left_out import set_aside_spans
from components.retraining.history import note_decision, read_record
from components.retraining.policy import Decision, Facts, decide
from pipeline.config.settings import PipelineConfig
from pipeline.planning.plan import Plan, make_plan
from pipeline.planning.preflight import Preflight, check
from pipeline.workspace import Workspace, root_path


@dataclass(frozen=True)
class Prospect:
    """The run that could start now, and whether there is reason for it."""

    config: PipelineConfig
    inputs: Preflight
    plan: Plan
    facts: Facts
    decision: Decision
    """Preliminary, as no clip was looked at: the decision of the run itself counts."""
    notes: tuple[str, ...]
    """A sentence for each span that is left out."""
    drift: DriftReport | None
    """As an earlier run measured it for the same candidate; None: not measured yet."""

    def note(self) -> None:
        """Records a decision to wait in the history, as no run will; the same decision again leaves no trace."""
        history, data = self.inputs.workspace.history, str(self.inputs.data)
        note_decision(history, data, self.facts, None, self.decision, datetime.now(UTC))


def prospect(config: PipelineConfig, now: datetime | None = None, *, asked: bool = False) -> Prospect:
    """Looks at the library, the model store and the history, but at no clip.

    Args:
      config: of the run.
      now: for tests; None: the clock.
      asked: the run is wanted now, whatever `config.retrain` says, and no span is left out.

    Raises:
      UserError: the workspace is not on this machine; see `preflight.check`; or the history cannot be read, or
        has runs in the future.
    """
    _ = Workspace(root_path(config.workspace)).local  # before anything is looked for in a bucket
    inputs = check(config, leave_out=not asked)
    plan = make_plan(config, inputs, now or datetime.now(UTC), asked=asked)
    facts = plan.policy.facts
    record = read_record(inputs.workspace.history, facts.candidate)
    drift = record.drift if record and record.champion == facts.champion else None
    left_out = [] if asked else set_aside_spans(inputs.workspace.set_aside, inputs.data)
    notes = tuple(f"span {each.span} is set aside since {each.time}: {each.reason}" for each in left_out)
    return Prospect(config, inputs, plan, facts, decide(config.retrain, facts, drift), notes, drift)
