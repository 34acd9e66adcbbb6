"""What `genre run` shows of a verdict; the runs themselves are in `test_end_to_end`."""

from io import StringIO
from types import SimpleNamespace
from typing import Any

import numpy as np

from components.drift.report import DriftReport, not_tested
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from components.evaluation.results import Verdict
from pipeline.local.show import show_outcome
from pipeline.local.summary import ModelSummary, NodeSummary
from pipeline.output import plain_console

TRUTH = np.array([0, 1, 0, 1])
GATE = GateConfig(min_genre_recall=0.1)


def shown(verdict: Verdict, drift: DriftReport | None = None, width: int = 110, **outcome: Any) -> list[str]:
    out = StringIO()
    known = {
        "model": None,
        "pushed": None,
        "rolled_back": None,
        "served": None,
        "report": "report.html",
        "log": "run.log",
    }
    summary = SimpleNamespace(verdict=verdict, drift=drift, **(known | outcome))
    show_outcome(plain_console(out, width), summary)
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_both_sets_stand_side_by_side_and_every_check_is_listed() -> None:
    test = ScoredClips(["1", "2", "3", "4"], TRUTH, np.eye(2)[TRUTH], span=4)
    golden = ScoredClips(["5", "6", "7", "8"], TRUTH, np.eye(2)[[0, 1, 0, 0]], split="golden", span=1)
    verdict = judge(GATE, ("folk", "rock"), test, golden, latency_ms=12.5, megabytes=3.25)
    lines = shown(verdict)
    assert lines[1].startswith("accuracy 100.0% on 4 test clips of span 4")
    assert lines[2].startswith("accuracy 75.0% on 4 golden clips of span 1")
    [row] = [line.split() for line in lines if line.startswith("rock")]
    assert row == ["rock", "1.00", "1.00", "1.00", "2", "1.00", "0.50", "0.67", "2"]
    assert all(any(check.text in line for line in lines) for check in verdict.checks)
    assert "  no champion to compare with: judged by the floors alone" in lines
    assert not any("recall floors are met" in line for line in lines), "each of them is listed"


def test_a_set_alone_needs_no_name_over_its_columns() -> None:
    test = ScoredClips(["1", "2", "3", "4"], TRUTH, np.eye(2)[TRUTH])
    lines = shown(judge(GATE, ("folk", "rock"), test, test, latency_ms=12.5, megabytes=3.25))
    assert "genre  precision  recall    F1  clips" in lines


def test_how_the_members_of_an_ensemble_count_is_shown() -> None:
    test = ScoredClips(["1", "2", "3", "4"], TRUTH, np.eye(2)[TRUTH])
    verdict = judge(GATE, ("folk", "rock"), test, test, latency_ms=12.5, megabytes=3.25)
    assert shown(verdict, model="Mean of knn 100%.")[1] == "model: Mean of knn 100%."
    assert not any(line.startswith("model:") for line in shown(verdict))


def test_drift_is_shown_with_every_family_and_a_genre_without_clips_as_a_dash() -> None:
    test = ScoredClips(["1", "2"], TRUTH[:1].repeat(2), np.eye(2)[[0, 0]])
    verdict = judge(GATE, ("folk", "rock"), test, test, latency_ms=12.5, megabytes=3.25)
    drift = DriftReport(
        drifted=True,
        false_alarm_rate=0.01,
        p_value=0.001,
        p_values={"descriptors": 0.001, "audio health": 0.3},
        findings=("descriptors: differs (p = 0.001): onsets per second +1.2 sd",),
        notes=("audio health: does not differ (p = 0.3): rms dbfs +0.1 sd", "genre: does not differ (L-infinity)"),
        newest_clips=20,
        reference_clips=30,
    )
    ran = {"DriftDetector": NodeSummary(state="done", cached=False, seconds=1.0)}
    lines = shown(verdict, drift)
    assert lines[1] == "drift: 20 newest clips against 30 that the champion was measured on"
    assert lines[2:4] == [drift.findings[0], drift.notes[0]]
    assert next(line.split() for line in lines if line.startswith("rock")) == ["rock", "–", "–", "–", "0"]
    untested = not_tested("there is nothing to compare with", 0.01)
    assert shown(verdict, untested, nodes=ran)[1].endswith("nothing to compare with")
    cached = {"DriftDetector": NodeSummary(state="cached", cached=True, seconds=0.0)}
    assert not any("drift" in line for line in shown(verdict, untested, nodes=cached))


def test_on_a_narrow_terminal_the_sets_stand_below_each_other_with_all_their_figures() -> None:
    test = ScoredClips(["1", "2", "3", "4"], TRUTH, np.eye(2)[TRUTH], span=4)
    golden = ScoredClips(["5", "6", "7", "8"], TRUTH, np.eye(2)[[0, 1, 0, 0]], split="golden", span=1)
    lines = shown(judge(GATE, ("folk", "rock"), test, golden, latency_ms=12.5, megabytes=3.25), width=40)
    rows = [line.split() for line in lines if line.startswith("rock")]
    assert rows == [["rock", "1.00", "1.00", "1.00", "2"], ["rock", "1.00", "0.50", "0.67", "2"]]


def test_what_became_of_the_candidate() -> None:
    test = ScoredClips(["1", "2", "3", "4"], TRUTH, np.eye(2)[TRUTH])
    verdict = judge(GATE, ("folk", "rock"), test, test, latency_ms=12.5, megabytes=3.25)
    first, second = (ModelSummary(version=number, path=f"/models/{number}") for number in (1, 2))

    def told(new: bool = False, **outcome: Any) -> str:
        return shown(verdict, newly_pushed=new, **outcome)[-3]

    assert told(True, pushed=first, served=first) == "pushed as version 1: /models/1"
    assert told(pushed=first, served=first) == "nothing to do: version 1 stays served"
    assert told(pushed=first, served=second) == ("nothing to do: this candidate is version 1; version 2 stays served")
    assert told(served=first) == "not pushed; version 1 stays served"
