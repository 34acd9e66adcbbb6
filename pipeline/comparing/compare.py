"""Which model should be deployed? Every kind fitted and judged on the same clips, with the code of the DAG.

What is computed is kept: the representation of all clips once per representation, and the outcome of each kind on each
fold. A comparison that is stopped goes on where it was, and one that is repeated computes nothing.
"""

import csv
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from etils import epath

from components.audio.config import FeatureConfig
from components.audio.preprocessing import AUDIO, FEATURE
from components.audio.representations import feature_shape, represent, representation_of, to_bytes
from components.audio.waveform import decode_wavs
from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.json_records import read_record
from components.evaluation.metrics import measure, paired_outcomes
from components.library.layout import SPLITS, Manifest, span_dir
from components.reporting.comparison import SIGNIFICANCE, Comparison, FoldOutcome, Row
from components.store.model_card import ModelCard
from models.config import ModelConfig
from models.fitting.batches import Clips
from models.fitting.training import fit
from models.registry import kind_of, weights_digest
from models.serving import GenreModel, clip_probabilities, export
from pipeline.config.settings import PipelineConfig
from pipeline.planning.source_digest import source_digest

_BATCH = 16


_TIMED_CLIPS = 20


@dataclass(frozen=True)
class Fold:
    """Which clips are for what."""

    name: str
    parts: dict[str, np.ndarray]
    """Indices of clips, by split."""


def make_folds(tracks: Sequence[dict[str, str]], column: str | None) -> list[Fold]:
    """The library's own split; or, for each value of a column, that value as test and the one before as validation.

    Raises:
      UserError: no such column, or fewer than three values in it.
    """
    if column is None:
        given = np.array([row["split"] for row in tracks])
        return [Fold("test", {split: np.flatnonzero(given == split) for split in SPLITS})]
    if column not in tracks[0]:
        raise UserError(f"--folds {column}: no such column in tracks.csv; there are {', '.join(tracks[0])}")
    given = np.array([row[column] for row in tracks])
    values = sorted(set(given) - {""})
    if len(values) < 3:
        raise UserError(
            f"--folds {column}: {len(values)} values, where three or more are needed to train, validate and test"
        )
    folds = []
    for index, value in enumerate(values):
        test, validation = given == value, given == values[index - 1]
        parts = {"train": ~(test | validation) & (given != ""), "eval": validation, "test": test}
        folds.append(Fold(value, {split: np.flatnonzero(mask) for split, mask in parts.items()}))
    return folds


def read_tracks(root: Path, span: int) -> list[dict[str, str]]:
    """Rows of the span's tracks.csv, sorted by track id."""
    with (span_dir(root, span) / "tracks.csv").open(encoding="utf-8", newline="") as file:
        return sorted(csv.DictReader(file), key=lambda row: row["track_id"])


def _wavs(root: Path, span: int) -> Iterator[tuple[str, bytes]]:
    files = sorted(str(path) for path in span_dir(root, span).glob("*/*.tfrecord"))
    strings = tf.io.FixedLenFeature([], tf.string)
    for record in tf.data.TFRecordDataset(files):
        example = tf.io.parse_single_example(record, {"track_id": strings, AUDIO: strings})
        yield example["track_id"].numpy().decode(), example[AUDIO].numpy()


def stored_features(
    root: Path, manifest: Manifest, track_ids: Sequence[str], features: FeatureConfig, cache: Path
) -> np.ndarray:
    """The representation of every clip, computed once and kept on disk.

    Returns:
      A memory map [clips, *feature_shape] of the stored type, in the order of `track_ids`.
    """
    key = json.dumps([manifest.digest, features.model_dump(), source_digest("components.audio.preprocessing")])
    path = cache / f"features-{features.representation}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.npy"
    if not path.exists():
        cache.mkdir(parents=True, exist_ok=True)
        place = {track_id: index for index, track_id in enumerate(track_ids)}
        partial = path.with_suffix(".partial")
        shape = (len(track_ids), *feature_shape(features))
        table = np.lib.format.open_memmap(partial, "w+", representation_of(features).dtype.as_numpy_dtype, shape)
        compute = tf.function(
            lambda wavs: represent(decode_wavs(wavs, features.audio), features),
            input_signature=[tf.TensorSpec([None], tf.string)],
        )
        waiting: list[tuple[str, bytes]] = []

        def flush() -> None:
            values = compute(tf.constant([wav for _, wav in waiting])).numpy()
            table[[place[track_id] for track_id, _ in waiting]] = values
            waiting.clear()

        for item in _wavs(root, manifest.span):
            waiting.append(item)
            if len(waiting) == _BATCH:
                flush()
        if waiting:
            flush()
        table.flush()
        partial.rename(path)
    return np.load(path, mmap_mode="r")


