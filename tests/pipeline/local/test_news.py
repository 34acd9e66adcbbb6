"""What a run tells: what is new in it, and nothing that came from the cache."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from components.drift.report import DriftReport
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from pipeline.local.news import news
from pipeline.local.summary import ModelSummary, NodeSummary

TRUTH = np.array([0, 1, 0, 1])
DRIFT = DriftReport(drifted=True, false_alarm_rate=0.01, p_value=0.001, findings=("It is louder.",))
PUSHED = ModelSummary(version=3, path="/w/models/3")


def verdict(accuracy: float) -> Any:
    clips = ScoredClips(["1", "2", "3", "4"], TRUTH, np.eye(2)[TRUTH], span=4)
    return judge(GateConfig(min_accuracy=accuracy), ("folk", "rock"), clips, clips, latency_ms=1.0, megabytes=1.0)


def told(cached: tuple[str, ...] = (), **outcome: Any) -> list[tuple[str, Any]]:
    nodes = {
        name: NodeSummary(state="done", cached=name in cached, seconds=1.0)
        for name in ("DriftDetector", "GateEvaluator")
    }
    usual = {"drift": None, "verdict": None, "pushed": None, "newly_pushed": True}
    usual |= {"set_aside": (), "error": None, "accuracy": 0.5}
    about = {"run_id": "r", "report": "/w/report.html", "log": "/w/run.log", "dataset": SimpleNamespace(span=4)}
    summary = SimpleNamespace(nodes=nodes, **usual | about | outcome)
    messages = list(news(summary, "/w"))
    assert all(each.report == "file:///w/report.html" and each.log == "file:///w/run.log" for each in messages)
    return [(each.event, each.version if each.event == "pushed" else each.span) for each in messages]


@pytest.mark.parametrize(
    ("cached", "outcome", "expected"),
    [
        ((), {"verdict": verdict(0.5), "pushed": PUSHED}, [("pushed", 3)]),
        ((), {"verdict": verdict(0.5), "pushed": PUSHED, "newly_pushed": False}, []),
        ((), {"drift": DRIFT, "verdict": verdict(0.5), "pushed": PUSHED}, [("drifted", 4), ("pushed", 3)]),
        (("DriftDetector",), {"drift": DRIFT}, []),
        ((), {"drift": DRIFT.model_copy(update={"drifted": False})}, []),
        ((), {"error": "no space", "set_aside": (2,)}, [("set aside", 2), ("failed", 4)]),
        ((), {}, []),
    ],
)
def test_what_is_new_is_told(cached, outcome, expected):
    assert told(cached, **outcome) == expected


def test_a_refusal_is_told_once():
    refused = verdict(0.5).model_copy(update={"blessed": False, "reasons": ("It is worse.",)})
    assert told(verdict=refused) == [("refused", 4)]
    assert told(("GateEvaluator",), verdict=refused) == []
