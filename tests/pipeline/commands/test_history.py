"""`genre history` and `genre why`, on a workspace as the loop leaves it; neither looks into a model."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from etils import epath

from components.base.errors import UserError
from components.drift.report import DriftReport
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from components.retraining.history import note_decision, note_failure, note_outcome, outcome_of
from components.retraining.policy import Decision, Facts
from components.store.model_store import Lineage, current_version, prune, publish, roll_back
from pipeline.cli import cli

START = datetime(2026, 3, 1, 6, 0, 0, tzinfo=UTC)
DRIFT = DriftReport(drifted=True, false_alarm_rate=0.01, p_value=0.001, findings=("embeddings differ (p = 0.001)",))
GENRES = ("folk", "rock")
FIRST, REFUSED, WAITING, SECOND = "7c3f1111", "7c3f2222", "abcd3333", "ef014444"


def genre(workspace: Path, *words: str) -> Result:
    done = CliRunner().invoke(cli, [*words, "--workspace", str(workspace)])
    if isinstance(done.exception, UserError):
        raise done.exception
    return done


def told(workspace: Path, *words: str) -> list[str]:
    done = genre(workspace, *words)
    assert done.exit_code == 0, done.output
    return done.output.splitlines()


@pytest.fixture(scope="module")
def year(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four spans: the first model, one that is refused, a quiet one, and after drift one that fails once."""
    root = tmp_path_factory.mktemp("year")
    history, store, source = (epath.Path(root / name) for name in ("history", "models", "source"))
    source.mkdir()
    (source / "saved_model.pb").write_bytes(b"graph")
    truth = np.array([0, 1, 0, 1])
    right, wrong = np.eye(2)[truth], np.eye(2)[1 - truth]

    def facts(candidate: str, span: int) -> Facts:
        window = tuple(range(max(1, span - 2), span + 1))
        return Facts(candidate=candidate, span=span, window=window, champion=1 if span > 1 else None, new_clips=90)

    def decide(candidate: str, span: int, action: str, *reasons: str, drift: DriftReport | None = None) -> datetime:
        now = START + timedelta(days=30 * span)
        note_decision(history, "/data", facts(candidate, span), drift, Decision(action=action, reasons=reasons), now)
        return now + timedelta(hours=1)

    def end(candidate: str, span: int, said: np.ndarray, now: datetime) -> None:
        test = ScoredClips(["1", "2", "3", "4"], truth, said, None if span == 1 else ("1", right), span=span)
        golden = test if span == 1 else ScoredClips(["5", "6"], truth[:2], said[:2], split="golden", span=1)
        verdict = judge(GateConfig(), GENRES, test, golden, latency_ms=1.0, megabytes=1.0)
        version = None
        if verdict.blessed:
            origin = facts(candidate, span).model_dump(include={"candidate", "span", "window"})
            known = {"parent": None if span == 1 else 1, "golden": 1, "code": "c0de", "config": "c0f1"}
            version = publish(store, source, Lineage(data="/data", **origin, **known), verdict)
        note_outcome(
            history, candidate, outcome_of(verdict, version, None, "the champion's weights" if span > 1 else "", now)
        )

    end(FIRST, 1, right, decide(FIRST, 1, "retrain", "no model is served yet"))
    end(REFUSED, 2, wrong, decide(REFUSED, 2, "retrain", "300 new clips"))
    decide(WAITING, 3, "wait", "90 new clips are too few")
    decide(SECOND, 4, "measure", "90 new clips are too few")
    failed = decide(SECOND, 4, "retrain", *DRIFT.findings, drift=DRIFT)
    note_failure(history, "/data", facts(SECOND, 4), "Trainer failed:\nno space", failed)
    end(SECOND, 4, right, decide(SECOND, 4, "retrain", *DRIFT.findings, "attempt 2 of 3: no space", drift=DRIFT))
    roll_back(store, reason="calls jazz rock")
    return root


def test_the_history_is_a_line_for_every_event(year: Path) -> None:
    lines = told(year, "history")
    assert [tuple(line.split()[1:4]) for line in lines] == [
        ("span", "span", "1"),
        ("run", "span", "1"),
        ("promotion", "span", "1"),
        ("span", "span", "2"),
        ("run", "span", "2"),
        ("refusal", "span", "2"),
        ("span", "span", "3"),
        ("wait", "span", "3"),
        ("span", "span", "4"),
        ("measure", "span", "4"),
        ("drift", "span", "4"),
        ("run", "span", "4"),
        ("run", "span", "4"),
        ("failure", "span", "4"),
        ("promotion", "span", "4"),
        ("roll-back", "span", "4"),
    ]
    assert lines[5].startswith("2026-04-30T07:00:00+00:00  refusal    span 2  refused: accuracy 0.00 on 4 test clips")
    assert lines[13].endswith("Trainer failed: no space")
    assert lines[-1].endswith("version 2 was rolled back: calls jazz rock; version 1 took its place")


def test_the_history_for_a_program_is_whole(year: Path) -> None:
    whole = json.loads(genre(year, "history", "--json").output)
    assert whole["served"] == 1
    assert len(whole["events"]) == len(told(year, "history"))
    records = {record["candidate"]: record for record in whole["records"]}
    assert set(records) == {FIRST, REFUSED, WAITING, SECOND}
    assert records[SECOND]["failures"][0]["reason"] == "Trainer failed:\nno space"
    assert records[SECOND]["outcomes"][0]["golden_accuracy"] == 1.0


