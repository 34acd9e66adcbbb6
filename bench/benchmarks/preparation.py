"""From MP3 files to features: ours, librosa with joblib, and Hugging Face's where it is installed."""

import os
import sys
from functools import partial
from pathlib import Path

from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, in_new_process, interleave, one_after_another, ratio, walls
from bench.peers.nodes import PREPARATION, NodesJob, run_nodes

HUGGING_FACE_PYTHON = "GENRE_HUGGING_FACE_PYTHON"
"""Name of an environment variable; see `bench.peers.hugging_face`."""


def measure(setting: Setting) -> Measured:
    """Times whole processes, with their imports."""
    table = setting.library()
    sides = {
        "ours": partial(_ours, setting, table),
        "joblib": partial(_peer, setting, table, "bench.peers.joblib_librosa"),
    }
    notes = ["Ours are two processes, `genre ingest` and the nodes up to Transform, which also validate and split."]
    if python := os.environ.get(HUGGING_FACE_PYTHON):
        sides["hugging face"] = partial(_peer, setting, table, "bench.peers.hugging_face", python)
    else:
        notes.append(f"Hugging Face's was not measured: set ${HUGGING_FACE_PYTHON} to a Python that has it installed.")
    samples = interleave(sides, setting.repeats, setting.report)
    mine = walls(samples["ours"])
    return Measured(
        samples, {name: ratio(walls(samples[name]), mine) for name in sides if name != "ours"}, tuple(notes)
    )


def _ours(setting: Setting, table: Path) -> Sample:
    with setting.workplace() as fresh:
        data = fresh / "data"
        ingested = setting.ingest(table, data)
        job = NodesJob(data=str(data), workspace=str(fresh / "workspace"), settings=setting.settings, nodes=PREPARATION)
        return one_after_another(ingested, run_nodes(job, fresh / "nodes.log"))


def _peer(setting: Setting, table: Path, module: str, python: str = sys.executable) -> Sample:
    with setting.workplace() as fresh:
        (fresh / "out").mkdir()
        words = (python, "-m", module, table, fresh / "out", setting.seconds)
        return in_new_process([str(word) for word in words], fresh / "peer.log")
