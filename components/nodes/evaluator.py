"""The node that judges: candidate and champion answer the same raw clips through the signature that is served.

One Beam pass collects both models' answers. From them TensorFlow Model Analysis writes its standard evaluation, which
`tfma.load_eval_result` reads, and `components.evaluation` computes the paired test, the verdict and its reasons.
"""

import io
import json
from collections.abc import Iterator
from functools import partial

import apache_beam as beam
import numpy as np
import pandas as pd
import pyarrow as pa
import tensorflow as tf
import tensorflow_model_analysis as tfma
from apache_beam.io import parquetio
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared
from etils import epath
from tfx.components.evaluator import constants
from tfx.dsl.component.experimental.annotations import BeamComponentParameter, InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts
from tfx_bsl.arrow import table_util

from components.base.errors import UserError
from components.beam.direct import direct_args
from components.evaluation.gate import judge
from components.evaluation.predictions import ScoredClips, predictions, write_predictions
from components.evaluation.results import VERDICT
from components.library.span_import import GOLDEN, RECORDS_PROPERTY
from components.library.tfrecords import compression_of
from components.nodes.artifacts import PREDICTIONS, TESTED, VERSION_PROPERTY, serving_path, split_files
from components.nodes.parameters.evaluator import EvaluatorParameters
from components.store.measuring import latency_ms, megabytes
from components.store.model_card import read_card

SPLIT = "test"
SIGNATURE = "serving_default"
_ANSWERS = "answers"
_SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("split", "track_id", "genre")]
    + [(name, pa.list_(pa.float64())) for name in ("candidate", "champion")]
)
_BATCH = 4
"""Clips that a model answers at a time: the largest, musicnn, takes 0.6 GB for 30 s."""
_MODELS = ("candidate", "champion")


class Answer(beam.DoFn):
    """Splits and serialized examples of clips -> rows with each model's probabilities."""

    def __init__(self, models: dict[str, str]) -> None:
        super().__init__()
        self._paths = models
        self._shared = Shared()

    def setup(self) -> None:
        """Loads the models, once per process."""

        def load() -> "_Loaded":
            return _Loaded({name: tf.saved_model.load(path) for name, path in self._paths.items()})

        self._models = self._shared.acquire(load).models

    def process(self, batch: list[tuple[str, bytes]]) -> Iterator[dict[str, object]]:
        """Yields a row per example: split, track_id, genre, and a list of probabilities per model."""
        strings = tf.io.FixedLenFeature([], tf.string)
        splits, serialized = zip(*batch, strict=True)
        examples = tf.constant(serialized)
        facts = tf.io.parse_example(examples, {"track_id": strings, "genre": strings})
        answers = {
            # By keyword: without, TensorFlow first writes the bytes of all clips into an error that it then drops.
            name: model.signatures[SIGNATURE](examples=examples)["probabilities"].numpy().astype(float)
            for name, model in self._models.items()
        }
        clips = zip(splits, facts["track_id"].numpy(), facts["genre"].numpy(), strict=True)
        for row, (split, track_id, genre) in enumerate(clips):
            yield {
                "split": split,
                "track_id": track_id.decode(),
                "genre": genre.decode(),
                **{name: answers[name][row].tolist() if name in answers else [] for name in _MODELS},
            }


class _Loaded:
    """A holder, because `Shared` keeps a weak reference and a dict has none."""

    def __init__(self, models: dict[str, object]) -> None:
        self.models = models


def tfma_config(models: list[str]) -> tfma.EvalConfig:
    """Lists what TensorFlow Model Analysis measures: overall and by genre, for one model or for two.

    A genre's recall is the accuracy of its slice. TFMA's own Recall with `class_id` and `top_k` is left out: it came
    out as 1 for every genre of a model that answers all clips alike.
    """
    return tfma.EvalConfig(
        model_specs=[
            tfma.ModelSpec(name=name, prediction_key=name, label_key="label", is_baseline=name == "champion")
            for name in models
        ],
        slicing_specs=[tfma.SlicingSpec(), tfma.SlicingSpec(feature_keys=["genre"])],
        metrics_specs=[
            tfma.MetricsSpec(
                metrics=[
                    tfma.MetricConfig(class_name="ExampleCount"),
                    tfma.MetricConfig(class_name="SparseCategoricalAccuracy"),
                    tfma.MetricConfig(class_name="SparseCategoricalCrossentropy"),
                    tfma.MetricConfig(class_name="MultiClassConfusionMatrixPlot"),
                ]
            ),
        ],
    )


