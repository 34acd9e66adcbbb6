"""Thirty spans of `genre watch`: its memory, its descriptors and its disk stay as they are."""

import os
import signal
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.continuous.test_watchers import until, watch

pytestmark = pytest.mark.long

ARTISTS = dict.fromkeys(("Folk", "Pop", "Rock"), 4)
SETTINGS = {
    "window": 2,
    "model": {"kind": "naive_bayes", "window_seconds": 3.0},
    "retrain": {"min_new_clips": 1},
    "gate": {"min_accuracy": 0.0},
    "deploy": {"keep_versions": 3},
}
SPANS = 30
SETTLED = 12
"""Spans after which the store has all versions that it keeps, and `runs` all folders."""


class Usage(NamedTuple):
    """What the service uses."""

    memory: int
    descriptors: int
    disk: int


def usage(pid: int, workspace: Path) -> Usage:
    status = Path(f"/proc/{pid}/status").read_text().split()
    files = sum(path.lstat().st_size for path in workspace.rglob("*"))
    return Usage(1024 * int(status[status.index("VmRSS:") + 1]), len(os.listdir(f"/proc/{pid}/fd")), files)


def test_thirty_spans(new_loop: Callable[..., Any], tmp_path: Path, record_testsuite_property: Any) -> None:
    loop = new_loop(**SETTINGS)
    log = tmp_path / "log"
    used: list[Usage] = []
    with ExitStack() as stack:
        service = watch(loop, log, stack)
        for span in range(1, SPANS + 1):
            loop.deliver(span, artists=ARTISTS)
            until(lambda span=span: f"clean: span {span}: removed" in log.read_text(errors="replace"), service)
            used.append(usage(service.pid, loop.workspace))
        service.send_signal(signal.SIGTERM)
        assert service.wait(100) == 0
    assert "failed" not in log.read_text()
    records = loop.history()
    assert [record["span"] for record in records] == list(range(1, SPANS + 1))
    assert all(len(record["started"]) == len(record["outcomes"]) == 1 for record in records)
    settled, last = used[SETTLED], used[-1]
    record_testsuite_property("use after each span", [tuple(each) for each in used])
    assert last.memory < settled.memory + 4e6
    assert last.descriptors == settled.descriptors
    assert max(each.disk for each in used[SETTLED:]) < 1.1 * settled.disk
    assert loop.answers()
