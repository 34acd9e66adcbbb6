"""Runs benchmarks, each in a process of its own: none finds what another left in memory, and a killed one is alone."""

import importlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path

from bench.harness.machine import commit_of, this_machine
from bench.harness.registry import BENCHMARKS
from bench.harness.result import Measured, Result, Row
from bench.harness.setting import Setting
from bench.harness.timing import ROOT, ProcessError
from components.base.errors import UserError
from pipeline.process import output_to

_BLAS_THREADS = "OMP_NUM_THREADS"
"""OpenBLAS, which NumPy and SciPy bring, reads it when it is loaded."""


@dataclass(frozen=True)
class Request:
    """What to measure, and how; None: as the registry says."""

    name: str
    clips: int | None
    repeats: int | None
    seconds: float
    scratch: Path


def run(request: Request) -> Result:
    """Runs one benchmark; its progress goes to standard output, what libraries print to a log in the scratch directory.

    Raises:
      UserError: it failed.
    """
    log = request.scratch / f"{request.name}.log"
    with _blas_threads(BENCHMARKS[request.name].cores), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, request, log).result()
        except (BrokenProcessPool, ProcessError) as error:
            raise UserError(f"{request.name}: {error}\nIts log: {log}") from error


@contextmanager
def _blas_threads(count: int | None) -> Iterator[None]:
    """Has processes that are started within it use so many threads for linear algebra; None: as they like.

    They count all cores of the machine, and two threads that share one core wait for each other most of the time.
    """
    before = os.environ.get(_BLAS_THREADS)
    if count is not None:
        os.environ[_BLAS_THREADS] = str(count)
    try:
        yield
    finally:
        if before is not None:
            os.environ[_BLAS_THREADS] = before
        elif count is not None:
            del os.environ[_BLAS_THREADS]


def _measure(request: Request, log: Path) -> Result:
    benchmark = BENCHMARKS[request.name]
    if benchmark.cores:  # before anything heavy is imported, which would count the cores for itself
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-benchmark.cores :])
    log.unlink(missing_ok=True)
    with output_to(log) as console:
        setting = Setting(
            clips=request.clips or benchmark.clips,
            repeats=request.repeats or benchmark.repeats,
            seconds=request.seconds,
            scratch=request.scratch,
            tell=lambda line: console.print(line, markup=False, soft_wrap=True),
        )
        measure: Callable[[Setting], Measured] = importlib.import_module(f"bench.benchmarks.{request.name}").measure
        measured = measure(setting)
    return Result(
        name=request.name,
        about=benchmark.about,
        clips=setting.clips,
        seconds=setting.seconds,
        repeats=setting.repeats,
        date=time.strftime("%Y-%m-%d %H:%M"),
        commit=commit_of(ROOT),
        machine=this_machine(),
        rows=tuple(
            Row(measured=measured.figures[key], **asdict(target))
            for key, target in benchmark.targets.items()
            if key in measured.figures
        ),
        sides=measured.sides,
        notes=measured.notes,
    )
