"""Wav records to features: our ExampleGen, StatisticsGen and Transform against the same nodes of a template."""

from functools import partial
from pathlib import Path

from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, figures, interleave, ratio
from bench.peers.article import run_article
from bench.peers.nodes import FEATURES, PREPARATION, NodesJob, run_nodes
from components.library.layout import read_manifest

COMPARED = ("ImportExampleGen", "StatisticsGen", "Transform")


def measure(setting: Setting) -> Measured:
    """Runs each side in a new process with an empty workspace, and compares the seconds of its nodes."""
    with setting.workplace() as work:
        data = work / "data"
        setting.ingest(setting.library(), data)
        splits = read_manifest(data, 1).splits
        transformed = splits["train"].clips + splits["eval"].clips
        sides = {
            "ours": partial(prepare, setting, work, data, "ours"),
            "stock": partial(prepare, setting, work, data, "stock"),
            # Its only fixed cost are the imports, which do not count: a few clips are enough to measure its pace.
            "article": partial(run_article, data, max(12, transformed // 4), setting.seconds, work),
        }
        samples = interleave(sides, setting.repeats, setting.report)
    ours, stock = samples["ours"], samples["stock"]
    node = figures(ours, "Transform")
    per_clip = [sample.figures["seconds"] / sample.figures["clips"] for sample in samples["article"]]
    float32 = [transformed * sample.figures["floats"] * 4 for sample in samples["article"]]
    return Measured(
        samples,
        {
            "transform": ratio(figures(stock, "Transform"), node),
            "pure": ratio(node, figures(ours, "pure")),
            "together": ratio(figures(stock, *COMPARED), figures(ours, *COMPARED)),
            "article": ratio(per_clip, [seconds / transformed for seconds in node]),
            "bytes": ratio(figures(ours, FEATURES), float32),
            "stock bytes": ratio(figures(stock, FEATURES), float32),
        },
        (f"Transform transforms {transformed} of the clips; the others are the test split.",),
    )


def prepare(setting: Setting, work: Path, data: Path, dag: str) -> Sample:
    """Runs the nodes up to Transform, of our DAG or of the stock one, in a new workspace that is then removed."""
    with setting.workplace() as fresh:
        job = NodesJob(
            dag=dag,
            data=str(data),
            workspace=str(fresh / "workspace"),
            settings=setting.settings,
            nodes=PREPARATION if dag == "ours" else None,
            pure=dag == "ours",
        )
        return run_nodes(job, work / f"{dag}.log")
