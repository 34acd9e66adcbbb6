"""The gain of a second worker process, with many clips."""

from functools import partial
from pathlib import Path

from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, figures, interleave, ratio, walls
from bench.peers.nodes import NodesJob, run_nodes


def measure(setting: Setting) -> Measured:
    """Times ingest as a whole process and Transform as a node, with one worker process of Beam and with two."""
    table = setting.library()
    with setting.workplace() as work:
        data = work / "data"
        setting.ingest(table, data)
        _transform(setting, work, data, 1)  # so that ExampleGen is cached

        def ingest(workers: int) -> Sample:
            with setting.workplace() as fresh:
                return setting.ingest(table, fresh / "data", *_workers(workers))

        sides = {f"ingest, {count}": partial(ingest, count) for count in (1, 2)}
        sides |= {f"Transform, {count}": partial(_transform, setting, work, data, count) for count in (1, 2)}
        samples = interleave(sides, setting.repeats, setting.report)
    return Measured(
        samples,
        {
            "ingest": ratio(walls(samples["ingest, 1"]), walls(samples["ingest, 2"])),
            "Transform": ratio(
                figures(samples["Transform, 1"], "Transform"), figures(samples["Transform, 2"], "Transform")
            ),
        },
        ("The number is that of the workers. Each worker process of Transform imports TensorFlow and TFX.",),
    )


def _workers(count: int) -> tuple[str, ...]:
    return ("beam.mode=multi_processing", f"beam.workers={count}")


def _transform(setting: Setting, work: Path, data: Path, workers: int) -> Sample:
    job = NodesJob(
        data=str(data),
        workspace=str(work / "workspace"),
        settings=(*setting.settings, *_workers(workers)),
        nodes=("ImportExampleGen", "ImportSchemaGen", "Transform"),
        fresh=("Transform",),
    )
    return run_nodes(job, work / "nodes.log")
