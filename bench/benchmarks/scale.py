"""Linearity of the costs: each node with all of the clips, against the line through a fiftieth and a fifth of them."""

from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, spread
from bench.peers.nodes import PREPARATION, NodesJob, run_nodes

NODES = (*PREPARATION, "HeldOutExampleGen", "Trainer", "Champion", "GateEvaluator")
STEPS = ("ingest", "ImportExampleGen", "StatisticsGen", "Transform", "Trainer", "GateEvaluator")
"""Steps whose cost grows with the clips; the other nodes read only statistics and file names."""


def measure(setting: Setting) -> Measured:
    """Times every step in a new process, once per size; the Trainer for one epoch."""
    sizes = (setting.clips // 50, setting.clips // 5, setting.clips)
    steps = {size: _steps(setting, size) for size in sizes}
    notes, figures = [], {}
    for step in STEPS:
        seconds = [steps[size][step].figures["seconds"] for size in sizes]
        slope = (seconds[1] - seconds[0]) / (sizes[1] - sizes[0])
        fixed = seconds[0] - slope * sizes[0]
        figures[step] = spread([seconds[2] / (fixed + slope * sizes[2])])
        taken = [f"{size} clips {_summary(steps[size][step], size)}" for size in sizes]
        notes.append(
            f"{step}: {fixed:.1f} s and {1000 * slope:.1f} ms per clip, from the first two; {'; '.join(taken)}"
        )
    largest = steps[setting.clips]["Transform"].figures
    figures["pure"] = spread([largest["seconds"] / largest["pure"]])
    sides: dict[str, tuple[Sample, ...]] = {
        f"{step}, {size} clips": (steps[size][step],) for step in STEPS for size in sizes
    }
    return Measured(sides, figures, tuple(notes))


def _steps(setting: Setting, clips: int) -> dict[str, Sample]:
    """Runs every step on `clips` clips; `figures` has its "seconds" (of a node without imports) and "bytes"."""
    with setting.workplace() as fresh:
        data, workspace = fresh / "data", fresh / "workspace"
        ingested = setting.ingest(setting.library(clips=clips), data)
        written = sum(file.stat().st_size for file in data.glob("span-1/*/*"))
        taken = {
            "ingest": ingested.model_copy(
                update={"figures": {"seconds": ingested.wall, "bytes": written, "clips": clips}}
            )
        }
        for step in STEPS[1:]:
            job = NodesJob(
                data=str(data),
                workspace=str(workspace),
                settings=(*setting.settings, "train.epochs=1"),
                nodes=NODES[: NODES.index(step) + 1],
            )
            sample = run_nodes(job, fresh / "nodes.log")
            outputs = (value for name, value in sample.figures.items() if name.startswith(f"{step}."))
            figures = {"seconds": sample.figures[step], "bytes": sum(outputs), "clips": clips}
            if step == "Transform" and clips == setting.clips:
                pure = run_nodes(
                    job.model_copy(update={"pure": True}), fresh / "pure.log"
                )  # the other nodes are cached
                figures["pure"] = pure.figures["pure"]
            taken[step] = sample.model_copy(update={"figures": figures})
            setting.report(f"  {clips} clips: {step} {figures['seconds']:.1f} s")
    return taken


def _summary(sample: Sample, clips: int) -> str:
    figures = sample.figures
    per_clip = figures["bytes"] / clips / 1000
    return f"{figures['seconds']:.1f} s, {sample.peak_bytes / 2**20:,.0f} MiB, {per_clip:,.0f} kB written per clip"
