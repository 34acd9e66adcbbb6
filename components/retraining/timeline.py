"""What happened to a pipeline that retrains, event by event: derived from the history and the model store alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from etils import epath

from components.base.section import Section
from components.base.times import Time, timestamp
from components.retraining.history import Outcome, Record, outcome_in_words, outcome_of, read_history, with_outcome
from components.retraining.policy import spans_in_words
from components.store.model_store import (
    LINEAGE,
    Lineage,
    Withdrawal,
    current_version,
    read_lineage,
    read_verdict,
    version_dir,
    versions,
    withdrawals,
)

Kind = Literal["span", "drift", "wait", "measure", "run", "failure", "promotion", "refusal", "roll-back"]


class Event(Section):
    """Something that happened at a time."""

    time: Time
    kind: Kind
    words: str
    span: int | None = None
    """The newest of the window that it is about; None where that is not known."""
    version: int | None = None
    """That it is about: of a promotion or roll-back that very one, of drift the one that drift was measured with."""
    served: int | None = None
    """The version that is served from then on; None where that stays, or is not known."""
    candidate: str | None = None
    outcome: Outcome | None = None
    """Of a promotion or refusal; None where the gate's verdict is not known."""


class Push(Section):
    """A version of the model store."""

    time: Time
    """When it was put there, as far as its files tell."""
    lineage: Lineage | None
    outcome: Outcome | None
    """By the verdict in the store, if there is one."""


class Store(Section):
    """What the model store knows of what happened."""

    served: int | None
    pushes: dict[int, Push]
    """By version; those that were removed are missing."""
    withdrawals: dict[int, Withdrawal]
    """By version."""


class Timeline(Section):
    """The whole account."""

    served: int | None
    """The version that is served now."""
    events: tuple[Event, ...]
    """The oldest first."""
    records: tuple[Record, ...]
    """That it was derived from."""

    @property
    def runs(self) -> int:
        """How many runs there were, as far as is known."""
        judged = sum(event.kind in ("promotion", "refusal") for event in self.events)
        return max(judged, sum(event.kind == "run" for event in self.events))


def read_store(store: epath.Path) -> Store:
    """What a model store knows.

    Raises:
      UserError: the store is damaged.
    """
    return Store(
        served=current_version(store),
        pushes={version: _push(store, version) for version in versions(store)},
        withdrawals=withdrawals(store),
    )


def read_timeline(history: epath.Path, store: epath.Path) -> Timeline:
    """The timeline of a workspace.

    Args:
      history: directory of the records.
      store: root of the model store.

    Raises:
      UserError: a record or the store is damaged.
    """
    return timeline(read_history(history), read_store(store))


def timeline(records: Sequence[Record], store: Store) -> Timeline:
    """The timeline that records and a store come to."""
    return Timeline(served=store.served, events=tuple(events(records, store)), records=tuple(records))


def with_run(records: Sequence[Record], origin: Lineage, outcome: Outcome) -> list[Record]:
    """The records as they are when a run is over, for what is told before that is noted.

    Args:
      records: the whole history.
      origin: of the run's candidate.
      outcome: of the run.
    """
    mine = next((record for record in records if record.candidate == origin.candidate), None) or Record(
        candidate=origin.candidate,
        data=origin.data,
        span=origin.span,
        window=origin.window,
        champion=origin.parent,
        new_clips=0,
    )
    others = (record for record in records if record.candidate != origin.candidate)
    return [*others, with_outcome(mine, outcome)]


def events(records: Sequence[Record], store: Store) -> list[Event]:
    """What happened, the oldest first; of the same second, what leads to the other first.

    A version that was pushed without an account, by hand or by `genre run`, is told by what the store knows of it.
    """
    found = [
        *_spans(records),
        *(event for record in records for event in _of_record(record)),
        *_unrecorded(records, store.pushes),
        *_roll_backs(records, store),
    ]
    first = ("span", "measure", "drift")

    def order(event: Event) -> tuple[datetime, int]:
        rank = first.index(event.kind) if event.kind in first else len(first)
        return datetime.fromisoformat(event.time), rank

    return sorted(found, key=order)


