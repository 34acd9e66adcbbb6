"""A year of music, a span a month, in minutes: what the loop does of itself when the stream changes or breaks.

Twelve spans of the demo library, with a window of three. Nothing here says when to retrain: the loop is asked once per
span, as `genre watch` would, and these tests read what it did and why from its own account.
"""

import itertools
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ml_metadata.metadata_store.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2
from scipy.stats import binomtest

pytestmark = pytest.mark.long

FEW, MANY = 5, 14
"""Artists per genre."""
HALF = ("Electronic", "Hip-Hop", "Pop", "Rock")
"""Genres of the later mixture."""
MIXTURE = {
    genre: 9 if genre in HALF else 1 for genre in (*HALF, "Experimental", "Folk", "Instrumental", "International")
}
YEAR: dict[int, dict[str, Any]] = {
    1: {"artists": dict.fromkeys(MIXTURE, MANY)},
    2: {},
    3: {},
    4: {},
    5: {"recording": "cassette"},
    6: {"recording": "cassette"},
    7: {"recording": "cassette"},
    8: {"recording": "cassette", "artists": MIXTURE},
    9: {"recording": "cassette", "artists": MIXTURE},  # one of its files is damaged on the disk
    10: {"recording": "cassette", "shuffled": True, "artists": dict.fromkeys(MIXTURE, MANY)},
    11: {"recording": "cassette"},
    12: {"recording": "cassette"},
}
QUIET = (2, 3, 6, 7)
"""Spans that are like what the champion was trained on: nothing is to be done."""
ENOUGH = 4
"""By now so many clips are new to the champion that no drift is needed."""
CHANGED = (5, 8)
"""Spans that are unlike those before them, to the ear."""
CORRUPT, POISONED = 9, 10
"""The latter's labels alone are wrong: it sounds as before."""


