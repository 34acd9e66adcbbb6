"""The events that records and a model store come to."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

from components.base.times import timestamp
from components.drift.report import DriftReport
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from components.evaluation.results import Verdict
from components.retraining.history import Outcome, Record, note_decision, note_failure, note_outcome
from components.retraining.policy import Decision, Facts
from components.retraining.timeline import Event, Push, Store, Timeline, events, read_timeline, timeline, with_run
from components.store.model_store import Lineage, Withdrawal, current_version, publish, read_verdict, roll_back

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
NOTHING = Store(served=None, pushes={}, withdrawals={})
QUIET = DriftReport(drifted=False, false_alarm_rate=0.01, p_value=0.4, notes=("no drift (p = 0.40)",))
DRIFT = DriftReport(drifted=True, false_alarm_rate=0.01, p_value=0.001, findings=("embeddings differ",))


def at(hours: float) -> str:
    return timestamp(NOON + timedelta(hours=hours))


def decided(hours: float, action: str, *reasons: str) -> dict[str, Any]:
    return {"time": at(hours), "decision": {"action": action, "reasons": reasons}}


def outcome(hours: float, version: int | None, *reasons: str, **changes: Any) -> Outcome:
    known = {"time": at(hours), "blessed": version is not None, "reasons": reasons, "version": version}
    return Outcome.model_validate(known | {"accuracy": 0.75, "golden_accuracy": 0.5} | changes)


def record(candidate: str = "7c3f", span: int = 5, **known: Any) -> Record:
    told = {"candidate": candidate, "data": "/data", "span": span, "window": (span - 1, span), "champion": 2}
    return Record.model_validate(told | {"new_clips": 90} | known)


def told(found: list[Event]) -> list[tuple[str, str]]:
    return [(event.kind, event.words) for event in found]


def test_without_anything_nothing_happened(tmp_path: Path) -> None:
    assert read_timeline(epath.Path(tmp_path / "history"), epath.Path(tmp_path / "models")) == Timeline(
        served=None, events=(), records=()
    )


def test_the_events_of_a_candidate_in_order() -> None:
    found = events(
        [
            record(
                drift=DRIFT,
                measured=at(1),
                decisions=(
                    decided(0, "measure", "few clips"),
                    decided(1, "retrain", "embeddings differ"),
                    decided(3, "retrain", "embeddings differ", "attempt 2 of 3: disk full"),
                    decided(4, "retrain", "a run for this began and did not end"),
                ),
                started=(at(1), at(3), at(6)),
                failures=({"time": at(2), "reason": "disk full"},),
                outcomes=(outcome(5, None, "worse than version 2"), outcome(7, 3, "as good as version 1", champion=1)),
            )
        ],
        NOTHING,
    )
    assert told(found) == [
        ("span", "90 new training clips in spans 4, 5"),
        ("measure", "few clips"),
        ("drift", "embeddings differ"),
        ("run", "training on spans 4, 5: drift"),
        ("failure", "disk full"),
        ("run", "training on spans 4, 5: attempt 2 of 3: disk full; drift"),
        ("run", "training on spans 4, 5: a run for this began and did not end"),
        ("refusal", "refused: worse than version 2 (accuracy 75.0% on its test clips, 50.0% on the golden set)"),
        ("run", "training on spans 4, 5 again"),
        (
            "promotion",
            "pushed as version 3 (accuracy 75.0% on its test clips, 50.0% on the golden set): as good as version 1",
        ),
    ]
    assert [event.time for event in found] == [at(hours) for hours in (0, 0, 1, 1, 2, 3, 4, 5, 6, 7)]
    assert [(event.version, event.served) for event in found if event.kind in ("drift", "refusal", "promotion")] == [
        (2, None),
        (None, None),
        (3, 3),
    ]
    assert {(event.span, event.candidate) for event in found} == {(5, "7c3f")}


def test_what_has_not_drifted_is_no_drift() -> None:
    found = events(
        [record(drift=QUIET, measured=at(0), decisions=(decided(0, "wait", "few clips", "no drift (p = 0.40)"),))],
        NOTHING,
    )
    assert told(found)[1:] == [("wait", "few clips; no drift (p = 0.40)")]
    calm = "predictions: does not differ (p = 0.4): Rock +0.2 sd"
    measured = QUIET.model_copy(update={"p_values": {"predictions": 0.4}, "notes": (calm,), "newest_clips": 20})
    [_, event] = events(
        [record(drift=measured, measured=at(0), decisions=(decided(0, "wait", "few clips"),))], NOTHING
    )[:2]
    assert event.kind == "no drift" and event.words.startswith("no drift: 20 newest clips against 0 ")
    assert event.words.endswith(calm)


def test_a_span_comes_once_whatever_settings_it_is_tried_with() -> None:
    records = [
        record("bbbb", decisions=(decided(2, "wait", "later"),)),
        record("aaaa", decisions=(decided(1, "wait", "first"),)),
        record("cccc", span=6, decisions=(decided(3, "wait", "next"),)),
        record("dddd", data="/other", decisions=(decided(4, "wait", "another library"),)),
        record("eeee", span=7, failures=({"time": at(5), "reason": "before it was decided on"},)),
        record("ffff", span=8, outcomes=(outcome(6, 3),)),  # without an account of what led to it
    ]
    spans = [event for event in events(records, NOTHING) if event.kind == "span"]
    assert [(event.span, event.candidate) for event in spans] == [(5, "aaaa"), (6, "cccc"), (5, "dddd"), (7, "eeee")]


def test_roll_backs_are_among_the_rest() -> None:
    records = [record(started=(at(0),), outcomes=(outcome(1, 3), outcome(3, None, rolled_back=3)))]
    store = Store(
        served=2,
        pushes={},
        withdrawals={
            3: Withdrawal(candidate="7c3f", time=at(2), reason="calls jazz rock", served=2),
            1: Withdrawal(candidate=None, time=at(-9), reason="", served=2),
        },
    )
    found = events(records, store)
    assert [(event.kind, event.version, event.served, event.span) for event in found] == [
        ("roll-back", 1, 2, None),
        ("run", None, None, 5),
        ("promotion", 3, 3, 5),
        ("roll-back", 3, 2, 5),
        ("refusal", None, None, 5),
    ]
    words = [event.words for event in found]
    assert words[0] == "version 1 was rolled back: no reason given; version 2 took its place"
    assert words[3] == "version 3 was rolled back: calls jazz rock; version 2 took its place"
    assert words[4].startswith("not pushed, because it is version 3, which was rolled back (")


def test_a_push_without_an_account_is_told_by_the_store_and_one_with_it_once() -> None:
    lineage = Lineage(candidate="7c3f", parent=None, data="/data", span=5, window=(5,))
    pushes = {
        1: Push(time=at(-2), lineage=None, outcome=None),
        2: Push(time=at(-1), lineage=lineage.model_copy(update={"candidate": "aaaa"}), outcome=outcome(-1, 2)),
        3: Push(time=at(1), lineage=lineage, outcome=outcome(1, 3)),
    }
    found = events([record(outcomes=(outcome(2, 3),))], Store(served=3, pushes=pushes, withdrawals={}))
    assert [(event.kind, event.version, event.time) for event in found] == [
        ("promotion", 1, at(-2)),
        ("promotion", 2, at(-1)),
        ("promotion", 3, at(2)),
    ]
    assert found[0].words == "version 1; put into the store by hand"
    assert found[1].words.endswith("no decision about it is on record")


def test_a_single_run_is_counted_once_however_it_is_known() -> None:
    assert timeline([], NOTHING).runs == 0
    once = record(started=(at(0),), outcomes=(outcome(1, 3),))
    assert timeline([once], NOTHING).runs == 1
    failed_once = record(started=(at(0), at(2)), decisions=(decided(0, "retrain", "x"),), outcomes=(outcome(3, 3),))
    assert timeline([failed_once], NOTHING).runs == 2
    unrecorded = {1: Push(time=at(-2), lineage=None, outcome=None)}
    assert timeline([once], Store(served=3, pushes=unrecorded, withdrawals={})).runs == 2


def test_a_run_is_told_before_it_is_noted() -> None:
    lineage = Lineage(candidate="7c3f", parent=2, data="/data", span=5, window=(5,))
    began = record(started=(at(0),))
    other = record("aaaa", span=4, started=(at(-5),), outcomes=(outcome(-4, 2),))
    assert with_run([began, other], lineage, outcome(1, 3)) == [
        other,
        record(started=(at(0),), ended=at(1), outcomes=(outcome(1, 3),)),
    ]
    [unrecorded] = with_run([], lineage, outcome(1, None, "worse"))
    assert [(event.kind, event.span) for event in events([unrecorded], NOTHING)] == [("refusal", 5)]
    noted = with_run([began, other], lineage, outcome(1, 3))
    assert with_run(noted, lineage, outcome(9, 3)) == noted


@pytest.fixture
def verdict() -> Verdict:
    truth = np.array([0, 1, 0, 1])
    answers = ScoredClips(("a", "b", "c", "d"), truth, np.eye(2)[truth], span=1)
    return judge(GateConfig(), ("folk", "rock"), answers, answers, latency_ms=1.0, megabytes=1.0)


def test_records_store_and_pointer_agree(tmp_path: Path, verdict: Verdict) -> None:
    """As the loop writes them: two candidates, the second fails once, is pushed, and is rolled back."""
    history, store, source = (epath.Path(tmp_path / name) for name in ("history", "models", "source"))
    source.mkdir()
    (source / "saved_model.pb").write_bytes(b"graph")
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(hours=9)
    for span, candidate in enumerate(("aaaa", "bbbb"), 1):
        facts = Facts(candidate=candidate, span=span, window=(span,), champion=span - 1 or None, new_clips=9)
        decision = Decision(action="retrain", reasons=("new",))
        start = now + timedelta(hours=span)
        note_decision(history, "/data", facts, None, decision, start)
        if span == 2:
            note_failure(history, "/data", facts, "disk full", start + timedelta(minutes=1))
            note_decision(history, "/data", facts, None, decision, start + timedelta(minutes=2))
        lineage = Lineage(candidate=candidate, parent=facts.champion, data="/data", span=span, window=(span,))
        version = publish(store, source, lineage, verdict)
        pushed = Outcome(
            time=timestamp(start + timedelta(minutes=3)), blessed=True, reasons=(), version=version, accuracy=1.0
        )
        note_outcome(history, candidate, pushed)
    roll_back(store, reason="calls jazz rock")
    found = read_timeline(history, store)
    assert [(event.kind, event.span) for event in found.events] == [
        ("span", 1),
        ("run", 1),
        ("promotion", 1),
        ("span", 2),
        ("run", 2),
        ("failure", 2),
        ("run", 2),
        ("promotion", 2),
        ("roll-back", 2),
    ]
    assert found.served == found.events[-1].served == current_version(store) == 1
    assert Timeline.model_validate_json(found.model_dump_json()) == found
    (history / "aaaa.json").unlink()
    forgotten = read_timeline(history, store).events
    assert [event.outcome.accuracy for event in forgotten if event.version == 1] == [
        read_verdict(store, 1).candidate.accuracy
    ]