def _push(store: epath.Path, version: int) -> Push:
    directory = version_dir(store, version)
    lineage, verdict = read_lineage(store, version), read_verdict(store, version)
    written = directory / LINEAGE if lineage else directory
    moment = datetime.fromtimestamp(int(written.stat().mtime), UTC)
    outcome = outcome_of(verdict, version, None, "", moment) if verdict else None
    return Push(time=timestamp(moment), lineage=lineage, outcome=outcome)


def _spans(records: Sequence[Record]) -> list[Event]:
    """When each span was first heard of: settings that change make another candidate, but no new span."""
    first: dict[tuple[str, int], Record] = {}
    for record in sorted(records, key=lambda record: record.time):
        if record.decisions or record.failures:
            first.setdefault((record.data, record.span), record)
    return [
        Event(
            time=record.time,
            kind="span",
            span=record.span,
            candidate=record.candidate,
            words=f"{record.new_clips:,} new training clips in {spans_in_words(record.window)}",
        )
        for record in first.values()
    ]


def _of_record(record: Record) -> list[Event]:
    """What happened to a candidate, in order."""

    def event(time: str, kind: Kind, words: str, **more: object) -> Event:
        known = {"span": record.span, "candidate": record.candidate, **more}
        return Event(time=time, kind=kind, words=words, **known)

    spans = spans_in_words(record.window)
    found = []
    drifted = record.drift is not None and record.drift.drifted and record.measured is not None
    if drifted:
        words = "; ".join(record.drift.findings) or "drift"
        found.append(event(record.measured, "drift", words, version=record.champion))
    told = set(record.drift.findings) if drifted else set()  # in the event before
    for each in record.decisions:
        reasons = [reason for reason in each.decision.reasons if reason not in told]
        if len(reasons) < len(each.decision.reasons):
            reasons.append("drift")
        words = "; ".join(reasons)
        kind = "run" if each.decision.action == "retrain" else each.decision.action
        found.append(event(each.time, kind, f"training on {spans}: {words}" if kind == "run" else words))
    decided = {each.time for each in record.decisions if each.decision.action == "retrain"}
    found += [event(time, "run", f"training on {spans} again") for time in record.started if time not in decided]
    found += [event(failure.time, "failure", failure.reason) for failure in record.failures]
    for outcome in record.outcomes:
        pushed = outcome.version is not None
        found.append(
            event(
                outcome.time,
                "promotion" if pushed else "refusal",
                _judged_in_words(outcome),
                version=outcome.version,
                served=outcome.version,
                outcome=outcome,
            )
        )
    return found


def _judged_in_words(outcome: Outcome) -> str:
    figures = [f"accuracy {outcome.accuracy:.1%} on its newest span"]
    if outcome.golden_accuracy is not None:
        figures.append(f"{outcome.golden_accuracy:.1%} on the golden set")
    reasons = f": {'; '.join(outcome.reasons)}" if outcome.version is not None and outcome.reasons else ""
    return f"{outcome_in_words(outcome)} ({', '.join(figures)}){reasons}"


def _unrecorded(records: Sequence[Record], pushes: Mapping[int, Push]) -> list[Event]:
    known = {(record.candidate, outcome.version) for record in records for outcome in record.outcomes}
    found = []
    for version, push in pushes.items():
        candidate = push.lineage and push.lineage.candidate
        if (candidate, version) in known:
            continue
        aside = "no decision about it is on record" if push.lineage else "put into the store by hand"
        words = _judged_in_words(push.outcome) if push.outcome else f"version {version}"
        found.append(
            Event(
                time=push.time,
                kind="promotion",
                words=f"{words}; {aside}",
                span=push.lineage and push.lineage.span,
                version=version,
                served=version,
                candidate=candidate,
                outcome=push.outcome,
            )
        )
    return found


def _roll_backs(records: Sequence[Record], store: Store) -> list[Event]:
    found = []
    for version, withdrawal in store.withdrawals.items():
        of = next((record for record in records if record.candidate == withdrawal.candidate), None)
        push = store.pushes.get(version)
        place = f"version {withdrawal.served} took its place" if withdrawal.served is not None else ""
        words = "; ".join(filter(None, (withdrawal.reason or "no reason given", place)))
        found.append(
            Event(
                time=withdrawal.time,
                kind="roll-back",
                words=f"version {version} was rolled back: {words}",
                span=of.span if of else push and push.lineage and push.lineage.span,
                version=version,
                served=withdrawal.served,
                candidate=withdrawal.candidate,
            )
        )
    return found
