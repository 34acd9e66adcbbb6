"""What was decided and done about every candidate: the account that `genre history` and the report show.

<workspace>/history/<candidate>.json   one record per candidate, replaced whole

A candidate is named by the digest of all that determines it (see `components.store.model_store.Lineage`), so a run
that was killed and started again writes into the same record, and the same work is not accounted for twice.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from etils import epath
from pydantic import ValidationError

from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.section import Section, problems
from components.base.times import Time, timestamp
from components.drift.report import DriftReport
from components.evaluation.results import Verdict
from components.retraining.policy import Decision, Facts, spans_in_words

_CLOCK_TOLERANCE = timedelta(minutes=5)


class Decided(Section):
    """A decision and when it was first taken."""

    time: Time
    decision: Decision


class Failure(Section):
    """A run that did not end well."""

    time: Time
    reason: str


class Outcome(Section):
    """What the gate said of the candidate, and what became of it."""

    time: Time
    blessed: bool
    reasons: tuple[str, ...]
    version: int | None
    """That it was pushed as."""
    rolled_back: int | None = None
    """The version that it was when it was rolled back: it is not pushed again."""
    champion: int | None = None
    """The version that it was judged against."""
    accuracy: float
    """On the test split of the newest span."""
    golden_accuracy: float | None = None
    """On the golden set; None where there is none."""
    golden_interval: tuple[float, float] | None = None
    """95 %, Wilson."""
    golden_clips: int = 0
    golden_span: int | None = None
    """That the golden set is of: accuracies are comparable on the same one."""
    started_from: str = ""
    """What training started from, in words."""


class Record(Section):
    """The account of a candidate."""

    candidate: str
    data: str
    span: int
    window: tuple[int, ...]
    champion: int | None
    """The version that was served when drift was measured, or else when a decision was last taken."""
    new_clips: int
    """Training clips of the window that this version was not trained on."""
    drift: DriftReport | None = None
    measured: Time | None = None
    """When drift was."""
    decisions: tuple[Decided, ...] = ()
    """Each unlike the one before it."""
    started: tuple[Time, ...] = ()
    """When runs began. One that was killed and taken up again began once."""
    ended: Time | None = None
    """When the last of them did, well or not; None as long as it has not."""
    failures: tuple[Failure, ...] = ()
    outcomes: tuple[Outcome, ...] = ()
    """Each unlike the one before it: a candidate is judged anew when the gate or the champion is another."""

    @property
    def outcome(self) -> Outcome | None:
        """The last, if it was ever judged."""
        return self.outcomes[-1] if self.outcomes else None

    @property
    def begun(self) -> str:
        """When the run began that has not ended; empty if there is none."""
        return self.started[-1] if self.started and self.ended is None else ""

    @property
    def time(self) -> str:
        """When it was first heard of."""
        noted = (*self.decisions, *self.failures, *self.outcomes)
        return min((*(each.time for each in noted), *self.started), default="")


def read_record(directory: epath.Path, candidate: str) -> Record | None:
    """The record of a candidate, if there is one.

    Raises:
      UserError: it is damaged.
    """
    path = directory / f"{candidate}.json"
    if not path.exists():
        return None
    try:
        return Record.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise UserError(
            f"{path}: damaged, or of another version of this project: {'; '.join(problems(error))}. Restore it, or "
            "remove it: what it said is then forgotten."
        ) from error


def read_history(directory: epath.Path) -> list[Record]:
    """All records, the oldest first.

    Raises:
      UserError: one is damaged.
    """
    if not directory.exists():
        return []
    found = (read_record(directory, path.stem) for path in directory.glob("*.json"))
    return sorted((record for record in found if record), key=lambda record: (record.time, record.span))


def write_record(directory: epath.Path, record: Record) -> None:
    """Puts a record in the place of the former one."""
    write_atomically(directory / f"{record.candidate}.json", record.model_dump_json(indent=2) + "\n")


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
    """Records what was decided and, if that is to retrain, that a run begins.

    Of a candidate that was judged, only another run is worth a note.

    Args:
      directory: of the records.
      data: root of the library.
      facts: that were decided on.
      drift: that was decided on; None if it was not measured.
      decision: what is to be done.
      now: the time, with its zone.

    Returns:
      The record as it is from now on.
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
    """Records that a run for the candidate failed, before or after the decision, unless its account has ended."""
    record = read_record(directory, facts.candidate) or _new_record(data, facts)
    if record.begun or record.outcome is None:
        failure = Failure(time=timestamp(now), reason=reason)
        changes = {"failures": (*record.failures, failure), "ended": failure.time}
        write_record(directory, record.model_copy(update=changes))


