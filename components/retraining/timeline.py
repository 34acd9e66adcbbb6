"""The timeline: the events of a pipeline that retrains, derived from the history and the model store alone."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Literal

from etils import epath

from components.base.section import Section
from components.base.times import Time, timestamp
from components.retraining.history import Outcome, Record, outcome_in_words, outcome_of, read_history, with_outcome
from components.retraining.policy import spans_in_words
from components.store.model_store import (
    Lineage,
    Withdrawal,
    current_version,
    read_lineage,
    read_verdict,
    version_dir,
    versions,
    withdrawals,
)
from components.store.saved_model import SavedModel

Kind = Literal["span", "drift", "no drift", "wait", "measure", "run", "failure", "promotion", "refusal", "roll-back"]


class Event(Section):
    """An event."""

    time: Time
    kind: Kind
    words: str
    """Describes it."""
    span: int | None = None
    """The newest span of the window that it is about; None where that is not known."""
    version: int | None = None
    """The version that was promoted or rolled back, or that drift was measured with."""
    served: int | None = None
    """The version that is served from then on; None where that does not change, or is not known."""
    candidate: str | None = None
    outcome: Outcome | None = None
    """Of a promotion or refusal; None where the gate's verdict is not known."""


class Push(Section):
    """A version of the model store."""

    time: Time
    """Time at which it was put there, from its files."""
    lineage: Lineage | None
    outcome: Outcome | None
    """From the verdict in the store; None if there is none."""


class Store(Section):
    """The contents of the model store that the timeline needs."""

    served: int | None
    """The version that is served; None if there is none."""
    pushes: dict[int, Push]
    """By version, without those that were removed."""
    withdrawals: dict[int, Withdrawal]
    """Roll-backs by version."""


class Timeline(Section):
    """All events."""

    served: int | None
    """The version that is served now; None if there is none."""
    events: tuple[Event, ...]
    """The oldest first."""
    records: tuple[Record, ...]
    """The history that it was derived from."""

    @property
    def runs(self) -> int:
        """Number of runs, as far as is known."""
        judged = sum(event.kind in ("promotion", "refusal") for event in self.events)
        return max(judged, sum(event.kind == "run" for event in self.events))


def read_store(store: epath.Path) -> Store:
    """Reads a model store.

    Raises:
      UserError: the store is damaged.
    """
    return Store(
        served=current_version(store),
        pushes={version: _push(store, version) for version in versions(store)},
        withdrawals=withdrawals(store),
    )


def read_timeline(history: epath.Path, store: epath.Path) -> Timeline:
    """Reads the timeline of a workspace.

    Args:
      history: directory of the records.
      store: root of the model store.

    Raises:
      UserError: a record or the store is damaged.
    """
    return timeline(read_history(history), read_store(store))


def timeline(records: Sequence[Record], store: Store) -> Timeline:
    """Derives the timeline from records and a store."""
    return Timeline(served=store.served, events=tuple(events(records, store)), records=tuple(records))