def test_the_history_as_a_page(year: Path, tmp_path: Path) -> None:
    page = tmp_path / "new" / "page.html"
    assert told(year, "history", "--html", str(page)) == [f"page: {page}"]
    html = page.read_text()
    assert "Version 1 is served." in html and "calls jazz rock" in html and "<svg" in html
    both = genre(year, "history", "--html", str(page), "--json").output
    assert json.loads(both)["served"] == 1
    with pytest.raises(UserError, match=r"page\.html/below\.html: the page cannot be written there"):
        genre(year, "history", "--html", str(page / "below.html"))


def test_before_anything_happened(tmp_path: Path) -> None:
    root = tmp_path / "none"
    for how in ((), ("--json",), ("--html", str(tmp_path / "page.html"))):
        with pytest.raises(UserError, match="none: nothing has happened yet"):
            genre(root, "history", *how)
    as_json = CliRunner().invoke(cli, ["history", "--json", "--workspace", str(root)]).output
    assert json.loads(as_json) == {"served": None, "events": [], "records": []}
    assert "Nothing has happened yet." in (tmp_path / "page.html").read_text()
    with pytest.raises(UserError, match="no model has been pushed yet"):
        genre(root, "why")
    with pytest.raises(UserError, match="there is no candidate 7c3f"):
        genre(root, "why", "--candidate", "7c3f")


def test_why_a_version_tells_all_that_led_to_it(year: Path) -> None:
    lines = told(year, "why", "2")
    assert lines[0].startswith("version 2 was rolled back at ")
    assert lines[1] == f"trained on spans 2 to 4 of /data; judged against version 1; candidate {SECOND}"
    assert lines[2] == "code c0de, configuration c0f1, golden set of span 1"
    assert lines[3] == "start of training: the champion's weights"
    assert [line.split()[1] for line in lines[4:10]] == ["span", "measure", "drift", "run", "run", "failure"]
    assert lines[6].endswith("embeddings differ (p = 0.001)")
    assert lines[10].startswith("accuracy 100.0% on 4 test clips of span 4")
    assert lines[11].startswith("accuracy 100.0% on 2 golden clips of span 1")
    assert any(line.startswith("  ok   not significantly worse than version 1") for line in lines)
    assert told(year, "why", "--candidate", "ef01") == lines


def test_why_a_candidate_was_not_pushed(year: Path) -> None:
    lines = told(year, "why", "--candidate", REFUSED[:5])
    assert lines[0].startswith(
        f"candidate {REFUSED} was never pushed: trained on spans 1, 2: refused: accuracy 0.00 on 4 test clips"
    )
    assert [line.split()[1] for line in lines[3:]] == ["span", "run", "refusal"]
    assert told(year, "why", "--candidate", WAITING)[:2] == [
        f"candidate {WAITING} was never pushed: not trained on spans 1 to 3: 90 new clips are too few",
        "of /data",
    ]


def test_a_candidate_must_be_named_well(year: Path) -> None:
    with pytest.raises(UserError, match=f"2 candidates begin with 7c3f: {FIRST}, {REFUSED}. Give more digits"):
        genre(year, "why", "--candidate", "7c3f")
    with pytest.raises(UserError, match="there is no candidate 99999"):
        genre(year, "why", "--candidate", "99999")
    for words in (("why", "--candidate", "7c3"), ("why", "--candidate", "7C3F"), ("why", "1", "--candidate", "7c3f1")):
        assert genre(year, *words).exit_code == 2


def test_why_of_a_version_whose_files_were_removed(year: Path, tmp_path: Path) -> None:
    import shutil

    root = tmp_path / "later"
    shutil.copytree(year, root)
    store = epath.Path(root / "models")
    for candidate in ("aaaa5555", "bbbb6666"):
        lineage = Lineage(candidate=candidate, parent=current_version(store), data="/data", span=5, window=(5,))
        publish(store, epath.Path(root / "source"), lineage)
    assert prune(store, 2) == [1, 2]
    lines = told(root, "why", "2")
    assert lines[0].endswith("calls jazz rock; its files were removed since")
    assert lines[1] == f"trained on spans 2 to 4 of /data; judged against version 1; candidate {SECOND}"
    assert "pushed as version 2" in lines[-1] and "not significantly worse than version 1" in lines[-1]
    for path in (root / "history").iterdir():
        path.unlink()
    assert told(root, "why", "2") == [lines[0], "nothing else is known of it"]
    assert told(root, "why", "--candidate", SECOND) == told(root, "why", "2")
    assert told(root, "why")[-1] == "the gate's verdict is not in the store"


def test_the_window_of_a_version_is_listed(year: Path) -> None:
    assert "spans 2 to 4" in told(year, "models")[1]


def test_neither_command_waits_for_tensorflow(year: Path) -> None:
    code = (
        "import sys; from click.testing import CliRunner; from pipeline.cli import cli; "
        f"words = ['--workspace', {str(year)!r}]; "
        "done = [CliRunner().invoke(cli, [name, *words]).exit_code for name in ('history', 'why')]; "
        "print(done, [name for name in ('tensorflow', 'tfx', 'matplotlib') if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[0, 0] []"
