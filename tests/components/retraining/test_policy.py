"""When to retrain: every rule, which of them comes first, and its words."""

from typing import Any

import pytest

from components.drift.report import DriftReport
from components.retraining.config import RetrainConfig
from components.retraining.policy import Decision, Facts, decide, spans_in_words

QUIET = DriftReport(
    drifted=False,
    false_alarm_rate=0.01,
    p_value=0.4,
    notes=("descriptors do not differ (p = 0.43)",),
    newest_clips=30,
    reference_clips=90,
)
NO_DRIFT = "no drift: 30 newest clips against 90 (least p = 0.4, drift from 0.005 down)"
DRIFT = DriftReport(drifted=True, false_alarm_rate=0.01, p_value=0.001, findings=("descriptors differ (p = 0.001)",))


def facts(**changes: Any) -> Facts:
    """A new span of 50 clips, while version 2 is served."""
    known: dict[str, Any] = {
        "candidate": "7c3f",
        "span": 5,
        "window": (3, 4, 5),
        "champion": 2,
        "champion_spans": (2, 3, 4),
        "champion_hours": 48.0,
        "new_clips": 50,
    }
    return Facts.model_validate(known | changes)


def policy(**changes: Any) -> RetrainConfig:
    return RetrainConfig.model_validate(changes)


CASES = {
    # rules
    "few clips, drift is not known": (policy(), facts(), None, "measure", "50 training clips are new to version 2"),
    "few clips, no drift": (policy(), facts(), QUIET, "wait", NO_DRIFT),
    "few clips, drift": (policy(), facts(), DRIFT, "retrain", "descriptors differ (p = 0.001)"),
    "drift is not looked for": (policy(on_drift=False), facts(), None, "wait", "fewer than retrain.min_new_clips 200"),
    "drift does not count": (policy(on_drift=False), facts(), DRIFT, "wait", "fewer than retrain.min_new_clips 200"),
    "enough clips": (policy(), facts(new_clips=200), None, "retrain", "at least retrain.min_new_clips 200"),
    "enough clips, no drift": (policy(), facts(new_clips=200), QUIET, "retrain", "at least retrain.min_new_clips 200"),
    "one clip too few": (policy(), facts(new_clips=199), QUIET, "wait", "fewer than retrain.min_new_clips 200"),
    "clips do not count": (policy(min_new_clips=None), facts(new_clips=10**6), QUIET, "wait", NO_DRIFT),
    "only drift counts": (policy(min_new_clips=None), facts(), None, "measure", "drift is not measured yet"),
    "old": (policy(every_days=2.0), facts(), QUIET, "retrain", "version 2 has reached the age of retrain.every_days 2"),
    "not old": (policy(every_days=2.5), facts(), QUIET, "wait", "has not reached the age of retrain.every_days 2.5"),
    "of unknown age": (policy(every_days=9.0), facts(champion_hours=None), QUIET, "retrain", "is not known"),
    "not tested": (
        policy(),
        facts(),
        DriftReport(drifted=False, false_alarm_rate=0.01, p_value=None, notes=("5 groups are too few",)),
        "wait",
        "5 groups are too few",
    ),
    "new genre": (policy(), facts(new_genres=("folk",)), QUIET, "retrain", "version 2 does not know folk: a new model"),
    "no rule": (policy(on_drift=False, min_new_clips=None), facts(), QUIET, "wait", "no rule of retrain is set"),
    "first model": (policy(), facts(champion=None, champion_spans=()), None, "retrain", "no model is served yet"),
    "nothing new": (policy(), facts(window=(3, 4)), DRIFT, "wait", "version 2 was trained on spans 3, 4: there is"),
    "unknown spans": (policy(), facts(champion_spans=(), new_clips=300), None, "retrain", "300 training clips"),
    # their order
    "never": (policy(when="never"), facts(champion=None), DRIFT, "wait", "retrain.when is never"),
    "asked": (
        policy(when="never", cooldown_hours=6.0),
        facts(asked=True, judged="refused: x", hours_since_run=0.0),
        None,
        "retrain",
        "asked for",
    ),
    "now": (policy(when="now", cooldown_hours=6.0), facts(hours_since_run=0.0), None, "retrain", "retrain.when is now"),
    "now, judged": (policy(when="now"), facts(judged="refused: x"), None, "wait", "judged before: refused: x"),
    "judged": (policy(), facts(judged="refused: x", begun="t"), DRIFT, "wait", "judged before: refused: x"),
    "given up": (policy(), facts(failures=("a", "b", "c"), begun="t"), DRIFT, "wait", "after 3 failures, the last: c."),
    "begun": (
        policy(cooldown_hours=6.0),
        facts(begun="t", hours_since_run=0.0),
        QUIET,
        "retrain",
        "began at t and did not end",
    ),
    "another try": (policy(), facts(failures=("a", "b")), DRIFT, "retrain", "attempt 3 of 3: b"),
    "first model, tries": (policy(), facts(champion=None, failures=("a",)), None, "retrain", "attempt 2 of 3: a"),
    # limits
    "cooldown": (policy(cooldown_hours=6.0), facts(hours_since_run=5.9), DRIFT, "wait", "retrain.cooldown_hours 6"),
    "cooled down": (policy(cooldown_hours=6.0), facts(hours_since_run=6.0), DRIFT, "retrain", "descriptors differ"),
    "never ran": (policy(cooldown_hours=6.0), facts(), DRIFT, "retrain", "descriptors differ"),
    "first model, cooldown": (policy(cooldown_hours=6.0), facts(champion=None, hours_since_run=1.0), None, "wait", "6"),
    "tries, cooldown": (
        policy(cooldown_hours=6.0),
        facts(failures=("a",), hours_since_run=1.0),
        DRIFT,
        "wait",
        "2 of 3",
    ),
    "cooldown, no cause": (policy(cooldown_hours=6.0), facts(hours_since_run=1.0), None, "measure", "drift is not"),
}


