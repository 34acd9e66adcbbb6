"""Two real watchers of one workspace, and a real run that is killed in the middle of training."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from etils import epath

from components.retraining.history import read_history

pytestmark = pytest.mark.long

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
    stack.callback(process.wait)
    stack.callback(process.kill)
    return stack.enter_context(process)


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
