"""A step works on copies of its own on a shared volume."""

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from components.base.errors import UserError
from components.library.tfrecords import write_record
from pipeline.remote import shared_volume
from pipeline.remote.artifact_paths import artifacts_of
from pipeline.remote.shared_volume import own_copies


@pytest.fixture
def task(tmp_path: Path) -> dict[str, Any]:
    """A step with three inputs, of which one was never written, and two outputs, on its own disk."""
    disk = tmp_path / "minio" / "b"
    (disk / "1" / "examples" / "Split-train").mkdir(parents=True)
    (disk / "1" / "examples" / "Split-train" / "part-0.gz").write_bytes(b"records")
    (disk / "1" / "schema").write_text("a file")
    inputs = {name: {"artifacts": [{"uri": str(disk / "1" / name)}]} for name in ("examples", "schema", "empty")}
    outputs = {name: {"artifacts": [{"uri": str(disk / "2" / name)}]} for name in ("graph", "words")}
    return {
        "inputs": {"artifacts": inputs},
        "outputs": {"artifacts": outputs},
    }


def paths(task: dict[str, Any], side: str) -> dict[str, Path]:
    return {name: Path(artifact["uri"]) for name, artifact in artifacts_of(task, side)}


def test_a_step_has_copies_of_its_own(task: dict[str, Any], tmp_path: Path) -> None:
    before, volume = json.dumps(task), tmp_path / "volume"
    own, disk = paths(task, "inputs"), paths(task, "outputs")
    with own_copies(task, volume) as (first, places), own_copies(task, volume) as (second, _):
        mine, theirs = paths(first, "inputs"), paths(second, "inputs")
        assert not set(mine.values()) & set(theirs.values())
        assert all(path.is_relative_to(volume) for path in (*mine.values(), *theirs.values()))
        assert {Path(places[str(path)]) for path in mine.values()} == set(own.values())
        # The launcher of another step, on this disk, empties the file that was copied.
        (own["examples"] / "Split-train" / "part-0.gz").write_bytes(b"")
        record = mine["examples"] / "Split-train" / "part-0.gz"
        assert record.read_bytes() == b"records"
        assert record.stat().st_mode & 0o222 == mine["schema"].stat().st_mode & 0o222 == 0
        assert not mine["empty"].exists()
        graph = paths(first, "outputs")["graph"]
        (graph / "fn").mkdir(parents=True)
        (graph / "fn" / "saved_model.pb").write_bytes(b"graph")
        assert not disk["graph"].exists()
    assert json.dumps(task) == before
    assert (disk["graph"] / "fn" / "saved_model.pb").read_bytes() == b"graph"
    assert not disk["words"].exists()
    assert list(volume.iterdir()) == []


def test_nothing_stays_of_a_step_that_fails(task: dict[str, Any], tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    with pytest.raises(ValueError, match="the node"), own_copies(task, volume) as (given, _):
        paths(given, "outputs")["words"].write_text("half of it")
        raise ValueError("the node")
    assert list(volume.iterdir()) == []
    assert not paths(task, "outputs")["words"].exists()


def test_leftovers_of_killed_steps_are_removed_after_a_week(task: dict[str, Any], tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    for name, days in (("step-old", 8), ("step-new", 6), ("songs", 100)):
        (volume / name).mkdir(parents=True)
        os.utime(volume / name, (time.time() - days * 86400,) * 2)
    with own_copies(task, volume):
        pass
    assert sorted(path.name for path in volume.iterdir()) == ["songs", "step-new"]


def test_a_copy_that_lost_something(task: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_volume.shutil, "copyfile", lambda _, target: Path(target).write_bytes(b"rec"))
    with (
        pytest.raises(UserError, match=r"1 files of .* have other sizes"),
        own_copies(task, tmp_path),
    ):
        pass


def test_a_volume_that_is_not_there(task: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(UserError, match=r"kubeflow\.shared: .*Not a directory.* Check that the volume is mounted"),
        own_copies(task, tmp_path / "file" / "volume"),
    ):
        pass


def test_copies_have_the_records_of_the_artifact(task: dict[str, Any], tmp_path: Path) -> None:
    [examples] = task["inputs"]["artifacts"]["examples"]["artifacts"]
    file = Path(examples["uri"]) / "Split-train" / "part-0.gz"

    def write(sizes: list[int]) -> bytes:
        with gzip.open(file, "wb", compresslevel=0) as out:
            for size in sizes:
                write_record(out, bytes(size))
        return file.read_bytes()

    def copy(**records: int) -> None:
        examples["metadata"] = {"records": json.dumps(records)}
        with own_copies(task, tmp_path / "volume"):
            pass

    whole = write([0, 5, 200_000, 300_000])
    copy(train=4)
    for count in (3, 5):
        with pytest.raises(UserError, match=rf"4 records in split train of .*, and the artifact has {count}\."):
            copy(train=count)
    with pytest.raises(UserError, match=r"0 records in split eval of .*, and the artifact has 2"):
        copy(train=4, eval=2)
    for cut in (len(whole) - 1, 250_000, 20):
        file.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=r"part-0\.gz: .*cut off"):
            copy(train=4)
    assert list((tmp_path / "volume").iterdir()) == []
