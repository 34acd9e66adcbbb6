"""Batches what waits: clips of several requests that wait at the same time are answered by one call of the model."""

import os
import queue
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

from numpy.typing import NDArray

from components.store.predictor import LARGEST_BATCH

Answer = dict[str, NDArray]
"""What the model says of one item, by the name of the output."""
Call = Callable[[list[bytes]], Mapping[str, NDArray]]
"""Answers a batch of items with arrays [batch, ...], by the name of the output."""


class SignatureError(Exception):
    """A request names a signature that the model does not have, or that is not called with one batch of strings."""


class RefusedError(Exception):
    """The graph refuses an item, such as a file that is no WAV file."""


@dataclass(frozen=True)
class _Waiting:
    item: bytes
    answer: "Future[Answer]" = field(default_factory=Future)


class Batcher:
    """Calls a model from as many threads as there are cores; each takes what waits, up to LARGEST_BATCH.

    Nothing waits for a batch to fill: while there is a thread that is idle, an item is answered at once and alone.
    """

    def __init__(self, call: Call, report: Callable[[int], None] = lambda size: None) -> None:
        """Starts the threads. `report` is called with the size of every batch."""
        self._call, self._report = call, report
        self._queue: queue.SimpleQueue[_Waiting | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(os.cpu_count() or 1)]
        for thread in self._threads:
            thread.start()

    def submit(self, items: Iterable[bytes]) -> "list[Future[Answer]]":
        """Puts items in line; returns their answers to come, in the same order.

        An answer raises what the model raises for its item, whatever else was in the batch.
        """
        waiting = [_Waiting(item) for item in items]
        for each in waiting:
            self._queue.put(each)
        return [each.answer for each in waiting]

    def close(self) -> None:
        """Ends the threads, once all that waits is answered."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()

    def _work(self) -> None:
        while batch := self._batch():
            self._report(len(batch))
            self._answer(batch)

    def _batch(self) -> list[_Waiting]:
        """Waits for an item, and takes those behind it; returns none when this thread is to end."""
        batch: list[_Waiting] = []
        while len(batch) < LARGEST_BATCH:
            try:
                taken = self._queue.get(block=not batch)
            except queue.Empty:
                break
            if taken is None:
                if batch:
                    self._queue.put(None)  # for the next time
                break
            batch.append(taken)
        return batch

    def _answer(self, batch: list[_Waiting]) -> None:
        try:
            answers = self._call([each.item for each in batch])
        except Exception as error:  # noqa: BLE001 (whoever asked is told)
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return
            for each in batch:  # one that is wrong must not fail the others
                self._answer([each])
            return
        for place, each in enumerate(batch):
            each.answer.set_result({name: values[place] for name, values in answers.items()})