@component(use_beam=True)
def GateEvaluator(  # noqa: N802 (the name of a node)
    held_out: InputArtifact[standard_artifacts.Examples],
    model: InputArtifact[standard_artifacts.Model],
    champion: InputArtifact[standard_artifacts.Model],
    evaluation: OutputArtifact[standard_artifacts.ModelEvaluation],
    blessing: OutputArtifact[standard_artifacts.ModelBlessing],
    parameters: Parameter[str],
    beam_pipeline: BeamComponentParameter[beam.Pipeline] = None,
) -> None:
    """Measures candidate and champion on raw clips that neither was trained on, and blesses or refuses the candidate.

    Args:
      held_out: raw examples: splits `test` and `joined`, and split `golden` where that is another span's.
      model: the candidate.
      champion: the served model; left empty by `Champion` before the first push.
      evaluation: TFMA's results on the test clips, `verdict.json` and `predictions.csv`.
      blessing: decides whether StorePusher pushes.
      parameters: `EvaluatorParameters`, JSON.
      beam_pipeline: given by TFX.

    Raises:
      UserError: a split has no clips, or what `judge` raises.
    """
    known = EvaluatorParameters.model_validate_json(parameters)
    models = {"candidate": serving_path(model)}
    version = champion.get_int_custom_property(VERSION_PROPERTY)
    note = why_incomparable(serving_path(champion), serving_path(model)) if version else ""
    if version and not note:
        models["champion"] = serving_path(champion)
    golden_is_test = (known.golden_span,) == known.tested
    spans = {SPLIT: known.tested}
    if known.golden_span is not None and not golden_is_test:
        spans[GOLDEN] = (known.golden_span,)
    there = set(artifact_utils.decode_split_names(held_out.split_names))
    read = {split: GOLDEN if split == GOLDEN else SPLIT for split in dict.fromkeys((*TESTED, *spans)) if split in there}
    table = _answers(held_out, read, models, evaluation.uri, beam_pipeline)
    table["label"] = [known.genres.index(genre) for genre in table["genre"]]

    def of(split: str) -> ScoredClips:
        rows = table[table["split"] == split]
        if rows.empty:
            raise UserError(
                f"{held_out.uri}: split {split} has no clips to judge the model on; they are those of split test of "
                f"span {', '.join(map(str, spans[split]))}. Ingest it again, or choose another."
            )
        chances = {name: np.stack(rows[name].to_list()) for name in models}
        return ScoredClips(
            track_ids=rows["track_id"].to_list(),
            truth=rows["label"].to_numpy(),
            candidate=chances["candidate"],
            champion=(str(version), chances["champion"]) if "champion" in chances else None,
            split=split,
            span=spans[split][-1],
            joined=spans[split][:-1],
        )

    answers = {split: of(split) for split in spans}
    candidate = tf.saved_model.load(models["candidate"])
    files = split_files(held_out, TESTED)
    [example] = tf.data.TFRecordDataset(files, compression_of(files)).take(1).as_numpy_iterator()
    verdict = judge(
        known.gate,
        known.genres,
        answers[SPLIT],
        answers[SPLIT] if golden_is_test else answers.get(GOLDEN),
        latency_ms=latency_ms(partial(candidate.signatures[SIGNATURE], examples=tf.constant([example]))),
        megabytes=megabytes(models["candidate"]),
        best=known.best,
        note="; ".join(filter(None, (_small(known), note))),
    )
    directory = epath.Path(evaluation.uri)
    (directory / VERDICT).write_text(verdict.model_dump_json(indent=2))
    rows = [row for each in answers.values() for row in predictions(known.genres, each)]
    write_predictions(directory / PREDICTIONS, known.genres, rows)
    _write_tfma(table[table["split"] == SPLIT], list(models), evaluation.uri)

    blessing.set_string_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_URI_KEY, model.uri)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_CURRENT_MODEL_ID_KEY, model.id)
    blessing.set_int_custom_property(constants.ARTIFACT_PROPERTY_BLESSED_KEY, int(verdict.blessed))
    name = constants.BLESSED_FILE_NAME if verdict.blessed else constants.NOT_BLESSED_FILE_NAME
    outcome = epath.Path(blessing.uri)
    outcome.mkdir(parents=True, exist_ok=True)  # not every backend has made it
    (outcome / name).write_text("\n".join(verdict.reasons))


