"""GateEvaluator on the test split, against Transform on as many clips."""

from functools import partial

from bench.harness import music
from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, figures, interleave, ratio
from bench.peers.nodes import PREPARATION, NodesJob, run_nodes

_EVALUATION = (*PREPARATION, "HeldOutExampleGen", "Trainer", "Champion", "GateEvaluator")


def measure(setting: Setting) -> Measured:
    """Times each node alone in a process, after the rest of the DAG; there is a champion to compare with."""
    table = setting.library(music.HALF_TEST)
    with setting.workplace() as work:
        setting.ingest(table, work / "data")

        def job(workspace: str, seed: int, nodes: tuple[str, ...] | None, fresh: tuple[str, ...]) -> Sample:
            settings = (*setting.settings, "train.epochs=1", f"train.seed={seed}")
            asked = NodesJob(
                data=str(work / "data"), workspace=str(work / workspace), settings=settings, nodes=nodes, fresh=fresh
            )
            return run_nodes(asked, work / "nodes.log")

        job("judging", 1, None, ())  # pushes a champion
        job("judging", 2, _EVALUATION, ())
        job("transforming", 2, PREPARATION, ())
        sides = {
            "GateEvaluator": partial(job, "judging", 2, _EVALUATION, ("GateEvaluator",)),
            # In another workspace: new features would make the Trainer train again.
            "Transform": partial(job, "transforming", 2, PREPARATION, ("Transform",)),
        }
        samples = interleave(sides, setting.repeats, setting.report)
    return Measured(
        samples,
        {"evaluation": ratio(*(figures(samples[node], node) for node in sides))},
        ("GateEvaluator runs two models, the candidate and the champion, and starts from the wav bytes.",),
    )
