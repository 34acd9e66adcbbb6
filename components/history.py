"""What was decided and done about every candidate: the account that `genre history` and the report show.

<workspace>/history/<candidate>.json   one record per candidate, replaced whole

A candidate is named by the digest of all that determines it (see `components.model_store.Lineage`), so a run that was
killed and started again writes into the same record, and the same work is not accounted for twice.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from etils import epath
from pydantic import ValidationError

from components.atomic_files import write_atomically
from components.config import Section, problems
from components.drift import DriftReport
from components.errors import UserError
from components.evaluation import Verdict
from components.policy import Decision, Facts, spans_in_words

_CLOCK_TOLERANCE = timedelta(minutes=5)


class Decided(Section):
    """A decision and when it was first taken."""

    time: str
    """ISO 8601, UTC, like all times here."""
    decision: Decision


class Failure(Section):
    """A run that did not end well."""

    time: str
    reason: str


class Outcome(Section):
    """What the gate said of the candidate, and what became of it."""

    time: str
    blessed: bool
    reasons: tuple[str, ...]
    version: int | None
    """That it was pushed as."""
    rolled_back: int | None = None
    """The version that it had been rolled back from, when it was judged again."""
    accuracy: float
    """On the test split of the newest span."""
    golden_accuracy: float
    golden_interval: tuple[float, float]
    """95 %, Wilson."""
    golden_clips: int
    started_from: str = ""
    """What training started from, in words."""


class Record(Section):
    """The account of a candidate."""

    candidate: str
    data: str
    span: int
    window: tuple[int, ...]
    champion: int | None
    """That drift was measured with, and that the candidate is judged against."""
    new_clips: int
    drift: DriftReport | None = None
    decisions: tuple[Decided, ...] = ()
    """Each unlike the one before it."""
    started: tuple[str, ...] = ()
    """When runs began."""
    failures: tuple[Failure, ...] = ()
    outcome: Outcome | None = None

    @property
    def time(self) -> str:
        """When it was first heard of."""
        times = [each.time for each in (*self.decisions, *self.failures)]
        return min((*times, *self.started), default="")


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


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
    """Records what was decided and, if that is to retrain, that a run begins; a finished account stays as it is.

    Returns:
      The record as it is from now on.
    """
    record = read_record(directory, facts.candidate) or _new_record(data, facts)
    changes: dict[str, object] = {}
    last = record.decisions[-1].decision if record.decisions else None
    if last is None or (last.action, last.reasons) != (decision.action, decision.reasons):
        changes["decisions"] = (*record.decisions, Decided(time=timestamp(now), decision=decision))
    if drift is not None:
        changes |= {"drift": drift, "champion": facts.champion}
    if decision.action == "retrain":
        changes["started"] = (*record.started, timestamp(now))
    if record.outcome is not None or not changes:
        return record
    record = record.model_copy(update=changes)
    write_record(directory, record)
    return record


def note_failure(directory: epath.Path, data: str, facts: Facts, reason: str, now: datetime) -> None:
    """Records that a run for the candidate failed, unless its account has ended."""
    record = read_record(directory, facts.candidate) or _new_record(data, facts)
    if record.outcome is None:
        failure = Failure(time=timestamp(now), reason=reason)
        write_record(directory, record.model_copy(update={"failures": (*record.failures, failure)}))


def note_outcome(directory: epath.Path, candidate: str, outcome: Outcome) -> None:
    """Records how it ended, once: what is there stays."""
    record = read_record(directory, candidate)
    if record is not None and record.outcome is None:
        write_record(directory, record.model_copy(update={"outcome": outcome}))


def outcome_of(
    verdict: Verdict, version: int | None, rolled_back: int | None, started_from: str, now: datetime
) -> Outcome:
    """The outcome that a verdict and a push came to."""
    golden = verdict.on_golden
    return Outcome(
        time=timestamp(now),
        blessed=verdict.blessed,
        reasons=verdict.reasons,
        version=version,
        rolled_back=rolled_back,
        accuracy=verdict.candidate.accuracy,
        golden_accuracy=golden.candidate.accuracy,
        golden_interval=golden.candidate.accuracy_interval,
        golden_clips=golden.candidate.clips,
        started_from=started_from,
    )


def outcome_in_words(outcome: Outcome) -> str:
    """As "pushed as version 3", or "refused: ..."."""
    if outcome.version is not None:
        return f"pushed as version {outcome.version}"
    if outcome.rolled_back is not None:
        return f"not pushed, because it is version {outcome.rolled_back}, which was rolled back"
    return f"refused: {'; '.join(outcome.reasons)}"


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
    begun = sorted(datetime.fromisoformat(time) for record in records for time in record.started)
    if begun and begun[-1] > now + _CLOCK_TOLERANCE:
        raise UserError(
            f"the last run began at {timestamp(begun[-1])}, which is later than now, {timestamp(now)}: the clock was "
            "set back. Set it right; or, if it is right, remove the record of that run from the history."
        )
    mine = next((record for record in records if record.candidate == candidate), None)
    outcome = mine.outcome if mine else None
    pushed = next(
        (record.outcome.time for record in records if record.outcome and record.outcome.version == champion), None
    )
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    judged = f"it is version {withdrawn}, which was rolled back" if withdrawn else ""
    return Facts(
        candidate=candidate,
        span=max(window),
        window=tuple(sorted(window)),
        champion=champion,
        champion_spans=champion_spans,
        champion_hours=_hours(datetime.fromisoformat(pushed), now) if champion is not None and pushed else None,
        new_clips=sum(clips for span, clips in window.items() if span not in champion_spans),
        new_genres=new_genres,
        judged=outcome_in_words(outcome) if outcome else judged,
        begun=mine.started[-1] if mine and mine.started and not outcome else "",
        failures=tuple(failure.reason for failure in mine.failures) if mine else (),
        hours_since_run=_hours(begun[-1], now) if begun else None,
        runs_today=sum(time >= midnight for time in begun),
        hours_to_midnight=_hours(now, midnight + timedelta(days=1)),
    )


def _hours(start: datetime, end: datetime) -> float:
    return max(0.0, (end - start).total_seconds() / 3600.0)


def in_words(record: Record) -> str:
    """What became of a candidate, as a sentence."""
    spans = spans_in_words(record.window)
    if record.outcome is not None:
        return f"trained on {spans}: {outcome_in_words(record.outcome)}"
    if record.failures:
        return f"training on {spans} failed: {record.failures[-1].reason}"
    if record.started:
        return f"training on {spans} began at {record.started[-1]}, and has not ended"
    reasons = "; ".join(record.decisions[-1].decision.reasons) if record.decisions else "nothing was decided"
    return f"not trained on {spans}: {reasons}"