def _clips(table: np.ndarray, labels: np.ndarray, indices: np.ndarray) -> Clips:
    def rows() -> Iterator[tuple[np.ndarray, np.int64]]:
        for index in indices:
            yield table[index], labels[index]

    spec = (tf.TensorSpec(table.shape[1:], table.dtype), tf.TensorSpec([], tf.int64))
    dataset = tf.data.Dataset.from_generator(rows, output_signature=spec)
    return Clips(dataset.apply(tf.data.experimental.assert_cardinality(len(indices))), labels[indices])


class _Direct(tf.Module):
    """What the Transform graph is to the DAG: wav bytes to the representation as bytes."""

    def __init__(self, features: FeatureConfig) -> None:
        super().__init__()
        self._features = features

    def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        samples = decode_wavs(tf.reshape(inputs[AUDIO], [-1]), self._features.audio)
        return {FEATURE: to_bytes(represent(samples, self._features))}


def _served(network: object, card: ModelCard, wav: bytes) -> tuple[float, float]:
    """Megabytes of the exported model, and median milliseconds for one clip."""
    with tempfile.TemporaryDirectory() as directory:
        export(GenreModel(network, _Direct(card.features), card.features), card, directory)
        size = sum(path.stat().st_size for path in Path(directory).rglob("*") if path.is_file())
        answer = tf.saved_model.load(directory).signatures["audio"]
        answer(audio=tf.constant([wav]))
        seconds = []
        for _ in range(_TIMED_CLIPS):
            start = time.perf_counter()
            answer(audio=tf.constant([wav]))
            seconds.append(time.perf_counter() - start)
    return size / 1e6, 1000 * float(np.median(seconds))


def _outcome(
    table: np.ndarray,
    labels: np.ndarray,
    track_ids: Sequence[str],
    fold: Fold,
    model: ModelConfig,
    features: FeatureConfig,
    config: PipelineConfig,
    wav: bytes,
    scratch: Path,
) -> FoldOutcome:
    parts = {split: _clips(table, labels, indices) for split, indices in fold.parts.items()}
    network, history = fit(
        parts["train"],
        parts["eval"],
        model,
        features,
        config.train,
        str(scratch / "logs"),
        str(scratch / "checkpoints"),
    )
    probabilities = np.concatenate(
        [clip_probabilities(network, stored, features).numpy() for stored, _ in parts["test"].dataset.batch(_BATCH)]
    )
    card = ModelCard(
        kind=model.kind, parameters=history["parameters"], window_seconds=model.window_seconds, features=features
    )
    megabytes, milliseconds = _served(network, card, wav)
    return FoldOutcome(
        test_clips=tuple(track_ids[index] for index in fold.parts["test"]),
        probabilities=tuple(tuple(map(float, row)) for row in probabilities),
        train_accuracy=history["train_accuracy"],
        validation_accuracy=history["validation_accuracy"],
        seconds=history["seconds"],
        megabytes=megabytes,
        milliseconds=milliseconds,
    )