def note_outcome(directory: epath.Path, candidate: str, outcome: Outcome) -> None:
    """Records how a run for the candidate ended, if there is an account of it; see `with_outcome`."""
    record = read_record(directory, candidate)
    if record is not None and (changed := with_outcome(record, outcome)) != record:
        write_record(directory, changed)


def with_outcome(record: Record, outcome: Outcome) -> Record:
    """The record of a run that came to an outcome; the same again, at another time, is none."""
    changes: dict[str, object] = {"ended": outcome.time} if record.begun else {}
    if record.outcome is None or record.outcome.model_copy(update={"time": outcome.time}) != outcome:
        changes["outcomes"] = (*record.outcomes, outcome)
    return record.model_copy(update=changes)


def outcome_of(
    verdict: Verdict, version: int | None, rolled_back: int | None, started_from: str, now: datetime
) -> Outcome:
    """The outcome that a verdict and a push came to.

    Args:
      verdict: the gate's.
      version: that the candidate was pushed as; None if it was not.
      rolled_back: the version that it was when it was rolled back; None if it never was.
      started_from: what training started from, in words.
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
        golden_accuracy=golden and golden.candidate.accuracy,
        golden_interval=golden and golden.candidate.accuracy_interval,
        golden_clips=golden.candidate.clips if golden else 0,
        golden_span=golden and golden.span,
        started_from=started_from,
    )


def outcome_in_words(outcome: Outcome) -> str:
    """As "pushed as version 3", or "refused: ..."."""
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
    """What is known about a candidate before any clip is looked at.

    Args:
      records: the whole history.
      candidate: its digest.
      window: training clips of each span of its window.
      champion: the version it would be judged against.
      champion_spans: that this one was trained on; empty if that is not known.
      new_genres: that the champion does not know.
      withdrawn: the version that the candidate had when it was rolled back, if it was.
      now: the time, with its zone.

    Raises:
      UserError: the history has runs that began in the future: the clock was set back.
    """
    begun = sorted((datetime.fromisoformat(time), record.candidate) for record in records for time in record.started)
    last, of = begun[-1] if begun else (None, "")
    if last and last > now + _CLOCK_TOLERANCE:
        raise UserError(
            f"the last run began at {timestamp(last)}, which is later than now, {timestamp(now)}: the clock was set "
            f"back. Set it right; or, if it is right, remove that run's record from the history, {of}.json."
        )
    mine = next((record for record in records if record.candidate == candidate), None)
    outcome = mine.outcome if mine else None
    pushes = [each.time for record in records for each in record.outcomes if each.version == champion]
    pushed = max(map(datetime.fromisoformat, pushes)) if champion is not None and pushes else None
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
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
        runs_today=sum(time >= midnight for time, _ in begun),
        hours_to_midnight=_hours(now, midnight + timedelta(days=1)),
    )


def _hours(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds() / 3600.0)


def in_words(record: Record) -> str:
    """What became of a candidate, as a sentence."""
    spans = spans_in_words(record.window)
    if record.outcome is not None:
        return f"trained on {spans}: {outcome_in_words(record.outcome)}"
    if record.begun:
        return f"training on {spans} began at {record.begun}, and has not ended"
    if record.failures:
        return f"training on {spans} failed: {record.failures[-1].reason}"
    reasons = "; ".join(record.decisions[-1].decision.reasons) if record.decisions else "nothing was decided"
    return f"not trained on {spans}: {reasons}"
