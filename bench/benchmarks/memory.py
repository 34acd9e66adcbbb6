"""Growth of memory with the library: each step in a new process, on a library and on one of ten times the size."""

from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, figures, interleave, one_after_another, ratio
from bench.peers.nodes import NodesJob, run_nodes
from bench.peers.training import train

STEPS = ("ingest", "ExampleGen", "Transform", "Trainer")


def measure(setting: Setting) -> Measured:
    """Measures peak memory of ingest, ExampleGen, Transform and a training, with a tenth of the clips and with all."""
    sizes = (setting.clips // 10, setting.clips)
    sides = {f"{size} clips": lambda size=size: _peaks(setting, size) for size in sizes}
    small, large = interleave(sides, setting.repeats, setting.report).items()
    return Measured(
        dict((small, large)),
        {step: ratio(figures(large[1], step), figures(small[1], step)) for step in STEPS},
        tuple(_summary(name, samples) for name, samples in (small, large)),
    )


def _peaks(setting: Setting, clips: int) -> Sample:
    """Runs the steps in turn; `figures` has the peak of each, in bytes, of the Trainer without pages of files."""
    with setting.workplace() as fresh:
        data = fresh / "data"
        samples = [setting.ingest(setting.library(clips=clips), data)]
        for nodes in (("ImportExampleGen",), ("ImportExampleGen", "ImportSchemaGen", "Transform")):
            job = NodesJob(data=str(data), workspace=str(fresh / "workspace"), settings=setting.settings, nodes=nodes)
            samples.append(run_nodes(job, fresh / "nodes.log"))
        training = train(clips, fresh / "training.log")
    peaks = {step: float(sample.peak_bytes) for step, sample in zip(STEPS, samples, strict=False)}
    peaks["Trainer"] = training.figures["own"]
    return one_after_another(*samples, training).model_copy(update={"figures": peaks})


def _summary(name: str, samples: tuple[Sample, ...]) -> str:
    peaks = (f"{step} {max(figures(samples, step)) / 2**20:,.0f} MiB" for step in STEPS)
    return f"{name}: {', '.join(peaks)} at the peak."
