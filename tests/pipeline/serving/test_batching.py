"""Batches: what waits together is answered together, each by its own answer or error."""

import threading
from collections.abc import Mapping

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.serving.batching import LARGEST_BATCH, Batcher


class Model:
    """Answers each item with its own value; may be told to wait."""

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.go = threading.Event()
        self.go.set()
        self.called = threading.Semaphore(0)

    def __call__(self, items: list[bytes]) -> Mapping[str, NDArray]:
        self.called.release()
        assert self.go.wait(60)
        self.batches.append(len(items))
        return {"value": np.array([float(item) for item in items])}


@pytest.fixture
def one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)


@pytest.mark.usefixtures("one_core")
def test_what_waits_is_answered_together_and_nothing_waits_for_more() -> None:
    model, reported = Model(), []
    batcher = Batcher(model, reported.append)
    assert [each.result(60)["value"] for each in batcher.submit([b"7"])] == [7.0]
    model.go.clear()
    first = batcher.submit([b"0"])
    assert model.called.acquire(timeout=60)
    assert model.called.acquire(timeout=60)  # it is busy with the first
    rest = [batcher.submit([str(number).encode()])[0] for number in range(1, 7)]
    model.go.set()
    assert [each.result(60)["value"] for each in [*first, *rest]] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    assert model.batches == reported == [1, 1, LARGEST_BATCH, 2]
    batcher.close()


@pytest.mark.usefixtures("one_core")
def test_one_that_is_wrong_fails_alone() -> None:
    model = Model()
    batcher = Batcher(model)
    answers = batcher.submit([b"1", b"x", b"3", b"y"])
    assert [each.result(60)["value"] for each in answers[::2]] == [1.0, 3.0]
    for each in answers[1::2]:
        with pytest.raises(ValueError, match="could not convert"):
            each.result(60)
    batcher.close()


def test_it_closes_when_all_is_answered() -> None:
    batcher = Batcher(Model())
    answers = batcher.submit([str(number).encode() for number in range(50)])
    batcher.close()
    assert [each.result(0)["value"] for each in answers] == list(range(50))
