"""What real runs leave, what `genre clean` takes of it, and what becomes of results that rot on the disk."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from pipeline.config.settings import load_config
from pipeline.local.cache import Executions, open_metadata
from pipeline.planning.prospect import prospect
from pipeline.workspace import Workspace

pytestmark = pytest.mark.long

ARTISTS = dict.fromkeys(("Folk", "Pop", "Rock"), 4)
SETTINGS = {
    "window": 1,
    "model": {"kind": "naive_bayes", "window_seconds": 3.0},
    "retrain": {"min_new_clips": 1},
    "gate": {"min_accuracy": 0.0, "significance": 1e-9},
}
ALWAYS = {"RetrainPolicy", "Recorder", "TensorFlow, TFX"}
SPANS = 2


def files(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in root.rglob("*") if path.is_file()}


def run(loop: Any) -> tuple[dict[str, Any], str]:
    """`genre run`; returns its summary and what it said."""
    summary = loop.root / "summary.json"
    code, said = loop.genre("run", "--config", loop.config, "--summary", summary)
    assert code == 0, said
    return json.loads(summary.read_text()), said


def computed(summary: dict[str, Any]) -> set[str]:
    return {name for name, node in summary["nodes"].items() if node["state"] != "cached"} - ALWAYS


@pytest.fixture(scope="module")
def loop(new_loop: Callable[..., Any]) -> Any:
    """With a version of each span, and a last run in which all was cached."""
    loop = new_loop(**SETTINGS)
    for span in range(1, SPANS + 1):
        loop.deliver(span, artists=ARTISTS)
        code, said = loop.retrain("--now")
        assert code == 0, said
        assert loop.served() == span
    loop.last, _ = run(loop)
    assert computed(loop.last) == set()
    return loop


def test_a_run_in_which_all_is_cached_adds_its_log_and_summary_alone(loop: Any) -> None:
    run(loop)  # for the first time, ML Metadata grows by the executions that the next such run replaces
    before = files(loop.workspace)
    run(loop)
    after = files(loop.workspace)
    new = sum(after.values()) - sum(before.values())
    [folder] = {path.parent for path in after.keys() - before.keys() if path.parent.parent.name == "runs"}
    assert new - sum(files(folder).values()) <= 8192  # two pages of sqlite
    assert new < 30_000
    assert not list(loop.workspace.glob("artifacts/RetrainPolicy/decision/*"))[1:]


def test_the_cache_is_foretold_without_tfx(loop: Any) -> None:
    """`Executions.cached_for` names the very artifacts that TFX's own cache has just served."""
    known = Executions(open_metadata(Workspace(epath.Path(loop.workspace))))
    texts = prospect(load_config(loop.config), asked=True).plan.texts().values()
    last = list(known.by_run)[-1]
    complete = {each.id for each in known.complete}
    served = {artifact for each in known.by_run[last] - complete for artifact in known.outputs[each]}
    assert served == known.cached_for(texts)


def test_nothing_that_is_cached_or_served_goes(loop: Any) -> None:
    before = files(loop.workspace)
    code, said = loop.genre("clean", "--config", loop.config, "--dry-run")
    assert code == 0, said
    assert "dry run" in said
    assert files(loop.workspace).keys() == before.keys()
    code, said = loop.genre("clean", "--config", loop.config)
    assert code == 0, said
    gone = before.keys() - files(loop.workspace).keys()
    assert {path.relative_to(loop.workspace).parts[0] for path in gone} == {"artifacts"}
    examples = {path for path in before if "ImportExampleGen" in str(path)}
    assert examples & gone and examples - gone  # of the span that left the window, and of those in it
    summary, _ = run(loop)
    assert computed(summary) == set()
    assert summary["verdict"] == loop.last["verdict"]


@pytest.fixture
def copy(loop: Any) -> Any:
    """Gives the workspace back as it was."""
    kept = loop.root / "kept"
    shutil.copytree(loop.workspace, kept)
    yield loop
    shutil.rmtree(loop.workspace)
    kept.rename(loop.workspace)


