"""The history: decisions, runs and outcomes of every candidate, as `genre history` and the report show them.

<workspace>/history/<candidate>.json   one record per candidate, replaced whole

A candidate is named by the digest of all that determines it (see `components.store.model_store.Lineage`). So a run that
was killed and started again writes into the same record, and no work is recorded twice.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta

from etils import epath

from components.base import json_records
from components.base.errors import UserError
from components.base.section import Section
from components.base.times import Time, timestamp
from components.drift.report import DriftReport
from components.evaluation.results import Verdict
from components.retraining.policy import Decision, Facts, spans_in_words

_CLOCK_TOLERANCE = timedelta(minutes=5)


class Decided(Section):
    """A decision, and when it was first made."""

    time: Time
    decision: Decision


class Failure(Section):
    """A failed run."""

    time: Time
    reason: str


class Outcome(Section):
    """The gate's decision on a candidate, and whether it was pushed."""

    time: Time
    blessed: bool
    """The gate accepted the candidate."""
    reasons: tuple[str, ...]
    """The gate's reasons."""
    version: int | None
    """The version that it was pushed as; None if it was not pushed."""
    rolled_back: int | None = None
    """Its version when it was rolled back, so that it is not pushed again; None if it never was."""
    champion: int | None = None
    """The version that it was judged against; None if there was none."""
    accuracy: float
    """On the test clips of the newest span, and of the span before it if that is small; from 0 to 1."""
    golden_accuracy: float | None = None
    """On the golden set, from 0 to 1; None where there is no golden set."""
    golden_interval: tuple[float, float] | None = None
    """Wilson's 95 % interval of `golden_accuracy`."""
    golden_clips: int = 0
    golden_span: int | None = None
    """Span whose test split is the golden set. Accuracies on the same span can be compared."""
    started_from: str = ""
    """The weights that training started from, as text."""


