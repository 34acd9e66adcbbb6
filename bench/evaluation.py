"""GateEvaluator on the test split, against Transform on as many clips."""

from collections.abc import Iterator
from itertools import cycle

from bench import music
from bench.nodes import NodesJob, run_nodes
from bench.result import Measured
from bench.setting import Setting
from bench.timing import Sample, figures, interleave, ratio

_NODES = ("Transform", "GateEvaluator")


def measure(setting: Setting) -> Measured:
    """Both nodes in one process, each of them first in every other repeat; a champion is there to compare with."""
    table = setting.library(music.HALF_TEST)
    with setting.workplace() as work:
        setting.ingest(table, work / "data")

        def job(run_id: str, seed: int, nodes: tuple[str, ...] | None = None) -> Sample:
            settings = (*setting.settings, "train.epochs=1", f"train.seed={seed}")
            places = {"data": str(work / "data"), "workspace": str(work / "workspace")}
            return run_nodes(
                NodesJob(**places, settings=settings, nodes=nodes, run_id=run_id, cached=nodes is None),
                work / "nodes.log",
            )

        job("champion", 1)
        job("candidate", 2)
        orders: Iterator[tuple[str, ...]] = cycle((_NODES, _NODES[::-1]))
        samples = interleave({"ours": lambda: job("candidate", 2, next(orders))}, setting.repeats, setting.tell)
    taken = samples["ours"]
    return Measured(
        samples,
        {"evaluation": ratio(figures(taken, "GateEvaluator"), figures(taken, "Transform"))},
        ("GateEvaluator asks two models, the candidate and the champion, and starts from the wav bytes.",),
    )