def truncated(content: bytes) -> bytes:
    return content[: len(content) // 2]


def flipped(content: bytes) -> bytes:
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :] if content else b"?"


DAMAGES: dict[str, Callable[[bytes], bytes]] = {"truncated": truncated, "emptied": lambda _: b"", "flipped": flipped}


@pytest.mark.parametrize("damage", DAMAGES)
def test_artifacts_that_rot_are_made_again(copy: Any, damage: str) -> None:
    """One file of every output of every node: in place, but for those that share their bytes with the library."""
    outputs = [output for output in (copy.workspace / "artifacts").glob("[!.]*/[!.]*/*") if files(output)]
    for output in outputs:
        largest = max(files(output), key=lambda path: (path.stat().st_size, path))
        content = DAMAGES[damage](largest.read_bytes())
        if largest.stat().st_nlink > 1:
            largest.unlink()
        largest.write_bytes(content)
    again, said = run(copy)
    assert "has changed since it was made, and is made again" in said
    assert computed(again) >= {"HeldOutExampleGen", "ImportSchemaGen", "Trainer", "GateEvaluator", "Reporter"}
    assert again["verdict"]["candidate"] == copy.last["verdict"]["candidate"]
    assert again["served"] == copy.last["served"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_rot_of_bytes_that_library_and_artifact_share_is_told(copy: Any, damage: str) -> None:
    """Nothing can make them again but the library itself; what is served stays, and a copy of the file mends both."""
    [shard] = (copy.root / "data" / f"span-{SPANS}" / "test").glob("part-*")
    content, served = shard.read_bytes(), copy.served()
    artifacts = (copy.workspace / "artifacts" / "HeldOutExampleGen").rglob("data_tfrecord-*")
    [imported] = [path for path in artifacts if path.read_bytes() == content]
    imported.unlink()
    os.link(shard, imported)
    try:
        imported.write_bytes(DAMAGES[damage](content))
        code, said = copy.genre("run", "--config", copy.config)
        assert code == 1, said
        assert f"{shard}: " in said
        assert "Restore them, or ingest the library again" in said
        assert (copy.served(), copy.answers()) == (served, True)
    finally:
        shard.write_bytes(content)
    code, said = copy.genre("spans", "--restore", SPANS, "--config", copy.config)
    assert code == 0, said
    again, _ = run(copy)
    assert again["verdict"]["candidate"] == copy.last["verdict"]["candidate"]


@pytest.mark.parametrize("damage", DAMAGES)
def test_metadata_that_rots_ends_with_what_to_do(copy: Any, damage: str) -> None:
    metadata = copy.workspace / "metadata.sqlite"
    metadata.write_bytes(DAMAGES[damage](metadata.read_bytes()))
    served = copy.served()
    for command in ("run", "retrain", "clean"):
        code, said = copy.genre(command, "--config", copy.config, *(["--now"] if command == "retrain" else []))
        assert code == 1, said
        assert f"genre: {metadata}: " in said
        assert f"`genre clean --cache --workspace {copy.workspace}`" in said
        assert "Traceback" not in said
    assert (copy.served(), copy.answers()) == (served, True)


def test_a_cache_that_is_given_up_is_made_again(loop: Any) -> None:
    (loop.workspace / "metadata.sqlite").write_bytes(b"")
    code, said = loop.genre("clean", "--cache", "--workspace", loop.workspace)
    assert code == 0, said
    summary, _ = run(loop)
    assert summary["nodes"]["Trainer"]["state"] == "done"
    assert Path(summary["report"]).exists()
    assert summary["served"] == loop.last["served"]


def test_an_older_version_can_still_be_served(loop: Any) -> None:
    code, said = loop.genre("rollback", "--workspace", loop.workspace)
    assert code == 0, said
    assert (loop.served(), loop.answers()) == (SPANS - 1, True)