def with_run(records: Sequence[Record], origin: Lineage, outcome: Outcome) -> list[Record]:
    """Adds the outcome of a run to the records, for a report that is written before the history is.

    Args:
      records: the whole history.
      origin: of the run's candidate.
      outcome: of the run.

    Returns:
      The new records.
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
    """Derives the events, the oldest first; within a second, a cause comes before its effect.

    The history has no record of a version that was pushed by hand or by `genre run`; its event comes from the store.
    """
    found = [
        *_spans(records),
        *(event for record in records for event in _of_record(record)),
        *_unrecorded(records, store.pushes),
        *_roll_backs(records, store),
    ]
    first = ("span", "measure", "drift", "no drift")

    def order(event: Event) -> tuple[datetime, int]:
        rank = first.index(event.kind) if event.kind in first else len(first)
        return datetime.fromisoformat(event.time), rank

    return sorted(found, key=order)


def _push(store: epath.Path, version: int) -> Push:
    directory = version_dir(store, version)
    lineage, verdict = read_lineage(store, version), read_verdict(store, version)
    written = SavedModel(directory).lineage if lineage else directory
    moment = datetime.fromtimestamp(int(written.stat().mtime), UTC)
    outcome = outcome_of(verdict, version, None, "", moment) if verdict else None
    return Push(time=timestamp(moment), lineage=lineage, outcome=outcome)


def _spans(records: Sequence[Record]) -> list[Event]:
    """Derives one event per span, from its first record: changed settings make another candidate, but no new span."""
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
    """Derives the events of a candidate."""

    def event(time: str, kind: Kind, words: str) -> Event:
        return Event(time=time, kind=kind, words=words, span=record.span, candidate=record.candidate)

    spans = spans_in_words(record.window)
    found = []
    findings: tuple[str, ...] = ()
    if record.drift and record.measured and (record.drift.drifted or record.drift.p_values):
        findings, account = record.drift.findings, record.drift.account
        kind: Kind = "drift" if record.drift.drifted else "no drift"
        measured = event(record.measured, kind, "; ".join(account[1:] if findings else account))
        found.append(measured.model_copy(update={"version": record.champion}))
    for each in record.decisions:
        reasons = [reason for reason in each.decision.reasons if reason not in findings]
        if len(reasons) < len(each.decision.reasons):
            reasons.append("drift")  # the event before has the findings
        words = "; ".join(reasons)
        if each.decision.action == "retrain":
            found.append(event(each.time, "run", f"training on {spans}: {words}"))
        else:
            found.append(event(each.time, each.decision.action, words))
    decided = {each.time for each in record.decisions if each.decision.action == "retrain"}
    found += [event(time, "run", f"training on {spans} again") for time in record.started if time not in decided]
    found += [event(failure.time, "failure", failure.reason) for failure in record.failures]
    for outcome in record.outcomes:
        kind = "refusal" if outcome.version is None else "promotion"
        judged = event(outcome.time, kind, _judged_in_words(outcome))
        known = {"version": outcome.version, "served": outcome.version, "outcome": outcome}
        found.append(judged.model_copy(update=known))
    return found


def _judged_in_words(outcome: Outcome) -> str:
    figures = [f"accuracy {outcome.accuracy:.1%} on its test clips"]
    if outcome.golden_accuracy is not None:
        figures.append(f"{outcome.golden_accuracy:.1%} on the golden set")
    reasons = f": {'; '.join(outcome.reasons)}" if outcome.version is not None and outcome.reasons else ""
    return f"{outcome_in_words(outcome)} ({', '.join(figures)}){reasons}"


def _unrecorded(records: Sequence[Record], pushes: Mapping[int, Push]) -> list[Event]:
    known = {(record.candidate, outcome.version) for record in records for outcome in record.outcomes}
    found = []
    for version, push in pushes.items():
        candidate, span = (push.lineage.candidate, push.lineage.span) if push.lineage else (None, None)
        if (candidate, version) in known:
            continue
        aside = "no decision about it is on record" if push.lineage else "put into the store by hand"
        words = _judged_in_words(push.outcome) if push.outcome else f"version {version}"
        found.append(
            Event(
                time=push.time,
                kind="promotion",
                words=f"{words}; {aside}",
                span=span,
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
        push = store.pushes.get(version)
        candidates = [record for record in records if record.candidate == withdrawal.candidate]
        origin = candidates[0] if candidates else push.lineage if push else None
        heir = "no version" if withdrawal.served is None else f"version {withdrawal.served}"
        words = f"{withdrawal.reason or 'no reason given'}; {heir} took its place"
        found.append(
            Event(
                time=withdrawal.time,
                kind="roll-back",
                words=f"version {version} was rolled back: {words}",
                span=origin.span if origin else None,
                version=version,
                served=withdrawal.served,
                candidate=withdrawal.candidate,
            )
        )
    return found
