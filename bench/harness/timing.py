"""Measures times: each side several times, in turn with the others, in this process or in a new one."""

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pydantic import Field

from components.base.section import Section

ROOT = Path(__file__).resolve().parents[2]
"""Directory of the packages. New processes start there, so that they run the same code."""
_LOG_TAIL = 2000


class Sample(Section):
    """The time and memory of one repeat of one side."""

    wall: float
    """Elapsed time, in seconds."""
    cpu: float
    """Seconds of user and system time, over all threads and the processes that it waited for."""
    peak_bytes: int = 0
    """Largest resident set of these processes, in bytes; 0 where all sides ran in one process."""
    figures: dict[str, float] = Field(default_factory=dict)
    """Further figures, which a new process measured itself."""


class Spread(Section):
    """Median and extremes of a figure over the repeats."""

    median: float
    low: float
    high: float


Side = Callable[[], Sample]


class ProcessError(Exception):
    """A measured process failed. The message has its command and the end of its output."""


def in_this_process(work: Callable[[], object]) -> Sample:
    """Times one call."""
    cpu, start = _cpu_seconds(), time.perf_counter()
    work()
    return Sample(wall=time.perf_counter() - start, cpu=_cpu_seconds() - cpu)


def in_new_process(command: Sequence[str], log: Path) -> Sample:
    """Times a command from its start to its end; its output goes to `log`.

    Linux counts the memory of the parent at the start as part of a child's peak. So the caller must be small, which
    means that it has not imported TensorFlow.

    Raises:
      ProcessError: the exit code was not 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as out:
        start = time.perf_counter()
        process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT)
        try:
            _, status, used = os.wait4(process.pid, 0)
        except BaseException:
            process.kill()
            process.wait()
            raise
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)  # without it, Popen would wait for a process that is gone
    if process.returncode:
        printed = log.read_text(encoding="utf-8", errors="replace")[-_LOG_TAIL:]
        raise ProcessError(f"exit code {process.returncode} from {' '.join(command)}\n{printed}")
    return Sample(wall=wall, cpu=used.ru_utime + used.ru_stime, peak_bytes=used.ru_maxrss * 1024)


def one_after_another(*samples: Sample) -> Sample:
    """Adds up processes that ran one after another."""
    return Sample(
        wall=sum(sample.wall for sample in samples),
        cpu=sum(sample.cpu for sample in samples),
        peak_bytes=max(sample.peak_bytes for sample in samples),
    )


def interleave(
    sides: Mapping[str, Side], repeats: int, report: Callable[[str], None] = lambda line: None
) -> dict[str, tuple[Sample, ...]]:
    """Measures every side `repeats` times, in turn, so that other work on the machine affects all sides alike.

    Every second repeat has the reverse order, because the caches differ between the first and the second side.
    """
    samples: dict[str, list[Sample]] = {name: [] for name in sides}
    for repeat in range(repeats):
        order = list(sides)[:: 1 if repeat % 2 == 0 else -1]
        for name in order:
            sample = sides[name]()
            samples[name].append(sample)
            report(f"  {repeat + 1} of {repeats}: {name} {sample.wall:.2f} s")
    return {name: tuple(taken) for name, taken in samples.items()}


def spread(values: Sequence[float]) -> Spread:
    """Computes median and extremes."""
    return Spread(median=statistics.median(values), low=min(values), high=max(values))


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Spread:
    """Computes the ratio of the medians, and the lowest and the highest ratio within a repeat."""
    pairs = [above / below for above, below in zip(numerators, denominators, strict=True)]
    middle = statistics.median(numerators) / statistics.median(denominators)
    return Spread(median=middle, low=min(pairs), high=max(pairs))


def difference(minuends: Sequence[float], subtrahends: Sequence[float]) -> Spread:
    """Computes the difference of the medians, and the lowest and the highest difference within a repeat."""
    pairs = [first - second for first, second in zip(minuends, subtrahends, strict=True)]
    middle = statistics.median(minuends) - statistics.median(subtrahends)
    return Spread(median=middle, low=min(pairs), high=max(pairs))


def walls(samples: Sequence[Sample]) -> list[float]:
    """Returns the elapsed seconds of every repeat."""
    return [sample.wall for sample in samples]


def figures(samples: Sequence[Sample], *names: str) -> list[float]:
    """Returns, for every repeat, the sum of the figures called `names`."""
    return [sum(sample.figures[name] for name in names) for sample in samples]


def _cpu_seconds() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(used.ru_utime + used.ru_stime for used in usages)