@pytest.fixture(scope="module")
def year(new_loop: Callable[..., Any]) -> Any:
    """The loop after the year; `said` has what it said of each span, `at` what was served after it."""
    loop = new_loop(retrain={"min_new_clips": 70})
    loop.said, loop.at = {}, {}
    for span, what in YEAR.items():
        loop.deliver(span, **what)
        if span == CORRUPT:
            part = next((loop.data / f"span-{span}" / "train").glob("part-*"))
            content = bytearray(part.read_bytes())
            content[len(content) // 2] ^= 0xFF
            part.write_bytes(content)
        code, said = loop.retrain()
        assert code == (1 if span == CORRUPT else 0), said
        loop.said[span], loop.at[span] = said, loop.served()
    return loop


def account(year: Any, span: int) -> dict[str, Any]:
    """The record of the one candidate whose newest span this is."""
    (record,) = (record for record in year.history() if record["span"] == span)
    return record


def decision(year: Any, span: int) -> tuple[str, str]:
    """What was decided at last, and why."""
    last = account(year, span)["decisions"][-1]["decision"]
    return last["action"], "; ".join(last["reasons"])


def test_it_retrains_when_it_should(year: Any) -> None:
    assert decision(year, 1) == ("retrain", "no model is served yet")
    assert decision(year, ENOUGH) == (
        "retrain",
        "72 training clips are new to version 1, at least retrain.min_new_clips 70",
    )
    for span in CHANGED:
        action, why = decision(year, span)
        assert action == "retrain" and "descriptors: differs" in why


def test_it_stays_quiet_when_it_should(year: Any) -> None:
    for span in QUIET:
        action, why = decision(year, span)
        assert action == "wait" and "fewer than retrain.min_new_clips" in why and "no drift" in why
        assert account(year, span)["outcomes"] == account(year, span)["started"] == []
    trained = {record["span"] for record in year.history() if record["started"]}
    assert trained == set(YEAR) - set(QUIET) - {CORRUPT}


def test_drift_is_noticed_at_once_and_nothing_else_is(year: Any, record_testsuite_property: Any) -> None:
    reports = {record["span"]: record["drift"] for record in year.history() if record["drift"]}
    measured = {span: report["drifted"] for span, report in reports.items() if report["p_value"] is not None}
    like_before = [span for span in measured if span < CHANGED[1] and span not in CHANGED]
    delays = [next(span for span in measured if span >= change and measured[span]) - change for change in CHANGED]
    alarms = [span for span in like_before if measured[span]]
    record_testsuite_property("detection delays, in spans", delays)
    record_testsuite_property("false alarms", f"{len(alarms)} of {len(like_before)} spans")
    assert delays == [0, 0]
    assert (alarms, like_before) == ([], [2, 3, 4, 6, 7])


def test_a_corrupt_span_is_told_and_left_out(year: Any) -> None:
    assert "genre: damaged TFRecord files" in year.said[CORRUPT]
    assert "Traceback" not in year.said[CORRUPT]
    assert "damaged" in account(year, CORRUPT)["failures"][0]["reason"]
    assert year.at[CORRUPT] == year.at[CORRUPT - 1]
    assert f"span {CORRUPT} is set aside" in year.said[CORRUPT + 1]
    assert [record["window"] for record in year.history() if record["span"] > CORRUPT] == [
        [7, 8, 10],
        [8, 10, 11],
        [10, 11, 12],
    ]


def test_a_model_that_learnt_wrong_labels_is_refused(year: Any) -> None:
    (outcome,) = account(year, POISONED)["outcomes"]
    assert not outcome["blessed"] and outcome["version"] is None
    assert any("significantly worse" in reason and "golden" in reason for reason in outcome["reasons"])
    assert year.at[POISONED] == year.at[POISONED - 1]


def test_the_golden_accuracy_of_what_is_served_never_falls_significantly(year: Any) -> None:
    served = sorted(set(year.at.values()))
    assert len(served) >= 3
    verdicts = [year.verdict(version) for version in served]
    golden = [verdict["golden"] or verdict for verdict in verdicts]
    assert len({each["outcomes"]["clips"] for each in golden}) == 1  # the same clips
    right = [np.array(list(each["outcomes"]["right"])) == "1" for each in golden]
    for (_, earlier), (version, later) in itertools.combinations(zip(served, right, strict=True), 2):
        lost, won = int((earlier & ~later).sum()), int((later & ~earlier).sum())
        p = binomtest(lost, lost + won, 0.5, alternative="greater").pvalue if lost + won else 1.0
        assert p >= 0.05, f"version {version} lost {lost} clips and won {won}"


def test_every_span_is_transformed_once(year: Any) -> None:
    """By ML Metadata: a window of three moves over the year, and no span is decoded or transformed again."""
    connection = metadata_store_pb2.ConnectionConfig()
    connection.sqlite.filename_uri = str(year.workspace / "metadata.sqlite")
    store = MetadataStore(connection)
    examples = {artifact.id: artifact for artifact in store.get_artifacts_by_type("Examples")}
    done = [each for each in store.get_executions() if each.last_known_state == metadata_store_pb2.Execution.COMPLETE]
    transforms = [each.id for each in done if each.type.endswith("components.nodes.transform.Transform")]
    inputs = [
        event
        for event in store.get_events_by_execution_ids(transforms)
        if event.type == metadata_store_pb2.Event.INPUT and event.artifact_id in examples
    ]
    spans = Counter(examples[event.artifact_id].properties["span"].int_value for event in inputs)
    assert spans == Counter(set(YEAR) - {CORRUPT})


def test_each_model_names_the_spans_it_was_trained_on(year: Any) -> None:
    windows = [year.lineage(version)["window"] for version in sorted(set(year.at.values()))]
    assert windows == [[1], [2, 3, 4], [3, 4, 5], [6, 7, 8]]
    for version in set(year.at.values()):
        accounts = [record for record in year.history() if year.lineage(version)["candidate"] == record["candidate"]]
        assert [outcome["version"] for record in accounts for outcome in record["outcomes"]] == [version]


def test_the_timeline_tells_the_year(year: Any) -> None:
    code, told = year.genre("history", "--config", year.config)
    assert code == 0
    for words in ("version 1", "version 3", "damaged TFRecord files", "refused", "drift"):
        assert words in told
