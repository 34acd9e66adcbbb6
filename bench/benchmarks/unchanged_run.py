"""`genre run` when nothing has changed: its time beyond that of its imports."""

import sys
from functools import partial

from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import difference, in_new_process, interleave, walls

_IMPORTS = """
from pipeline.process import large_imports
with large_imports():
    import pipeline.dag, pipeline.local.runner
"""


def measure(setting: Setting) -> Measured:
    """Times whole processes in a workspace where every node is cached."""
    with setting.workplace() as work:
        run = partial(setting.run, work / "data", work / "workspace", "train.epochs=1")
        setting.ingest(setting.library(), work / "data")
        setting.report(f"  first run {run().wall:.1f} s")
        sides = {
            "genre run": run,
            "imports": partial(in_new_process, [sys.executable, "-c", _IMPORTS], work / "imports.log"),
        }
        samples = interleave(sides, setting.repeats, setting.report)
    return Measured(samples, {"beyond": difference(*(walls(samples[name]) for name in sides))})
