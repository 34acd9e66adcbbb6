"""Fits every kind of model on the same clips, with the code of the DAG, and judges which should be deployed.

What is computed is kept: the representation of all clips once per representation, and the outcome of each kind on each
fold. A comparison that was stopped goes on where it was, and one that is repeated computes nothing.
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from etils import epath

from components.audio.config import FeatureConfig
from components.audio.preprocessing import AUDIO, FEATURE
from components.audio.representations import represent, to_bytes
from components.audio.waveform import decode_wavs
from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.json_records import read_record
from components.evaluation.metrics import measure, paired_outcomes
from components.library.layout import Manifest, require_verified
from components.library.tables import read_examples
from components.reporting.comparison import SIGNIFICANCE, Comparison, FoldOutcome, Row
from components.store.measuring import cpu_ms, megabytes
from components.store.model_card import ModelCard
from models.config import ModelConfig
from models.fitting.batches import Clips
from models.fitting.training import fit
from models.registry import kind_of, lacks_weights, learners, modules, weights_digest
from models.serving import GenreModel, clip_probabilities, export
from pipeline.comparing.clips import Source, Track, stored_embeddings, stored_features
from pipeline.comparing.folds import limited, make_folds
from pipeline.config.settings import PipelineConfig
from pipeline.planning.source_digest import source_digest

_BATCH = 16


class _Direct:
    """The part of the Transform graph: wav bytes to the representation as bytes."""

    def __init__(self, features: FeatureConfig) -> None:
        self._features = features

    def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        samples = decode_wavs(tf.reshape(inputs[AUDIO], [-1]), self._features.audio)
        return {FEATURE: to_bytes(represent(samples, self._features))}


def _cost(network: keras.Model, card: ModelCard, wav: bytes) -> tuple[float, float]:
    """Exports a model; returns its size in megabytes and the median milliseconds of processor time for one clip."""
    with tempfile.TemporaryDirectory() as directory:
        export(GenreModel(network, _Direct(card.features), card.features), card, directory)
        answer = tf.saved_model.load(directory).signatures["audio"]
        return megabytes(directory), cpu_ms(partial(answer, audio=tf.constant([wav])))


def _outcome(
    parts: dict[str, Clips],
    test_clips: Sequence[str],
    model: ModelConfig,
    features: FeatureConfig,
    config: PipelineConfig,
    wav: bytes | None,
    scratch: Path,
) -> FoldOutcome:
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
        [clip_probabilities(network, stored, features).numpy() for stored, _ in parts["test"].batches(_BATCH)]
    )
    card = ModelCard(
        kind=model.kind,
        parameters=history["parameters"],
        window_seconds=model.window_seconds,
        features=features,
        trained_on=history["trained_on"],
    )
    size, milliseconds = _cost(network, card, wav) if wav else (None, None)
    return FoldOutcome(
        test_clips=tuple(test_clips),
        probabilities=tuple(tuple(map(float, row)) for row in probabilities),
        train_accuracy=history["train_accuracy"],
        validation_accuracy=history["validation_accuracy"],
        seconds=history["cpu_seconds"],
        megabytes=size,
        milliseconds=milliseconds,
    )


def compare_models(
    config: PipelineConfig,
    data: Path,
    window: Sequence[Manifest],
    models: dict[str, tuple[ModelConfig, FeatureConfig]],
    folds_column: str | None,
    clips_per_genre: int | None,
    cache: Path,
    report: Callable[[str], None],
    track: Track,
) -> Comparison:
    """Fits and judges every model on every fold.

    Args:
      config: the whole configuration; of its model only what `models` leaves open.
      data: root of the library.
      window: the spans whose clips are used.
      models: settings and features by kind.
      folds_column: column of tracks.csv to cross-validate over; None: the library's split.
      clips_per_genre: most clips of a genre to learn from; None: all.
      cache: where outcomes are kept.
      report: called with a line per step.
      track: shows the progress of what is computed once for all folds.

    Raises:
      UserError: the files of a span are not as its manifest says, or a split has no clips.
    """
    for manifest in window:
        require_verified(epath.Path(data), manifest.span)
    listed = {
        (manifest.span, row["track_id"]): row for manifest in window for row in read_examples(data, manifest.span)
    }
    source = Source(data, tuple(window), tuple(sorted(listed)))
    tracks = [listed[clip] for clip in source.clips]
    genres = next(iter(models.values()))[1].genres
    labels = np.array([genres.index(row["genre"]) for row in tracks], np.int64)
    _, groups = np.unique([row["artist"] for row in tracks], return_inverse=True)
    folds = make_folds(tracks, folds_column)
    if clips_per_genre is not None:
        folds = [limited(fold, labels, clips_per_genre) for fold in folds]
    wav = next(source.read_wavs())[1]
    outcomes: dict[str, list[FoldOutcome]] = {}
    left_out: dict[str, str] = {}
    for kind, (model, features) in models.items():
        code = source_digest("models.fitting.training", *modules(model)) + weights_digest(model)
        for fold in folds:
            digests = [manifest.digest for manifest in window]
            sections = [model.model_dump(), features.model_dump(), config.train.model_dump(), digests, code]
            members = {split: [source.clips[index] for index in part] for split, part in fold.parts.items()}
            key = hashlib.sha256(json.dumps([sections, members], sort_keys=True).encode()).hexdigest()[:16]
            kept, scratch = cache / f"{kind}-{fold.name}-{key}.json", cache / f"{kind}-{fold.name}-{key}"
            if kept.exists():
                outcome, how = read_record(epath.Path(kept), FoldOutcome, "Remove it: it is computed again."), "kept"
            else:
                try:
                    table = stored_features(source, features, cache, track)
                    embeddings = {
                        name: stored_embeddings(stored_features(source, seen, cache, track), member, seen, cache, track)
                        for name, (member, seen) in learners(model, features).items()
                        if kind_of(member).family == "transfer" and not lacks_weights(member)
                    }
                    clips = Clips.of(table, labels, groups, embeddings)
                    parts = {split: clips.at(indices) for split, indices in fold.parts.items()}
                    # Size and speed are those of the first fold: an export takes longer than the fit of many a kind.
                    tested = [track_id for _, track_id in members["test"]]
                    outcome = _outcome(
                        parts, tested, model, features, config, wav if fold is folds[0] else None, scratch
                    )
                except UserError as error:
                    left_out[kind] = str(error)
                    report(f"{kind}: left out: {error}")
                    break
                write_atomically(epath.Path(kept), outcome.model_dump_json())
                shutil.rmtree(scratch, ignore_errors=True)
                how = f"{outcome.seconds:.0f} CPU s"
            outcomes.setdefault(kind, []).append(outcome)
            right = np.array(outcome.probabilities).argmax(1) == labels[fold.parts["test"]]
            report(f"{kind:<20} fold {fold.name:<8} {right.mean():6.1%}  ({how})")
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
    """Adjusts p-values for several tests, by Holm's step-down method (Holm 1979); keys stay."""
    adjusted, highest = {}, 0.0
    for rank, (key, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        adjusted[key] = highest
    return adjusted


def _rows(
    genres: tuple[str, ...], truth: np.ndarray, sizes: list[int], outcomes: dict[str, list[FoldOutcome]]
) -> tuple[Row, ...]:
    probabilities = {kind: np.concatenate([fold.probabilities for fold in folds]) for kind, folds in outcomes.items()}
    right = {kind: values.argmax(1) == truth for kind, values in probabilities.items()}
    kinds = sorted(outcomes, key=lambda kind: (-right[kind].mean(), kind))
    pairs = {
        (a, b): paired_outcomes(right[a], right[b]).p_different for i, a in enumerate(kinds) for b in kinds[i + 1 :]
    }
    significant = {pair for pair, p in holm(pairs).items() if p < SIGNIFICANCE}

    def mean(kind: str, name: str) -> float:
        values = [getattr(fold, name) for fold in outcomes[kind]]
        return float(np.mean([value for value in values if value is not None]))

    return tuple(
        Row(
            kind=kind,
            metrics=measure(genres, truth, probabilities[kind]),
            fold_accuracies=tuple(float(part.mean()) for part in np.split(right[kind], np.cumsum(sizes)[:-1])),
            better_than=tuple(other for other in kinds if (kind, other) in significant),
            **{
                name: mean(kind, name)
                for name in ("train_accuracy", "validation_accuracy", "seconds", "megabytes", "milliseconds")
            },
        )
        for kind in kinds
    )