def compare_models(
    config: PipelineConfig,
    data: Path,
    manifest: Manifest,
    models: dict[str, tuple[ModelConfig, FeatureConfig]],
    folds_column: str | None,
    cache: Path,
    tell: Callable[[str], None],
) -> Comparison:
    """Fits and judges every model on every fold.

    Args:
      config: for everything but the model.
      data: root of the library.
      manifest: the span whose clips are used.
      models: settings and features by kind.
      folds_column: column of tracks.csv to cross-validate over; None: the library's split.
      cache: where outcomes are kept.
      tell: called with a line per step.
    """
    tracks = read_tracks(data, manifest.span)
    track_ids = [row["track_id"] for row in tracks]
    folds = make_folds(tracks, folds_column)
    genres = next(iter(models.values()))[1].genres
    labels = np.array([genres.index(row["genre"]) for row in tracks], np.int64)
    wav = next(_wavs(data, manifest.span))[1]
    outcomes: dict[str, list[FoldOutcome]] = {}
    left_out: dict[str, str] = {}
    for kind, (model, features) in models.items():
        source = source_digest("models.fitting.training", kind_of(model).module) + weights_digest(model)
        for fold in folds:
            sections = [model.model_dump(), features.model_dump(), config.train.model_dump(), manifest.digest, source]
            members = {split: [track_ids[index] for index in part] for split, part in fold.parts.items()}
            key = hashlib.sha256(json.dumps([sections, members], sort_keys=True).encode()).hexdigest()[:16]
            kept, scratch = cache / f"{kind}-{fold.name}-{key}.json", cache / f"{kind}-{fold.name}-{key}"
            if kept.exists():
                outcome, how = read_record(epath.Path(kept), FoldOutcome, "Remove it: it is computed again."), "kept"
            else:
                try:
                    table = stored_features(data, manifest, track_ids, features, cache)
                    outcome = _outcome(table, labels, track_ids, fold, model, features, config, wav, scratch)
                except UserError as error:
                    left_out[kind] = str(error)
                    tell(f"{kind}: left out: {error}")
                    break
                write_atomically(epath.Path(kept), outcome.model_dump_json())
                shutil.rmtree(scratch, ignore_errors=True)
                how = f"{outcome.seconds:.0f} s"
            outcomes.setdefault(kind, []).append(outcome)
            right = np.array(outcome.probabilities).argmax(1) == labels[fold.parts["test"]]
            tell(f"{kind:<20} fold {fold.name:<8} {right.mean():6.1%}  ({how})")
        if kind in left_out:
            outcomes.pop(kind, None)
    truth = np.concatenate([labels[fold.parts["test"]] for fold in folds])
    return Comparison(
        data=str(data),
        clips=len(truth),
        genres=genres,
        folds=tuple(fold.name for fold in folds),
        rows=_rows(genres, truth, [len(fold.parts["test"]) for fold in folds], outcomes),
        left_out=left_out,
    )


def holm(p_values: dict[tuple[str, str], float]) -> dict[tuple[str, str], float]:
    """Holm's step-down adjustment (Holm 1979) of p-values by their keys."""
    adjusted, highest = {}, 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = highest
    return adjusted


def _rows(
    genres: tuple[str, ...], truth: np.ndarray, sizes: list[int], outcomes: dict[str, list[FoldOutcome]]
) -> tuple[Row, ...]:
    said = {kind: np.concatenate([fold.probabilities for fold in folds]) for kind, folds in outcomes.items()}
    right = {kind: probabilities.argmax(1) == truth for kind, probabilities in said.items()}
    kinds = sorted(outcomes, key=lambda kind: (-right[kind].mean(), kind))
    pairs = {
        (a, b): paired_outcomes(right[a], right[b]).p_different for i, a in enumerate(kinds) for b in kinds[i + 1 :]
    }
    significant = {pair for pair, p in holm(pairs).items() if p < SIGNIFICANCE}

    def mean(kind: str, name: str) -> float:
        return float(np.mean([getattr(fold, name) for fold in outcomes[kind]]))

    return tuple(
        Row(
            kind=kind,
            metrics=measure(genres, truth, said[kind]),
            fold_accuracies=tuple(float(part.mean()) for part in np.split(right[kind], np.cumsum(sizes)[:-1])),
            better_than=tuple(other for other in kinds if (kind, other) in significant),
            **{
                name: mean(kind, name)
                for name in ("train_accuracy", "validation_accuracy", "seconds", "megabytes", "milliseconds")
            },
        )
        for kind in kinds
    )
