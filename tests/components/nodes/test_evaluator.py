"""The node that judges, run as TFX runs it, with models that give every clip the same answer."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
import tensorflow as tf
import tensorflow_model_analysis as tfma
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.types import artifact_utils, standard_artifacts

from components.base.errors import UserError
from components.beam.config import BeamConfig
from components.beam.options import beam_args
from components.evaluation.config import GateConfig
from components.evaluation.results import VERDICT, Predecessor, Verdict
from components.library.span_import import RECORDS_PROPERTY
from components.library.tfrecords import encode_example
from components.nodes.artifacts import PREDICTIONS, VERSION_PROPERTY
from components.nodes.evaluator import GateEvaluator
from components.nodes.parameters.evaluator import EvaluatorParameters

GENRES = ("folk", "rock")
SaveModel = Callable[..., Path]


@pytest.fixture(scope="module")
def models(save_model: SaveModel, tmp_path_factory: pytest.TempPathFactory) -> dict[str, standard_artifacts.Model]:
    """A candidate to which everything is rock, and version 4, the champion, to which everything is folk."""
    found = {}
    for name, probabilities in (("model", (0.25, 0.75)), ("champion", (0.75, 0.25))):
        root = tmp_path_factory.mktemp(name)
        save_model(root / "Format-Serving", probabilities=probabilities)
        found[name] = standard_artifacts.Model()
        found[name].uri = str(root)
    found["champion"].set_int_custom_property(VERSION_PROPERTY, 4)
    return found


@pytest.fixture
def held_out(tmp_path: Path) -> Callable[..., standard_artifacts.Examples]:
    """Makes an artifact with so many clips of folk and of rock in each split, in two files, the first of them empty."""

    def make(**splits: tuple[int, int]) -> standard_artifacts.Examples:
        splits = {"joined": (0, 0), **splits}
        artifact = standard_artifacts.Examples()
        artifact.uri = str(tmp_path / "held_out")
        artifact.split_names = artifact_utils.encode_split_names(list(splits))
        for split, counts in splits.items():
            directory = tmp_path / "held_out" / f"Split-{split}"
            directory.mkdir(parents=True)
            genres = [genre for genre, count in zip(GENRES, counts, strict=True) for _ in range(count)]
            for file, content in enumerate(([], genres)):
                with tf.io.TFRecordWriter(str(directory / f"part-{file:05d}-of-00002.gz"), "GZIP") as out:
                    for index, genre in enumerate(content):
                        facts = {"track_id": f"{split}-{index:03d}".encode(), "genre": genre.encode()}
                        out.write(encode_example({**facts, "audio": b"wav"}))
        return artifact

    return make


@pytest.fixture
def judged(models: dict[str, standard_artifacts.Model], tmp_path: Path) -> Callable[..., SimpleNamespace]:
    """Runs the node; returns its verdict, its blessing and its predictions."""

    def run(
        held_out: standard_artifacts.Examples,
        gate: GateConfig = GateConfig(min_accuracy=0.0),  # noqa: B008 (frozen)
        span: int = 5,
        golden_span: int | None = 1,
        tested: tuple[int, ...] = (),
        best: Predecessor | None = None,
    ) -> SimpleNamespace:
        evaluation, blessing = standard_artifacts.ModelEvaluation(), standard_artifacts.ModelBlessing()
        evaluation.uri, blessing.uri = str(tmp_path / "evaluation"), str(tmp_path / "blessing")
        (tmp_path / "evaluation").mkdir()
        (tmp_path / "scratch").mkdir()
        context = BaseBeamExecutor.Context(
            beam_pipeline_args=beam_args(BeamConfig(mode="in_memory")), tmp_dir=str(tmp_path / "scratch"), unique_id="1"
        )
        parameters = EvaluatorParameters(
            genres=tuple(GENRES),
            gate=gate,
            span=span,
            tested=tested or (span,),
            golden_span=golden_span,
            best=best,
            code="",
        )
        GateEvaluator.EXECUTOR_SPEC.executor_class(context).Do(
            {"held_out": [held_out], **{name: [model] for name, model in models.items()}},
            {"evaluation": [evaluation], "blessing": [blessing]},
            {"parameters": parameters.model_dump_json()},
        )
        with (tmp_path / "evaluation" / PREDICTIONS).open(newline="") as file:
            predictions = list(csv.DictReader(file))
        verdict = Verdict.model_validate_json((tmp_path / "evaluation" / VERDICT).read_text())
        [outcome] = (tmp_path / "blessing").iterdir()
        left = [path.name for path in (tmp_path / "evaluation").glob("answers*")]
        return SimpleNamespace(
            verdict=verdict, outcome=outcome, predictions=predictions, left=left, evaluation=evaluation.uri
        )

    return run


def test_better_on_test_but_worse_on_golden_is_refused(
    held_out: Callable, judged: Callable, models: dict[str, standard_artifacts.Model]
) -> None:
    examples = held_out(test=(2, 10), eval=(1, 1), window=(0, 0), golden=(12, 3))
    best = Predecessor(version=2, clips="other", right="1" * 15)
    found = judged(examples, best=best)
    verdict = found.verdict
    [worse, incomparable] = verdict.reasons
    assert worse.startswith("significantly worse than version 4 on the golden clips of span 1: wrong on 12 clips")
    assert incomparable.endswith("the best before it on the golden set: the golden set has other clips now")
    assert (found.outcome.name, found.outcome.read_text()) == ("NOT_BLESSED", "\n".join(verdict.reasons))
    assert [(each.split, each.span, each.candidate.clips) for each in verdict.sets] == [
        ("test", 5, 12),
        ("golden", 1, 15),
    ]
    assert [each.candidate.accuracy for each in verdict.sets] == [10 / 12, 3 / 15]
    assert verdict.golden.outcomes.right == "0" * 12 + "1" * 3
    assert (verdict.best.version, verdict.best.accuracy) == (4, 12 / 15)
    assert [(row["split"], row["track_id"]) for row in found.predictions] == [
        *(("golden", f"golden-{index:03d}") for index in range(15)),
        *(("test", f"test-{index:03d}") for index in range(12)),
    ]
    assert found.left == []
    standard = tfma.load_eval_result(found.evaluation, model_name="candidate").get_metrics_for_slice()
    assert standard["example_count"]["doubleValue"] == 12, "TFMA's are of the test clips alone"
    assert standard["sparse_categorical_accuracy"]["doubleValue"] == pytest.approx(10 / 12)
    files = [path for path in Path(models["model"].uri, "Format-Serving").rglob("*") if path.is_file()]
    assert verdict.megabytes == sum(path.stat().st_size for path in files) / 1e6


def test_a_limit_of_the_latency_that_no_model_keeps(held_out: Callable, judged: Callable) -> None:
    found = judged(held_out(test=(2, 10), golden=(0, 0)), GateConfig(max_latency_ms=0.001), span=1, golden_span=1)
    verdict = found.verdict
    assert verdict.latency_ms > 0.001
    assert len(verdict.reasons) == 1 and "exceeds the limit gate.max_latency_ms 0.001" in verdict.reasons[0]
    assert verdict.golden is None and verdict.on_golden is verdict


def test_there_may_be_no_golden_set(held_out: Callable, judged: Callable) -> None:
    found = judged(held_out(test=(2, 10)), golden_span=None)
    assert found.outcome.name == "BLESSED"
    assert found.verdict.on_golden is None and found.verdict.span == 5
    assert found.verdict.reasons[-1].startswith("significantly better than version 4 on the test clips of span 5: ")


def test_a_span_without_test_clips_is_judged_on_those_of_the_span_before_it(
    held_out: Callable, judged: Callable
) -> None:
    found = judged(held_out(test=(0, 0), joined=(0, 12), golden=(0, 4)), span=5, tested=(4,))
    assert found.verdict.clips_text == "12 test clips of span 4"
    assert found.verdict.reasons[-1] == "span 5 has no test clips: judged on those of span 4"
    assert found.verdict.candidate.untested == ("folk",)


def test_a_small_span_is_judged_together_with_the_span_before_it(held_out: Callable, judged: Callable) -> None:
    found = judged(held_out(test=(1, 2), joined=(3, 9), golden=(1, 4)), span=5, tested=(4, 5), golden_span=4)
    assert found.verdict.clips_text == "15 test clips of spans 4, 5"
    assert "small: judged on its test clips together with those of span 4" in found.verdict.reasons[-1]
    assert found.verdict.golden.clips_text == "5 golden clips of span 4"


@pytest.mark.parametrize("splits", [{"test": (1, 1), "golden": (0, 0)}, {"test": (1, 1)}])
def test_a_golden_set_without_clips_is_an_error(
    held_out: Callable, judged: Callable, splits: dict[str, tuple[int, int]]
) -> None:
    with pytest.raises(UserError, match=r"split golden has no clips .* of span 1"):
        judged(held_out(**splits))


def test_a_clip_without_an_answer_stops_the_run(held_out: Callable, judged: Callable) -> None:
    clips = held_out(test=(4, 4), golden=(2, 3))
    clips.set_string_custom_property(RECORDS_PROPERTY, json.dumps({"test": 8, "golden": 6, "joined": 0}))
    with pytest.raises(UserError, match="Beam gave 13 answers for 14 clips"):
        judged(clips)
