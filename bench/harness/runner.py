"""Runs benchmarks, each in a process of its own, so that none finds in memory what another one left."""

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
"""Environment variable that OpenBLAS, which NumPy and SciPy contain, reads when it is loaded."""


@dataclass(frozen=True)
class Request:
    """Names a benchmark and its sizes. None stands for the value in the registry."""

    name: str
    clips: int | None
    repeats: int | None
    seconds: float
    scratch: Path


def run(request: Request) -> Result:
    """Runs one benchmark.

    Its progress goes to standard output. What libraries print goes to a log in the scratch directory.

    Raises:
      UserError: the benchmark failed.
    """
    log = request.scratch / f"{request.name}.log"
    with _blas_threads(BENCHMARKS[request.name].cores), ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        try:
            return pool.submit(_measure, request, log).result()
        except (BrokenProcessPool, ProcessError) as error:
            raise UserError(f"{request.name}: {error}\nIts log: {log}") from error


@contextmanager
def _blas_threads(count: int | None) -> Iterator[None]:
    """Limits the threads for linear algebra of processes that are started inside it; None: no limit.

    By default they use as many threads as the machine has cores, and threads that share a core wait for each other.
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
    if benchmark.cores:  # before the imports of libraries that count the cores
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-benchmark.cores :])
    log.unlink(missing_ok=True)
    with output_to(log) as console:
        setting = Setting(
            clips=request.clips or benchmark.clips,
            repeats=request.repeats or benchmark.repeats,
            seconds=request.seconds,
            scratch=request.scratch,
            report=lambda line: console.print(line, markup=False, soft_wrap=True),
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
