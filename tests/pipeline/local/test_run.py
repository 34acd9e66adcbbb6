"""What `genre run` shows of a verdict; the runs themselves are in `test_end_to_end`."""

from io import StringIO
from types import SimpleNamespace

import numpy as np
from rich.console import Console

from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from components.evaluation.results import Verdict
from pipeline.local.show import show_outcome

TRUTH = np.array([0, 1, 0, 1])
GATE = GateConfig(min_genre_recall=0.1)


def shown(verdict: Verdict) -> list[str]:
    out = StringIO()
    summary = SimpleNamespace(
        verdict=verdict, pushed=None, rolled_back=None, served=None, report="report.html", log="run.log"
    )
    show_outcome(Console(file=out, width=110, highlight=False), summary)
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
