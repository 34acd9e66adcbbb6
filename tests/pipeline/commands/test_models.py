"""`genre models` and `genre rollback`, on a store without TensorFlow's models: neither command looks into one."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from etils import epath

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.base.errors import UserError
from components.evaluation.config import GateConfig
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips
from components.store.model_card import ModelCard, write_card
from components.store.model_store import Lineage, current_version, publish
from pipeline.cli import cli

GENRES = ("folk", "rock")


def genre(workspace: Path, *words: str) -> Result:
    done = CliRunner().invoke(cli, [*words, "--workspace", str(workspace)])
    if isinstance(done.exception, UserError):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done


@pytest.fixture
def workspace(tmp_path: Path) -> Path:
    """Two versions, right about three and about four of four clips."""
    source = epath.Path(tmp_path / "source")
    source.mkdir()
    (source / "saved_model.pb").write_bytes(b"graph")
    features = FeatureConfig(representation="log_mel", genres=GENRES, audio=AudioConfig(), mel=MelConfig())
    write_card(ModelCard(kind="mel_cnn", parameters=7, window_seconds=5.0, features=features), source)
    truth = np.array([0, 1, 0, 1])
    for candidate, parent, answers in (("a", None, [0, 1, 0, 0]), ("b", 1, truth)):
        said = ScoredClips(["1", "2", "3", "4"], truth, np.eye(2)[answers])
        verdict = judge(GateConfig(), GENRES, said, latency_ms=12.5, megabytes=3.25)
        lineage = Lineage(candidate=candidate, parent=parent, data="/data", span=3, window=(3,))
        publish(epath.Path(tmp_path / "workspace" / "models"), source, lineage, verdict)
    return tmp_path / "workspace"


def test_versions_are_listed_with_what_is_known_of_them(workspace: Path) -> None:
    newest, oldest = json.loads(genre(workspace, "models", "--json").output)
    assert (newest["version"], newest["served"], newest["kind"]) == (2, True, "mel_cnn")
    assert (newest["lineage"]["parent"], newest["lineage"]["span"], newest["withdrawn"]) == (1, 3, None)
    assert (newest["verdict"]["candidate"]["accuracy"], oldest["verdict"]["candidate"]["accuracy"]) == (1.0, 0.75)
    assert (newest["test"]["accuracy"], oldest["test"]["accuracy"], newest["golden"]) == (1.0, 0.75, None)
    assert (oldest["version"], oldest["served"]) == (1, False)


def test_figures_on_test_and_golden_stand_side_by_side(workspace: Path) -> None:
    store, truth = epath.Path(workspace / "models"), np.array([0, 1, 0, 1])
    test = ScoredClips(["1", "2", "3", "4"], truth, np.eye(2)[truth], span=4)
    golden = ScoredClips(["5", "6", "7", "8"], truth, np.eye(2)[[0, 1, 0, 0]], split="golden", span=1)
    verdict = judge(GateConfig(), GENRES, test, golden, latency_ms=12.5, megabytes=3.25)
    publish(
        store,
        epath.Path(workspace.parent / "source"),
        Lineage(candidate="c", parent=2, data="/data", span=4, window=(4,)),
        verdict,
    )
    header, newest, *_, oldest = genre(workspace, "models").output.splitlines()
    assert header.split() == ["version", "kind", "data", "accuracy", "clips", "golden", "clips", "parent"]
    assert newest.split() == ["3", "served", "mel_cnn", "span", "4", "100.0%", "4", "75.0%", "4", "2"]
    assert oldest.split() == ["1", "mel_cnn", "span", "3", "75.0%", "4"]
    account = json.loads(genre(workspace, "models", "--json").output)[0]
    assert [(account[name]["span"], account[name]["accuracy"]) for name in ("test", "golden")] == [(4, 1.0), (1, 0.75)]
    told = genre(workspace, "why").output.splitlines()
    assert told[2].startswith("accuracy 100.0% on 4 test clips of span 4")
    assert told[3].startswith("accuracy 75.0% on 4 golden clips of span 1")
    assert "  --   median time for one clip 12.50 ms (no limit: gate.max_latency_ms is null)" in told


def test_a_roll_back_is_seen_in_the_list(workspace: Path) -> None:
    told = genre(workspace, "rollback", "--reason", "calls jazz rock").output
    assert told == "version 1 is served; version 2 is rolled back and will not be pushed again\n"
    assert current_version(epath.Path(workspace / "models")) == 1
    header, newest, oldest = genre(workspace, "models").output.splitlines()
    assert header.split() == ["version", "kind", "data", "accuracy", "clips", "parent"]
    assert newest.split()[:6] == ["2", "rolled", "back", "mel_cnn", "span", "3"]
    assert "calls jazz rock" in newest
    assert oldest.split() == ["1", "served", "mel_cnn", "span", "3", "75.0%", "4"]


def test_a_damaged_version_is_rolled_back(workspace: Path) -> None:
    (workspace / "models" / "2" / "saved_model.pb").write_bytes(b"grapf")
    told = genre(workspace, "rollback").output
    assert told.startswith("version 1 is served; version 2 is rolled back and was damaged")
    assert [account["version"] for account in json.loads(genre(workspace, "models", "--json").output)] == [1]
    (workspace / "models" / "1" / "saved_model.pb").unlink()
    assert genre(workspace, "rollback").output.startswith("no version is served: there is no other. `genre run` pushes")
    with pytest.raises(UserError, match="no model has been pushed yet"):
        genre(workspace, "models")
    assert "took its place" in genre(workspace, "history").output


def test_why_a_version_was_pushed_and_what_became_of_it(workspace: Path) -> None:
    served, lineage, accuracy, *checks = genre(workspace, "why").output.splitlines()
    assert served == "version 2 is served"
    assert lineage == "trained on span 3 of /data; judged against version 1; candidate b"
    assert accuracy.startswith("accuracy 100.0% on 4 test clips (95 % interval 51.0% to 100.0%)")
    assert "  ok   accuracy 1.00 on 4 test clips meets the floor gate.min_accuracy 0.50" in checks
    assert genre(workspace, "why", "1").output.startswith("version 1 was served until another one took its place\n")
    genre(workspace, "rollback", "--reason", "calls jazz rock")
    assert re.match(r"version 2 was rolled back at \S+: calls jazz rock\n", genre(workspace, "why", "2").output)
    with pytest.raises(UserError, match="there is no version 7; there are 1, 2"):
        genre(workspace, "why", "7")


def test_there_may_be_nothing_to_list_or_to_go_back_to(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))  # where this project was run, there is a workspace
    for command in ("models", "rollback", "why"):
        with pytest.raises(UserError, match=r"empty: no model has been pushed yet\. .* no other workspace here"):
            genre(tmp_path / "empty", command)
    assert (
        json.loads(CliRunner().invoke(cli, ["models", "--json", "--workspace", str(tmp_path / "empty")]).output) == []
    )
    with pytest.raises(UserError, match="version 7 is not there"):
        genre(workspace, "rollback", "7")


def test_workspaces_nearby_are_named(tmp_path: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workspace" / "mine" / "history").mkdir(parents=True)
    (tmp_path / "below").mkdir()
    with pytest.raises(
        UserError, match=r"Other workspaces near: workspace, workspace/mine\. Choose one with --workspace"
    ):
        genre(tmp_path / "empty", "models")
    monkeypatch.chdir(tmp_path / "below")
    with pytest.raises(UserError, match=r"Other workspaces near: \.\./workspace, \.\./workspace/mine\. Choose"):
        genre(tmp_path / "empty", "models")


def test_a_damaged_card_is_named(workspace: Path) -> None:
    (workspace / "models" / "2" / "assets.extra" / "model.json").write_text("{")
    with pytest.raises(UserError, match=r"models/2/assets\.extra/model\.json: damaged"):
        genre(workspace, "models")


def test_a_model_that_was_put_there_by_hand_is_listed_too(workspace: Path) -> None:
    (workspace / "models" / "5").mkdir()
    by_hand = json.loads(genre(workspace, "models", "--json").output)[0]
    assert by_hand == {
        "version": 5,
        "served": False,
        "path": str(workspace / "models" / "5"),
        "kind": None,
        "test": None,
        "golden": None,
        "lineage": None,
        "verdict": None,
        "withdrawn": None,
    }
    assert "unknown" in genre(workspace, "models").output
