"""The account of every candidate: what is written, what writing it again changes, and what is made of it."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

from components.base.errors import UserError
from components.base.times import timestamp
from components.drift.report import DriftReport
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.metrics import wilson_interval
from components.evaluation.predictions import ScoredClips
from components.evaluation.results import Verdict
from components.retraining.config import RetrainConfig
from components.retraining.history import (
    Outcome,
    Record,
    gather_facts,
    in_words,
    note_decision,
    note_failure,
    note_outcome,
    outcome_in_words,
    outcome_of,
    read_history,
    read_record,
)
from components.retraining.policy import Decision, Facts, decide

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
RETRAIN = Decision(action="retrain", reasons=("300 new clips",))
WAIT = Decision(action="wait", reasons=("too few clips",))
DRIFT = DriftReport(drifted=True, false_alarm_rate=0.01, p_value=0.001, findings=("descriptors differ",))


def at(hours: float) -> datetime:
    return NOON + timedelta(hours=hours)


@pytest.fixture
def directory(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path / "history")


def facts(candidate: str = "7c3f", **changes: Any) -> Facts:
    known = {"candidate": candidate, "span": 5, "window": (3, 4, 5), "champion": 2, "new_clips": 90}
    return Facts.model_validate(known | changes)


def note(
    directory: epath.Path, decision: Decision, hours: float, drift: DriftReport | None = None, **changes: Any
) -> Record:
    return note_decision(directory, "/data", facts(**changes), drift, decision, at(hours))


def outcome(hours: float, **changes: Any) -> Outcome:
    known = {"time": timestamp(at(hours)), "blessed": True, "reasons": ("better",), "version": 3, "accuracy": 0.75}
    return Outcome.model_validate(known | changes)


def gathered(directory: epath.Path, now: datetime, candidate: str = "7c3f", **changes: Any) -> Facts:
    known = {
        "window": {5: 40, 3: 100, 4: 50},
        "champion": 2,
        "champion_spans": (2, 3),
        "new_genres": (),
        "withdrawn": None,
    }
    return gather_facts(read_history(directory), candidate, now=now, **(known | changes))


def the_only(directory: epath.Path) -> Record:
    [record] = read_history(directory)
    assert [path.name for path in directory.iterdir()] == [f"{record.candidate}.json"]
    return record


def test_there_may_be_no_history(directory: epath.Path) -> None:
    assert read_history(directory) == []
    assert read_record(directory, "7c3f") is None
    note_outcome(directory, "7c3f", outcome(0))
    assert read_history(directory) == []


def test_a_run_that_fails_before_the_decision_has_an_account(directory: epath.Path) -> None:
    note_failure(directory, "/data", facts(), "the data does not agree with the schema", at(0))
    record = the_only(directory)
    assert (record.time, record.started, record.begun) == ("2026-03-01T12:00:00+00:00", (), "")
    assert gathered(directory, NOON).failures == ("the data does not agree with the schema",)


def test_the_whole_account_of_a_candidate(directory: epath.Path) -> None:
    note(directory, WAIT, 0)
    note(directory, RETRAIN, 1, DRIFT)
    note_failure(directory, "/data", facts(), "disk full", at(2))
    note(directory, RETRAIN, 3, DRIFT)
    note_outcome(directory, "7c3f", outcome(4))
    record = the_only(directory)
    assert (record.data, record.span, record.window, record.champion) == ("/data", 5, (3, 4, 5), 2)
    assert [(each.time, each.decision) for each in record.decisions] == [
        ("2026-03-01T12:00:00+00:00", WAIT),
        ("2026-03-01T13:00:00+00:00", RETRAIN),
    ]
    assert (record.drift, record.measured) == (DRIFT, "2026-03-01T13:00:00+00:00")
    assert record.started == ("2026-03-01T13:00:00+00:00", "2026-03-01T15:00:00+00:00")
    assert [(failure.time, failure.reason) for failure in record.failures] == [
        ("2026-03-01T14:00:00+00:00", "disk full")
    ]
    assert (record.ended, record.outcome) == ("2026-03-01T16:00:00+00:00", outcome(4))
    assert record.time == "2026-03-01T12:00:00+00:00"


def test_repeats_leave_no_second_trace(directory: epath.Path) -> None:
    for hours in range(5):
        note(directory, WAIT, hours)
    assert len(the_only(directory).decisions) == 1
    for hours in range(5, 10):  # killed and started again, four times
        note(directory, RETRAIN, hours, DRIFT)
    assert the_only(directory).started == ("2026-03-01T17:00:00+00:00",)
    note_outcome(directory, "7c3f", outcome(10))
    told = (directory / "7c3f.json").read_bytes()
    note_outcome(directory, "7c3f", outcome(11))
    note_decision(directory, "/data", facts(), None, WAIT, at(12))
    note_failure(directory, "/data", facts(), "too late", at(13))
    assert (directory / "7c3f.json").read_bytes() == told


def test_decisions_that_alternate_are_all_told(directory: epath.Path) -> None:
    for hours, decision in enumerate((WAIT, Decision(action="measure", reasons=()), WAIT)):
        note(directory, decision, hours)
    assert [each.decision.action for each in the_only(directory).decisions] == ["wait", "measure", "wait"]


def test_a_candidate_is_judged_anew_when_asked_for(directory: epath.Path) -> None:
    """With another gate, or after a roll-back: the account must not contradict what is served."""
    note(directory, RETRAIN, 0)
    note_outcome(directory, "7c3f", outcome(1, blessed=False, version=None, reasons=("worse",)))
    asked = Decision(action="retrain", reasons=("asked for",))
    note(directory, asked, 2, champion=1)
    record = the_only(directory)
    assert record.begun == timestamp(at(2)) and record.champion == 1
    note_outcome(directory, "7c3f", outcome(3, version=4))
    record = the_only(directory)
    assert [each.version for each in record.outcomes] == [None, 4]
    assert record.outcome == record.outcomes[-1] and record.begun == ""
    note(directory, asked, 4)
    note_outcome(directory, "7c3f", outcome(5, version=4))  # as before: nothing had changed
    record = the_only(directory)
    assert len(record.outcomes) == 2 and record.ended == timestamp(at(5)) and record.begun == ""


def test_drift_stays_with_the_champion_that_it_was_measured_with(directory: epath.Path) -> None:
    note(directory, WAIT, 0, DRIFT)
    note(directory, RETRAIN, 1, champion=4, new_clips=10)
    record = the_only(directory)
    assert (record.champion, record.new_clips, record.measured) == (2, 90, timestamp(at(0)))
    note(directory, RETRAIN, 2, DRIFT, champion=4, new_clips=10)
    record = the_only(directory)
    assert (record.champion, record.new_clips, record.measured) == (4, 10, timestamp(at(2)))


def test_a_kill_between_leaves_the_former_record(directory: epath.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    note(directory, RETRAIN, 0)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for method in ("write_bytes", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(type(directory), method, killed)
            with pytest.raises(KeyboardInterrupt):
                note_outcome(directory, "7c3f", outcome(1))
        [record] = read_history(directory)  # whatever else lies about
        assert record.outcome is None
    # Started again it finds a run that has not ended, does the same, and tells of it once.
    known = gathered(directory, at(2))
    decision = decide(RetrainConfig(), known, None)
    assert decision.reasons == (f"a run for this began at {timestamp(at(0))} and did not end",)
    note_decision(directory, "/data", known, None, decision, at(2))
    note_outcome(directory, "7c3f", outcome(3))
    [record] = read_history(directory)
    assert (len(record.started), len(record.outcomes)) == (1, 1)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "EOF while parsing"),
        (b"\xff\xfe\x00", "expected value"),
        (b'{"candidate": "7c3f"}', "data: missing"),
        (b'{"candidate": "7c3f", "when": 1}', "when: unknown key"),
        (None, "started.0: "),
    ],
)
def test_a_damaged_record_is_named(directory: epath.Path, content: bytes | None, words: str) -> None:
    note(directory, RETRAIN, 0)
    path = directory / "7c3f.json"
    if content is None:
        content = path.read_bytes().replace(b'"started": [\n    "2026-03-01T', b'"started": [\n    "2026-99-01T')
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"history/7c3f\.json: damaged: ") as error:
        read_history(directory)
    assert words in str(error.value)


def test_a_bit_anywhere_in_a_record_changes_no_answer(directory: epath.Path) -> None:
    note(directory, RETRAIN, 0, DRIFT)
    note_outcome(directory, "7c3f", outcome(3))
    path, known = directory / "7c3f.json", read_history(directory)
    whole = path.read_bytes()
    for at in range(len(whole)):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 7]) + whole[at + 1 :])
        try:
            assert read_history(directory) == known
        except UserError as error:
            assert str(path) in str(error)
    for length in range(0, len(whole) - 1, 7):
        path.write_bytes(whole[:length])
        with pytest.raises(UserError, match=r"history/7c3f\.json: damaged"):
            read_history(directory)


def test_records_come_the_oldest_first(directory: epath.Path) -> None:
    for hours, candidate in ((3, "aaaa"), (1, "cccc"), (2, "bbbb")):
        note(directory, WAIT, hours, candidate=candidate)
    assert [record.candidate for record in read_history(directory)] == ["cccc", "bbbb", "aaaa"]


def test_facts_of_a_candidate_that_is_new(directory: epath.Path) -> None:
    known = gathered(directory, NOON)
    assert known == Facts(
        candidate="7c3f",
        span=5,
        window=(3, 4, 5),
        champion=2,
        champion_spans=(2, 3),
        new_clips=90,
    )
    assert gathered(directory, NOON, champion=None, champion_spans=()).new_clips == 190


def test_facts_of_what_happened(directory: epath.Path) -> None:
    note(directory, RETRAIN, -20, candidate="aaaa")  # the day before
    note_outcome(directory, "aaaa", outcome(-19, version=2))
    note(directory, RETRAIN, -3)
    note_failure(directory, "/data", facts(), "disk full", at(-2))
    known = gathered(directory, NOON)
    assert (known.champion_hours, known.hours_since_run) == (19.0, 3.0)
    assert (known.begun, known.failures, known.judged) == ("", ("disk full",), "")
    note(directory, RETRAIN, -1)
    known = gathered(directory, NOON)
    assert (known.begun, known.hours_since_run) == (timestamp(at(-1)), 1.0)
    note_outcome(directory, "7c3f", outcome(0, version=3))
    known = gathered(directory, at(1), champion=3)
    assert (known.judged, known.begun, known.champion_hours) == ("pushed as version 3", "", 1.0)
    assert gathered(directory, at(1), withdrawn=3).judged == "it is version 3, which was rolled back"
    assert gathered(directory, at(13), champion=9).champion_hours is None  # no record names it


def test_hours_are_the_same_in_every_time_zone(directory: epath.Path) -> None:
    from zoneinfo import ZoneInfo

    note(directory, RETRAIN, 0)
    for zone in ("Asia/Tokyo", "America/Los_Angeles"):
        known = gathered(directory, at(11.5).astimezone(ZoneInfo(zone)))
        assert known.hours_since_run == 11.5


def test_a_clock_that_was_set_back_is_noticed(directory: epath.Path) -> None:
    note(directory, RETRAIN, 0)
    assert gathered(directory, NOON - timedelta(minutes=4)).hours_since_run == 0.0
    with pytest.raises(UserError, match=r"later than now.*the clock was set back.*7c3f\.json"):
        gathered(directory, NOON - timedelta(minutes=6))


def verdict(candidate: np.ndarray, champion: tuple[str, np.ndarray] | None = None) -> Verdict:
    answers = ScoredClips(("a", "b", "c", "d"), np.array([0, 1, 0, 1]), candidate, champion, span=1)
    return judge(GateConfig(), ("folk", "rock"), answers, answers, latency_ms=1.0, megabytes=1.0)


def test_an_outcome_tells_what_the_verdict_said() -> None:
    truth = np.array([0, 1, 0, 1])
    right, wrong = np.eye(2)[truth], np.eye(2)[1 - truth]
    blessed = outcome_of(verdict(right, ("2", wrong)), 3, None, "version 2", NOON)
    assert (blessed.time, blessed.version, blessed.champion) == ("2026-03-01T12:00:00+00:00", 3, 2)
    assert (blessed.accuracy, blessed.golden_accuracy, blessed.started_from) == (1.0, 1.0, "version 2")
    assert outcome_in_words(blessed) == "pushed as version 3"
    refused = outcome_of(verdict(wrong), None, None, "", NOON)
    assert outcome_in_words(refused).startswith("refused: accuracy 0.00 on 4 test clips")
    again = outcome_of(verdict(right), None, 3, "", NOON)
    assert outcome_in_words(again) == "not pushed, because it is version 3, which was rolled back"
    assert outcome_in_words(again.model_copy(update={"rolled_back": None})) == "accepted, but not pushed"


def test_an_outcome_tells_the_accuracy_on_the_golden_set_if_there_is_one() -> None:
    truth = np.array([0, 1, 0, 1])
    test = ScoredClips(("a", "b", "c", "d"), truth, np.eye(2)[truth], span=5)
    golden = ScoredClips(("e", "f"), truth[:2], np.eye(2)[[0, 0]], split="golden", span=1)

    def told(golden: ScoredClips | None) -> Outcome:
        judged = judge(GateConfig(), ("folk", "rock"), test, golden, latency_ms=1.0, megabytes=1.0)
        return outcome_of(judged, 3, None, "", NOON)

    outcome = told(golden)
    assert (outcome.accuracy, outcome.golden_accuracy, outcome.golden_clips, outcome.golden_span) == (1.0, 0.5, 2, 1)
    assert outcome.golden_interval == wilson_interval(1, 2)
    assert (told(test).golden_accuracy, told(test).golden_span) == (1.0, 5)
    assert (told(None).golden_accuracy, told(None).golden_interval, told(None).golden_clips) == (None, None, 0)


def test_what_became_of_a_candidate_is_a_sentence(directory: epath.Path) -> None:
    def told() -> str:
        return in_words(the_only(directory))

    note(directory, WAIT, 0)
    assert told() == "not trained on spans 3 to 5: too few clips"
    note(directory, RETRAIN, 1)
    assert told() == f"training on spans 3 to 5 began at {timestamp(at(1))}, and has not ended"
    note_failure(directory, "/data", facts(), "disk full", at(2))
    assert told() == "training on spans 3 to 5 failed: disk full"
    note(directory, RETRAIN, 3)
    assert told() == f"training on spans 3 to 5 began at {timestamp(at(3))}, and has not ended"
    note_outcome(directory, "7c3f", outcome(4, version=None, blessed=False))
    assert told() == "trained on spans 3 to 5: refused: better"


def test_times_are_whole_seconds_of_utc() -> None:
    from zoneinfo import ZoneInfo

    moment = datetime(2026, 3, 1, 13, 0, 0, 999_999, tzinfo=ZoneInfo("Europe/Berlin"))
    assert timestamp(moment) == "2026-03-01T12:00:00+00:00"