def _answers(
    held_out: standard_artifacts.Examples,
    splits: dict[str, str],
    models: dict[str, str],
    directory: str,
    pipeline: beam.Pipeline,
) -> pd.DataFrame:
    """Collects the answers of `models` to the clips of `splits`, in one Beam pass; a row per clip, see `Answer`.

    Args:
      splits: the name that each split has in the rows.

    Raises:
      UserError: Beam lost clips, or answered some twice.
    """
    with pipeline:
        _ = (
            pipeline
            | beam.Create([(name, file) for split, name in splits.items() for file in split_files(held_out, (split,))])
            | beam.Reshuffle()
            | "Read" >> beam.FlatMapTuple(_batches)
            | "Answer" >> beam.ParDo(Answer(models))
            | "Write" >> parquetio.WriteToParquet(f"{directory}/{_ANSWERS}", _SCHEMA, file_name_suffix=".parquet")
        )
    # pandas would ask for libraries of its own to read a bucket.
    parts = list(epath.Path(directory).glob(f"{_ANSWERS}-*"))
    table = pd.concat(pd.read_parquet(io.BytesIO(part.read_bytes())) for part in parts)
    for part in parts:
        part.unlink()
    # In one order, whichever file came first: in another one, sums differ in their last digits.
    table = table.sort_values(["split", "track_id"], ignore_index=True)
    records = json.loads(held_out.get_string_custom_property(RECORDS_PROPERTY) or "{}")
    expected = sum(records[split] for split in splits) if records else len(table)
    if len(table) != expected or table.duplicated(["split", "track_id"]).any():
        raise UserError(f"{held_out.uri}: Beam gave {len(table)} answers for {expected} clips. Start the run again.")
    return table


def _batches(split: str, file: str) -> Iterator[list[tuple[str, bytes]]]:
    """Yields the examples of a file in batches. They are the same on every runner: in others, last digits differ."""
    examples = tf.data.TFRecordDataset(file, compression_of([file])).batch(_BATCH)
    yield from ([(split, example) for example in batch] for batch in examples.as_numpy_iterator())


def _small(known: EvaluatorParameters) -> str:
    """Names the spans that judge a small newest span; empty if its own clips do."""
    if known.tested == (known.span,):
        return ""
    others = ", ".join(str(span) for span in known.tested if span != known.span)
    if known.span in known.tested:
        return f"span {known.span} is small: judged on its test clips together with those of span {others}"
    return f"span {known.span} has no test clips: judged on those of span {others}"


def why_incomparable(champion: str, candidate: str) -> str:
    """Returns why a champion cannot answer the candidate's clips, as a sentence; empty if it can."""
    theirs, ours = (read_card(epath.Path(path)).features for path in (champion, candidate))
    if theirs.genres != ours.genres:
        return f"the champion knows other genres ({', '.join(theirs.genres)}), so the two cannot be compared"
    if theirs.audio.sample_rate != ours.audio.sample_rate:
        return f"the champion takes audio at {theirs.audio.sample_rate} Hz, so the two cannot be compared"
    return ""


def _write_tfma(table: pd.DataFrame, models: list[str], output: str) -> None:
    config = tfma_config(models)
    batch = table_util.CanonicalizeRecordBatch(
        pa.RecordBatch.from_pandas(table[["genre", "label", *models]], preserve_index=False)
    )
    options = PipelineOptions(direct_args("in_memory", 1))  # a batch of numbers, not of audio
    with beam.Pipeline(options=options) as pipeline:
        _ = (
            pipeline
            | beam.Create([batch])
            | tfma.ExtractEvaluateAndWriteResults(
                eval_config=config, output_path=output, writers=tfma.default_writers(output, eval_config=config)
            )
        )
