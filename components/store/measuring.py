"""Measures what it costs to serve a model: the time of one answer and the size of its files."""

import statistics
import time
from collections.abc import Callable, Mapping

import tensorflow as tf

_WARM_UP, _TIMED = 3, 21


def latency_ms(answer: Callable[[], Mapping[str, tf.Tensor]]) -> float:
    """Measures the median time of one answer, after some that are not counted.

    Args:
      answer: calls a signature of the model with one clip.

    Returns:
      Milliseconds.
    """
    return _median_ms(answer, time.perf_counter)


def cpu_ms(answer: Callable[[], Mapping[str, tf.Tensor]]) -> float:
    """Measures as `latency_ms`, but the processor time of all threads, which other programs change little."""
    return _median_ms(answer, time.process_time)


def _median_ms(answer: Callable[[], Mapping[str, tf.Tensor]], clock: Callable[[], float]) -> float:
    seconds = []
    for _ in range(_WARM_UP + _TIMED):
        start = clock()
        answer()["probabilities"].numpy()  # waits for a device that returns before it has computed
        seconds.append(clock() - start)
    return 1000.0 * statistics.median(seconds[_WARM_UP:])


def megabytes(saved_model: str) -> float:
    """Adds up the sizes of a SavedModel's files, in millions of bytes."""
    files = (f"{directory}/{name}" for directory, _, names in tf.io.gfile.walk(saved_model) for name in names)
    return sum(tf.io.gfile.stat(file).length for file in files) / 1e6
