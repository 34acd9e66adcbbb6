"""What an operator meets some day: a full disk, a read-only one, a clock that was set back, data that vanish or rot.

Every time the command ends with 1 and says what is wrong, where, and what to do; what was served is served still; and
when the cause is gone, the same command goes on.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.long

ARTISTS = dict.fromkeys(("Folk", "Pop", "Rock"), 4)
SETTINGS = {
    "window": 2,
    "model": {"kind": "naive_bayes", "window_seconds": 3.0},
    "gate": {"min_accuracy": 0.01},
}
GOES_ON = "then give the same command again: it continues from here"


def mount(*words: object) -> None:
    subprocess.run(["mount", *map(str, words)], check=True, capture_output=True)


def can_mount(directory: Path, size: str) -> bool:
    with suppress(OSError, subprocess.CalledProcessError):
        mount("-t", "tmpfs", "-o", f"size={size}", "none", directory)
        return True
    return False


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Root may write wherever the disk lets it, so that it takes a disk that does not."""
    if os.geteuid():
        directory.chmod(0o555)
        yield
        directory.chmod(0o755)
        return
    try:
        mount("--bind", directory, directory)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("root, but without the right to mount")
    try:
        mount("-o", "remount,bind,ro", directory)
        yield
    finally:
        subprocess.run(["umount", directory], check=True)


@pytest.fixture(scope="module")
def loop(new_loop: Callable[..., Any]) -> Iterator[Any]:
    """With a served model, and a second span that it does not know; on a disk of its own where that is allowed."""
    loop = new_loop(**SETTINGS)
    loop.workspace.mkdir()
    loop.own_disk = can_mount(loop.workspace, "100m")
    try:
        loop.deliver(1, artists=ARTISTS)
        code, said = loop.retrain()
        assert code == 0, said
        assert loop.served() == 1
        loop.deliver(2, artists=ARTISTS)
        yield loop
    finally:
        if loop.own_disk:
            subprocess.run(["umount", loop.workspace], check=True)


def complaint(loop: Any, *arguments: object, **fate: Any) -> str:
    """What `genre retrain` fails with, if it fails as it should."""
    served = loop.served()
    code, said = loop.retrain("--now", *arguments, **fate)
    assert code == 1, said
    assert "Traceback" not in said
    assert loop.served() == served
    assert loop.answers()
    return said[said.index("genre: ") :]


def test_clock_set_back(loop: Any) -> None:
    [record] = (loop.workspace / "history").iterdir()
    said = complaint(loop, set_clock=[-2.0])
    assert "the clock was set back. Correct it; or" in said
    assert record.name in said


def test_damaged_history(loop: Any) -> None:
    [record] = (loop.workspace / "history").iterdir()
    whole = record.read_bytes()
    record.write_bytes(whole[:50])
    assert f"genre: {record}: damaged" in complaint(loop)
    record.write_bytes(whole)


def test_a_span_of_the_window_is_gone(loop: Any) -> None:
    (loop.data / "span-1").rename(loop.data / "elsewhere")
    assert f"genre: {loop.data}: span 1 is gone. Its test split is the golden set" in complaint(loop)
    said = complaint(loop, "--set", "golden=2")
    assert "span 1 of the window is gone, which version 1 was trained on. Put it back, or" in said
    (loop.data / "elsewhere").rename(loop.data / "span-1")


def test_the_newest_span_goes_while_it_is_worked_on(loop: Any) -> None:
    shutil.copytree(loop.data / "span-2", loop.root / "copy")
    said = complaint(loop, lose=[str(loop.data / "span-2"), "pipeline.local.runner.run_local"])
    assert f"{loop.data}: no complete span 2 (complete spans: 1). Ingest it, or choose another." in said
    (loop.root / "copy").rename(loop.data / "span-2")


@pytest.mark.parametrize("limit", [20_000, 300_000, 600_000])
def test_no_file_may_grow(loop: Any, limit: int) -> None:
    assert GOES_ON in complaint(loop, limit_files=[limit])


@pytest.mark.parametrize("free", [0, 50_000, 500_000, 1_200_000])
def test_full_disk(loop: Any, free: int) -> None:
    if not loop.own_disk:
        pytest.skip("without the right to mount")
    usage = shutil.disk_usage(loop.workspace)
    mount("-o", f"remount,size={usage.used + free}", loop.workspace)
    try:
        said = complaint(loop)
    finally:
        mount("-o", "remount,size=100m", loop.workspace)
    assert f"{loop.workspace}" in said
    assert f"The disk is full. Make room; {GOES_ON}" in said


def test_read_only_workspace(loop: Any) -> None:
    with read_only(loop.workspace):
        said = complaint(loop)
    assert said.startswith(f"genre: {loop.workspace}: cannot be used as workspace: ")


def test_read_only_model_store(loop: Any) -> None:
    with read_only(loop.workspace / "models"):
        said = complaint(loop)
    assert said.startswith("genre: StorePusher failed: ")
    assert str(loop.workspace / "models") in said
    assert GOES_ON in said


def test_the_same_command_goes_on(loop: Any) -> None:
    code, said = loop.retrain("--now", "--summary", loop.root / "summary.json")
    assert code == 0, said
    nodes = json.loads((loop.root / "summary.json").read_text())["nodes"]
    assert nodes["Trainer"]["state"] in ("cached", "done")
    assert (loop.served(), loop.answers()) == (2, True)
    [_, record] = loop.history()
    assert [outcome["version"] for outcome in record["outcomes"]] == [2]


def test_status_that_cannot_be_written(loop: Any) -> None:
    status = loop.workspace / "watch.json"
    status.mkdir()
    code, said = loop.genre("watch", "--config", loop.config, "--once")
    assert code == 1, said
    assert f"genre: {status}: the status cannot be written: " in said
    assert "Traceback" not in said
    status.rmdir()
    code, said = loop.genre("watch", "--config", loop.config, "--once")
    assert code == 0, said
    assert json.loads(status.read_text())["served"] == 2