class Record(Section):
    """All that is known about a candidate."""

    candidate: str
    data: str
    """Root of the library."""
    span: int
    """The newest span of `window`."""
    window: tuple[int, ...]
    """Spans to train on, ascending."""
    champion: int | None
    """The version that was served when drift was measured; before that, when the last decision was made."""
    new_clips: int
    """Number of training clips of the window that this version was not trained on."""
    drift: DriftReport | None = None
    measured: Time | None = None
    """Time at which drift was measured."""
    decisions: tuple[Decided, ...] = ()
    """Each differs from the one before it."""
    started: tuple[Time, ...] = ()
    """Times at which runs began. A run that was killed and continued began once."""
    ended: Time | None = None
    """Time at which the last run ended or failed; None while it runs."""
    failures: tuple[Failure, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    """Each differs from the one before it. A candidate is judged again when the gate or the champion has changed."""

    @property
    def outcome(self) -> Outcome | None:
        """The last outcome; None if it was never judged."""
        return self.outcomes[-1] if self.outcomes else None

    @property
    def begun(self) -> str:
        """Start time of the run that has not ended; empty if there is none."""
        return self.started[-1] if self.started and self.ended is None else ""

    @property
    def time(self) -> str:
        """Time of the first event; empty if there is none."""
        decided = (each.time for each in self.decisions)
        failed = (each.time for each in self.failures)
        judged = (each.time for each in self.outcomes)
        return min((*decided, *failed, *judged, *self.started), default="")


def read_record(directory: epath.Path, candidate: str) -> Record | None:
    """Reads the record of a candidate; None if there is none.

    Raises:
      UserError: the record is damaged.
    """
    remedy = "Restore it from a copy; or remove it, and the history of this candidate is lost."
    return json_records.find_record(directory / f"{candidate}.json", Record, remedy)


def read_history(directory: epath.Path) -> list[Record]:
    """Reads all records, the oldest first.

    Raises:
      UserError: a record is damaged.
    """
    found = (read_record(directory, path.stem) for path in json_records.record_files(directory))
    return sorted((record for record in found if record), key=lambda record: (record.time, record.span))


def write_record(directory: epath.Path, record: Record) -> None:
    """Replaces the record of a candidate."""
    json_records.write_record(directory / f"{record.candidate}.json", record)


def _new_record(data: str, facts: Facts) -> Record:
    return Record(
        candidate=facts.candidate,
        data=data,
        span=facts.span,
        window=facts.window,
        champion=facts.champion,
        new_clips=facts.new_clips,
    )


def note_decision(
    directory: epath.Path, data: str, facts: Facts, drift: DriftReport | None, decision: Decision, now: datetime
) -> Record:
    """Records a decision and, if it is to retrain, that a run begins.

    For a candidate that was judged, only a decision to retrain is recorded.

    Args:
      directory: of the records.
      data: root of the library.
      facts: that the decision depends on.
      drift: that the decision depends on; None if it was not measured.
      decision: to record.
      now: the time, with its zone.

    Returns:
      The new record.
    """
    record = read_record(directory, facts.candidate) or _new_record(data, facts)
    runs = decision.action == "retrain"
    if record.outcome is not None and not runs:
        return record
    time = timestamp(now)
    changes: dict[str, object] = {}
    last = record.decisions[-1].decision if record.decisions else None
    if last is None or (last.action, last.reasons) != (decision.action, decision.reasons):
        changes["decisions"] = (*record.decisions, Decided(time=time, decision=decision))
    if drift is not None and (drift, facts.champion) != (record.drift, record.champion):
        changes |= {"drift": drift, "measured": time}
    if drift is not None or record.drift is None:
        changes |= {"champion": facts.champion, "new_clips": facts.new_clips}
    if runs and not record.begun:
        changes |= {"started": (*record.started, time), "ended": None}
    changed = record.model_copy(update=changes)
    if changed != record:
        write_record(directory, changed)
    return changed


def note_failure(directory: epath.Path, data: str, facts: Facts, reason: str, now: datetime) -> None:
    """Records that a run for the candidate failed, unless the candidate was judged and no run is going on."""
    record = read_record(directory, facts.candidate) or _new_record(data, facts)
    if record.begun or record.outcome is None:
        failure = Failure(time=timestamp(now), reason=reason)
        changes = {"failures": (*record.failures, failure), "ended": failure.time}
        write_record(directory, record.model_copy(update=changes))


def note_outcome(directory: epath.Path, candidate: str, outcome: Outcome) -> None:
    """Records the outcome of a run for the candidate, if it has a record; see `with_outcome`."""
    record = read_record(directory, candidate)
    if record is not None and (changed := with_outcome(record, outcome)) != record:
        write_record(directory, changed)


def with_outcome(record: Record, outcome: Outcome) -> Record:
    """Adds an outcome to a record, unless it differs from the last one only by its time; ends the run."""
    changes: dict[str, object] = {"ended": outcome.time} if record.begun else {}
    if record.outcome is None or record.outcome.model_copy(update={"time": outcome.time}) != outcome:
        changes["outcomes"] = (*record.outcomes, outcome)
    return record.model_copy(update=changes)


def outcome_of(
    verdict: Verdict, version: int | None, rolled_back: int | None, started_from: str, now: datetime
) -> Outcome:
    """Makes the outcome of a run from the gate's verdict and the push.

    Args:
      verdict: the gate's.
      version: that the candidate was pushed as; None if it was not.
      rolled_back: its version when it was rolled back; None if it never was.
      started_from: the weights that training started from, as text.
      now: the time, with its zone.
    """
    golden = verdict.on_golden
    return Outcome(
        time=timestamp(now),
        blessed=verdict.blessed,
        reasons=verdict.reasons,
        version=version,
        rolled_back=rolled_back,
        champion=int(verdict.champion.version) if verdict.champion else None,
        accuracy=verdict.candidate.accuracy,
        golden_accuracy=golden.candidate.accuracy if golden else None,
        golden_interval=golden.candidate.accuracy_interval if golden else None,
        golden_clips=golden.candidate.clips if golden else 0,
        golden_span=golden.span if golden else None,
        started_from=started_from,
    )


def outcome_in_words(outcome: Outcome) -> str:
    """Describes an outcome: "pushed as version 3", "refused: ..."."""
    if outcome.version is not None:
        return f"pushed as version {outcome.version}"
    if outcome.rolled_back is not None:
        return f"not pushed, because it is version {outcome.rolled_back}, which was rolled back"
    return "accepted, but not pushed" if outcome.blessed else f"refused: {'; '.join(outcome.reasons)}"


def gather_facts(
    records: Sequence[Record],
    candidate: str,
    window: dict[int, int],
    champion: int | None,
    champion_spans: tuple[int, ...],
    new_genres: tuple[str, ...],
    withdrawn: int | None,
    now: datetime,
) -> Facts:
    """Gathers what is known about a candidate before any clip is read.

    Args:
      records: the whole history.
      candidate: its digest.
      window: number of training clips of each span of its window.
      champion: the version that it would be judged against; None if there is none.
      champion_spans: spans that the champion was trained on; empty if that is not known.
      new_genres: genres that the champion does not know.
      withdrawn: the candidate's version when it was rolled back; None if it never was.
      now: the time, with its zone.

    Raises:
      UserError: a run of the history began in the future, so the clock was set back.
    """
    begun = sorted((datetime.fromisoformat(time), record.candidate) for record in records for time in record.started)
    last, candidate_of_last = begun[-1] if begun else (None, "")
    if last and last > now + _CLOCK_TOLERANCE:
        raise UserError(
            f"the last run began at {timestamp(last)}, which is later than now, {timestamp(now)}: the clock was set "
            f"back. Correct it; or, if it is right, remove the run's record from the history, {candidate_of_last}.json."
        )
    mine = next((record for record in records if record.candidate == candidate), None)
    outcome = mine.outcome if mine else None
    pushes = [each.time for record in records for each in record.outcomes if each.version == champion]
    pushed = max(map(datetime.fromisoformat, pushes)) if champion is not None and pushes else None
    judged = outcome_in_words(outcome) if outcome else ""
    return Facts(
        candidate=candidate,
        span=max(window),
        window=tuple(sorted(window)),
        champion=champion,
        champion_spans=champion_spans,
        champion_hours=_hours(pushed, now) if pushed else None,
        new_clips=sum(clips for span, clips in window.items() if span not in champion_spans),
        new_genres=new_genres,
        judged=f"it is version {withdrawn}, which was rolled back" if withdrawn else judged,
        begun=mine.begun if mine else "",
        failures=tuple(failure.reason for failure in mine.failures) if mine else (),
        hours_since_run=_hours(last, now) if last else None,
    )


def _hours(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds() / 3600.0)


def in_words(record: Record) -> str:
    """Describes the state of a candidate in one sentence."""
    spans = spans_in_words(record.window)
    if record.outcome is not None:
        return f"trained on {spans}: {outcome_in_words(record.outcome)}"
    if record.begun:
        return f"training on {spans} began at {record.begun}, and has not ended"
    if record.failures:
        return f"training on {spans} failed: {record.failures[-1].reason}"
    reasons = "; ".join(record.decisions[-1].decision.reasons) if record.decisions else "nothing was decided"
    return f"not trained on {spans}: {reasons}"
