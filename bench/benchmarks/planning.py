"""What a run reads before it computes anything: of a tenth of the spans and records of the history, and of all."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, in_new_process, spread

_SCRIPT = "import sys; from bench.benchmarks.planning import work; work(*sys.argv[1:])"
STEPS = {"spans": 1000, "history": 100}
"""What is measured, and for how many songs there is one of it."""


def measure(setting: Setting) -> Measured:
    """Runs every step in a new process, once per size."""
    figures, notes = {}, []
    sides: dict[str, tuple[Sample, ...]] = {}
    for step, songs in STEPS.items():
        taken = []
        for size in (setting.clips // songs // 10, setting.clips // songs):
            with setting.workplace() as fresh:
                command = (sys.executable, "-c", _SCRIPT, step, fresh, size)
                sample = in_new_process([*map(str, command)], fresh / "log")
                found = json.loads((fresh / "figures.json").read_text(encoding="utf-8"))
            taken.append(sample.model_copy(update={"figures": found}))
            sides[f"{step}, {size:,}"] = (taken[-1],)
            notes.append(f"{step}: {size:,} in {found['seconds']:.2f} s, {found['bytes'] / 2**20:,.0f} MiB more")
            setting.report(f"  {notes[-1]}")
        small, large = (sample.figures["seconds"] for sample in taken)
        figures[step] = spread([large / small / 10])
        figures[f"{step} memory"] = spread([taken[1].figures["bytes"] / 2**20])
    return Measured(sides, figures, tuple(notes))


def work(step: str, directory: str, size: str) -> None:
    """Makes `size` spans or records in `directory`, and writes to figures.json what reading them takes."""
    import resource
    import time

    read = {"spans": _spans, "history": _history}[step](Path(directory), int(size))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    read()  # imports, and what is computed once per process, would hide what grows
    start = time.process_time()
    read()
    seconds, after = time.process_time() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found = {"seconds": seconds, "bytes": 1024 * (after - before)}
    (Path(directory) / "figures.json").write_text(json.dumps(found), encoding="utf-8")


def _spans(root: Path, size: int) -> Callable[[], object]:
    """Looks what a run would be whose window has all spans."""
    from components.audio.config import AudioConfig
    from components.library.layout import MANIFEST_FILE, Library, Manifest, SplitCount, span_dir
    from components.library.spans import write_library
    from pipeline.config.settings import PipelineConfig
    from pipeline.planning.prospect import prospect

    genres = ("folk", "rock")
    counts = {name: SplitCount(clips=100, groups=2, genres={}) for name in ("train", "eval", "test")}
    data = root / "data"
    data.mkdir()
    write_library(data, Library(genres=genres, audio=AudioConfig()))
    for span in range(1, size + 1):
        manifest = Manifest(
            span=span,
            source="simulated",
            digest=str(span),
            input_files=300,
            splits=counts,
            rejects={},
            genres=(),
            schema_digest="",
            files={},
        )
        directory = span_dir(data, span)
        directory.mkdir()
        (directory / MANIFEST_FILE).write_text(manifest.model_dump_json(), encoding="utf-8")
    config = PipelineConfig(data=str(data), workspace=str(root / "workspace"), window=size)
    return lambda: prospect(config)


def _history(root: Path, size: int) -> Callable[[], object]:
    from etils import epath

    from components.retraining.history import Record, read_history, write_record

    directory = epath.Path(root / "history")
    for number in range(size):
        name = f"{number:016x}"
        record = Record(candidate=name, data="data", span=number, window=(number,), champion=None, new_clips=3)
        write_record(directory, record)
    return lambda: read_history(directory)