@pytest.mark.parametrize("case", CASES)
def test_decisions(case: str) -> None:
    rules, known, drift, action, words = CASES[case]
    decision = decide(rules, known, drift)
    assert decision.action == action
    assert words in "; ".join(decision.reasons)


def test_every_reason_is_told() -> None:
    rules = policy(every_days=1.0)
    decision = decide(rules, facts(new_clips=200, new_genres=("folk", "jazz")), DRIFT)
    assert decision.reasons == (
        "version 2 does not know folk, jazz: a new model line begins",
        "200 training clips are new to version 2, at least retrain.min_new_clips 200",
        "version 2 has reached the age of retrain.every_days 1",
        "descriptors differ (p = 0.001)",
    )
    assert len(decide(policy(every_days=3.0), facts(), QUIET).reasons) == 3


def test_it_is_known_when_waiting_ends() -> None:
    def hours(rules: RetrainConfig, **changes: Any) -> float | None:
        decision = decide(rules, facts(**changes), DRIFT if "hours_since_run" in changes else QUIET)
        assert decision.action == "wait"
        return decision.again_hours

    assert hours(policy()) is None
    assert hours(policy(every_days=3.0)) == 24.0
    assert hours(policy(cooldown_hours=6.0), hours_since_run=2.0) == 4.0
    assert hours(policy(when="never")) is None


def test_the_words_stay_the_same_while_the_clock_runs() -> None:
    """Else a history that is written at every change of them would grow with every poll."""
    rules = policy(every_days=3.0, cooldown_hours=20.0)

    def decided(hours: float, drift: DriftReport) -> Decision:
        return decide(rules, facts(champion_hours=hours, hours_since_run=hours), drift)

    for drift in (QUIET, DRIFT):
        early, late = decided(1.0, drift), decided(19.0, drift)
        assert early.reasons == late.reasons
        assert early.again_hours == late.again_hours + 18.0


def test_spans_in_words() -> None:
    spans = [(3,), (3, 4), (3, 4, 5), (3, 5, 6)]
    assert [spans_in_words(each) for each in spans] == ["span 3", "spans 3, 4", "spans 3 to 5", "spans 3, 5, 6"]
