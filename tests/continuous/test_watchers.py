"""Real watchers: two of one workspace, a run that is killed in the middle of training, and thirty spans in a row."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from etils import epath

from components.retraining.history import read_history

ARTISTS = dict.fromkeys(("Folk", "Pop", "Rock"), 4)
SETTINGS = {
    "window": 2,
    "model": {"kind": "mel_cnn", "window_seconds": 3.0, "options": {"filters": [8, 16]}},
    "train": {"epochs": 15, "patience": 15},
    "gate": {"min_accuracy": 0.0},
}


def until(holds: Callable[[], object], *living: subprocess.Popen) -> None:
    """Waits for what must come some day."""
    give_up = time.monotonic() + 500
    while not holds():
        assert time.monotonic() < give_up, "it did not come"
        assert all(process.poll() is None for process in living)
        time.sleep(0.1)


def watch(loop: Any, log: Path, stack: ExitStack) -> subprocess.Popen:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()"]
    command += ["watch", "--config", str(loop.config), "--interval", "1"]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with log.open("wb") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, env=environment)
    stack.enter_context(process)  # which waits for its end, after the line below
    stack.callback(process.kill)
    return process


@pytest.mark.long
def test_the_other_watcher_takes_over(new_loop: Callable[..., Any], tmp_path: Path) -> None:
    loop = new_loop(**SETTINGS)
    loop.deliver(1, artists=ARTISTS)
    logs = [tmp_path / "first", tmp_path / "second"]

    def said(number: int, words: str) -> bool:
        return words in logs[number].read_text(errors="replace")

    def epochs() -> list[str]:
        found = sorted(loop.workspace.glob("runs/*/run.log"))
        return [line for log in found for line in log.read_text(errors="replace").splitlines() if line[:6] == "epoch "]

    with ExitStack() as stack:
        worker = watch(loop, logs[0], stack)
        until(lambda: said(0, "running: span 1: retrain: no model is served yet"), worker)
        other = watch(loop, logs[1], stack)
        until(lambda: said(1, f"waiting: process {worker.pid} on "), worker, other)
        until(lambda: any(line.startswith("epoch 3 ") for line in epochs()), worker, other)
        worker.kill()
        worker.wait()
        trained = len(epochs())
        until(lambda: said(1, "done: span 1: "), other)
        code, status = loop.genre("watch", "--config", loop.config, "--status")
        assert code == 0, status
        assert f"watcher: process {other.pid} on " in status
        other.send_signal(signal.SIGTERM)
        assert other.wait(500) == 0
    assert said(1, f"; process {worker.pid} on "), "it says who died"
    assert said(1, "a run for this began at ")
    assert said(1, "stopped: by SIGTERM")
    numbers = [int(line.split()[1]) for line in epochs()]
    assert numbers[:trained] == list(range(1, trained + 1))
    assert numbers[trained] > 1, "it goes on where it was"
    assert (loop.served(), loop.answers()) == (1, True)
    [record] = read_history(epath.Path(loop.workspace / "history"))
    assert [outcome.version for outcome in record.outcomes] == [1]
    assert (len(record.started), record.failures) == (1, ())


SPANS = 30
SETTLED = 12
"""Spans after which the store has all versions that it keeps, and `runs` all folders."""


class Usage(NamedTuple):
    """What a watcher and its workspace take."""

    memory: int
    descriptors: int
    disk: int


def usage(pid: int, workspace: Path) -> Usage:
    status = Path(f"/proc/{pid}/status").read_text().split()
    disk = 0
    for path in workspace.rglob("*"):
        with suppress(FileNotFoundError):  # the watcher goes on: SQLite's journal comes and goes
            disk += path.lstat().st_size
    return Usage(1024 * int(status[status.index("VmRSS:") + 1]), len(os.listdir(f"/proc/{pid}/fd")), disk)


@pytest.mark.soak
def test_thirty_spans(new_loop: Callable[..., Any], tmp_path: Path, record_testsuite_property: Any) -> None:
    """Memory, descriptors and disk stay as they are, once the store has as many versions as it keeps."""
    model = {"kind": "naive_bayes", "window_seconds": 3.0}
    loop = new_loop(**SETTINGS | {"model": model, "retrain": {"min_new_clips": 1}, "deploy": {"keep_versions": 3}})
    log = tmp_path / "log"
    used: list[Usage] = []
    loop.deliver(1, artists=ARTISTS)
    with ExitStack() as stack:
        watcher = watch(loop, log, stack)
        for span in range(1, SPANS + 1):
            if span > 1:
                loop.deliver(span, artists=ARTISTS)
            until(lambda span=span: f"clean: span {span}: removed" in log.read_text(errors="replace"), watcher)
            used.append(usage(watcher.pid, loop.workspace))
        watcher.send_signal(signal.SIGTERM)
        assert watcher.wait(500) == 0
    record_testsuite_property("memory, descriptors and disk after each span", [tuple(each) for each in used])
    assert "failed" not in log.read_text(errors="replace")
    records = loop.history()
    assert [record["span"] for record in records] == list(range(1, SPANS + 1))
    assert all(len(record["started"]) == len(record["outcomes"]) == 1 for record in records)
    settled = used[SETTLED]
    assert used[-1].memory < settled.memory + 4_000_000
    assert used[-1].descriptors == settled.descriptors
    assert max(each.disk for each in used[SETTLED:]) < 1.1 * settled.disk
    assert loop.answers()
