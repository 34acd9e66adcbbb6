"""The Trainer: from transformed records to an exported model. `run_fn` is TFX's entry point."""

import hashlib
import json
import logging
import posixpath
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
import tensorflow as tf
import tensorflow_transform as tft

from components.audio.combined import parts, stored_part
from components.audio.config import FeatureConfig
from components.base.errors import UserError
from components.store.model_card import HISTORY, ModelCard
from models import registry
from models.config import (
    EnsembleOptions,
    ModelConfig,
    TrainConfig,
    TrainerParameters,
    TransferOptions,
    with_hyperparameters,
)
from models.fitting.batches import Clips, read_clips, training_batches, validation_batches
from models.fitting.calibration import Calibration, calibrated, clip_probabilities, fit_calibration
from models.fitting.classical import Examples
from models.fitting.devices import seeded, synchronise_batch_norm, training_devices
from models.fitting.ensemble import choose_weights, describe, join, mean_logits, measure
from models.fitting.head import build_head, fit_head
from models.fitting.pictures import Pictures
from models.fitting.progress import Progress
from models.fitting.transfer import assemble, embedder
from models.fitting.warm_start import FRESH, Start, begin, warm_start, write_weights
from models.serving import GenreModel, export
from models.windows import all_windows, window_shape

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


VALIDATION = "the validation clips"
INNER_FOLDS = "the training and validation clips, by models of inner folds that did not learn from them"


@dataclass(frozen=True)
class _Work:
    """The arguments of `fit`, for the function of the family."""

    train: Clips
    validation: Clips
    model: ModelConfig
    features: FeatureConfig
    config: TrainConfig
    logs: str
    checkpoints: str
    start: Start


@dataclass(frozen=True)
class _Logits:
    """Logits of whole clips without augmentation, and the truth."""

    values: np.ndarray
    """float32 [clips, windows, classes]."""
    labels: np.ndarray
    """int64 [clips]."""

    def accuracy(self, calibration: Calibration) -> float:
        """Computes the share of clips that are right; with several windows the temperature counts."""
        return float(np.mean(clip_probabilities(calibration(self.values)).argmax(axis=1) == self.labels))


@dataclass(frozen=True)
class _Fitted:
    """The result of a family's function."""

    network: keras.Model
    """Model from windows to logits."""
    history: dict[str, Any]
    """Entries of the history that depend on the family."""
    learned: _Logits
    """Of the clips that the network has learned from."""
    held_out: _Logits
    """Of clips that were not learned from: the validation clips, or all, by models of the inner folds."""
    held_out_by: str
    """Where `held_out` comes from, for the history."""


def fit(
    train: Clips,
    validation: Clips,
    model: ModelConfig,
    features: FeatureConfig,
    config: TrainConfig,
    logs: str,
    checkpoints: str,
    start_from: Start = FRESH,
) -> tuple[keras.Model, dict[str, Any]]:
    """Builds, fits and calibrates the kind of model that `model` names.

    Args:
      train: clips to fit on.
      validation: clips to stop early and to calibrate on; kinds that choose by inner cross-validation fit on them, too.
      logs: directory for TensorBoard.
      checkpoints: directory with the progress of a training that was killed, which is continued; else empty.
      start_from: weights to start from.

    Returns:
      A model from a window to calibrated log-probabilities; and its history: kind, what it started from, parameters,
      strategy, seconds, cpu_seconds, best_epoch, the figures of each epoch (none of a model that is fitted in one go),
      what was chosen, what pretrained bases had learned from before (`trained_on`), temperature and doubt and the clips
      that they were found on, and the accuracies on the clips that were learned from (`train_accuracy`) and on clips
      that were held out (`validation_accuracy`).
    """
    start, busy = time.monotonic(), time.process_time()
    kind = registry.kind_of(model)
    with seeded(config.seed), training_devices(config.precision) as where:
        fitted = _fit(_Work(train, validation, model, features, config, logs, checkpoints, start_from))
    if not np.isfinite(fitted.held_out.values).all():
        raise UserError("the training diverged: its answers are no numbers. Lower train.learning_rate.")
    calibration = fit_calibration(fitted.held_out.values, fitted.held_out.labels)
    if calibration.on_bound:
        logging.warning("the logits of %s say nothing about its confidence: its probabilities are a guess", model.kind)
    history = {
        "kind": model.kind,
        "parameters": fitted.network.count_params(),
        "strategy": where if kind.family in ("network", "transfer") else "CPU",
        "best_epoch": None,
        "epochs": [],
        "chosen": {},
        "trained_on": {},
        "started_from": start_from.words,
        **fitted.history,
        "temperature": calibration.temperature,
        "temperature_on_bound": calibration.on_bound,
        "doubt": calibration.doubt,
        "held_out_by": fitted.held_out_by,
        "train_accuracy": fitted.learned.accuracy(calibration),
        "validation_accuracy": fitted.held_out.accuracy(calibration),
        "seconds": round(time.monotonic() - start, 1),
        "cpu_seconds": round(time.process_time() - busy, 1),
    }
    return calibrated(fitted.network, calibration), history


def _fit(work: _Work) -> _Fitted:
    """Fits by the function of the family."""
    match registry.kind_of(work.model).family:
        case "network":
            return _fit_network(work)
        case "transfer":
            return _fit_transfer(work)
        case "classical":
            return _fit_classical(work)
        case "ensemble":
            return _fit_ensemble(work)


def clip_logits(
    network: keras.Model, clips: Clips, features: FeatureConfig, window: int, batch_size: int
) -> np.ndarray:
    """Computes the logits of every window of every clip, float32 [clips, windows, classes]."""
    logits = np.concatenate(
        [
            network(all_windows(stored, features, window), training=False).numpy()
            for stored, _ in clips.batches(batch_size)
        ]
    )
    return logits.reshape(len(clips.labels), -1, logits.shape[-1])


def _compile(network: keras.Model, config: TrainConfig, steps: int) -> keras.Model:
    """Compiles the network, to be fitted for at most `config.epochs` of `steps` batches, and returns it."""
    synchronise_batch_norm(network)
    network.compile(
        optimizer=keras.optimizers.Adam(
            keras.optimizers.schedules.CosineDecay(config.learning_rate, steps * config.epochs, alpha=0.01)
        ),
        loss=keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=config.label_smoothing),
        metrics=[keras.metrics.CategoricalAccuracy(name="accuracy")],
        jit_compile=False,  # on a CPU, compiling by XLA takes longer than it saves
    )
    return network


def _train(
    network: keras.Model,
    batches: tf.data.Dataset,
    checks: tf.data.Dataset,
    config: TrainConfig,
    logs: str,
    checkpoints: str,
    genres: Sequence[str],
) -> dict[str, Any]:
    """Fits a compiled model, gives it the weights of its best epoch, and returns the history."""
    progress = Progress(checkpoints, config.patience)
    progress.restore_last(network)
    if not progress.finished:
        network.fit(
            batches,
            validation_data=checks,
            initial_epoch=len(progress.epochs),
            epochs=config.epochs,
            callbacks=[
                progress,
                keras.callbacks.TensorBoard(logs, write_graph=False),
                Pictures(logs, checks, genres),
            ],
            verbose=0,
        )
    progress.restore_best(network)
    return {"best_epoch": progress.best["epoch"], "epochs": progress.epochs}


def _fitted(work: _Work, network: keras.Model, history: dict[str, Any]) -> _Fitted:
    """Adds the logits of a network that was trained on windows, and stopped by the validation clips."""
    learned, held_out = (
        _Logits(
            clip_logits(network, clips, work.features, network.input_shape[1], work.config.batch_size), clips.labels
        )
        for clips in (work.train, work.validation)
    )
    return _Fitted(network, history, learned, held_out, VALIDATION)


def _fit_windows(network: keras.Model, work: _Work, config: TrainConfig, logs: str, checkpoints: str) -> dict[str, Any]:
    """Trains a network that takes windows, drawn and augmented anew at every epoch."""
    window = network.input_shape[1]
    batches = training_batches(work.train, work.features, window, config)
    checks = validation_batches(work.validation, work.features, window, config.batch_size)
    compiled = _compile(network, config, int(batches.cardinality()))
    return _train(compiled, batches, checks, config, logs, checkpoints, work.features.genres)


def _fit_network(work: _Work) -> _Fitted:
    module, options = registry.load(work.model)
    network = module.build(options, window_shape(work.model, work.features), len(work.features.genres))
    begun = begin(network, work.start)
    history = _fit_windows(network, work, work.config, work.logs, work.checkpoints)
    return _fitted(work, network, {**history, "started_from": begun})


def _fit_transfer(work: _Work) -> _Fitted:
    """Fits a head on a frozen base, whose embeddings are computed once; then the last blocks of the base, if asked."""
    module, options = registry.load(work.model)
    assert isinstance(options, TransferOptions), "the contract of the family; see models.registry"
    shape = window_shape(work.model, work.features)
    classes = len(work.features.genres)
    base = module.build_base(options, shape)
    head = build_head(base.output_shape[-1], classes)
    network = assemble(base, head)
    begun = begin(network, work.start)
    # What is trained on afterwards must not have been chosen on the clips that stop the training.
    seen = (work.train,) if options.fine_tune_blocks else (work.train, work.validation)
    embedded = np.concatenate([_embeddings(base, clips, work) for clips in seen])
    labels, groups = _labels_and_groups(seen)
    windows = embedded.shape[1]
    examples = Examples(
        embedded.reshape(-1, embedded.shape[-1]), labels.repeat(windows), groups.repeat(windows), windows
    )
    chosen = fit_head(
        head, options, module.parts(options), examples, classes, work.config.class_weights, work.config.seed
    )
    history = {"chosen": chosen.record, "trained_on": registry.trained_on(work.model)}
    if not options.fine_tune_blocks:
        learned = _Logits(_head_logits(head, embedded), labels)
        return _Fitted(network, history, learned, _judged(chosen.logits, labels), INNER_FOLDS)
    gentle = work.config.model_copy(
        update={"learning_rate": options.fine_tune_learning_rate, "epochs": options.fine_tune_epochs}
    )
    module.fine_tune(base, options)
    tuned = _fit_windows(network, work, gentle, work.logs, work.checkpoints)
    return _fitted(work, network, {**tuned, **history, "started_from": begun})


def _embeddings(base: keras.Model, clips: Clips, work: _Work) -> np.ndarray:
    """Returns the embeddings of every window, float32 [clips, windows, E]; the clips are read batch by batch."""
    known = clips.embeddings.get(work.model.kind)
    if known is not None:
        return known
    embed = embedder(base, work.features, base.input_shape[1])
    return np.concatenate([embed(stored) for stored, _ in clips.batches(work.config.batch_size)])


def _head_logits(head: keras.Model, embeddings: np.ndarray) -> np.ndarray:
    """Computes logits, float32 [clips, windows, classes], of embeddings, float32 [clips, windows, E]."""
    clips, windows, size = embeddings.shape
    return head.predict(embeddings.reshape(-1, size), verbose=0).reshape(clips, windows, -1)


def _judged(logits: np.ndarray, labels: np.ndarray) -> _Logits:
    """Returns the logits of the clips that an inner fold held out."""
    judged = np.isfinite(logits[:, 0, 0])
    return _Logits(logits[judged], labels[judged])


def _labels_and_groups(splits: Sequence[Clips]) -> np.ndarray:
    """Returns the labels and the groups of the clips of all splits, int64 [2, clips]."""
    return np.concatenate([(clips.labels, clips.groups) for clips in splits], axis=1)


def _fit_classical(work: _Work) -> _Fitted:
    module, options = registry.load(work.model)
    splits, size = (work.train, work.validation), work.config.batch_size
    x = np.concatenate([stored for clips in splits for stored, _ in clips.batches(size)])
    labels, groups = _labels_and_groups(splits)
    fitted = module.fit(options, Examples(x, labels, groups), len(work.features.genres), work.config.seed)
    logits = [clip_logits(fitted.network, clips, work.features, x.shape[1], size) for clips in splits]
    learned = _Logits(np.concatenate(logits), labels)
    history = {"chosen": fitted.record, "trained_on": {}}
    return _Fitted(fitted.network, history, learned, _judged(fitted.logits, labels), INNER_FOLDS)


def _fit_ensemble(work: _Work) -> _Fitted:
    """Fits every member by itself; their inner folds hold out the same clips, as all have the same seed and clips."""
    _, options = registry.load(work.model)
    assert isinstance(options, EnsembleOptions), "the contract of the family; see models.registry"
    learners = registry.learners(work.model, work.features)
    absent = [kind for kind, (member, _) in learners.items() if options.skip_missing and registry.lacks_weights(member)]
    if len(absent) == len(learners):
        raise UserError(
            f"model.options.members: the weights of {', '.join(absent)} are not on this machine. "
            f"Run `genre weights {' '.join(absent)}`, or name members that need none"
        )
    fitted: dict[str, _Fitted] = {}
    for kind, (member, features) in learners.items():
        if kind not in absent:
            logging.info("%s: fitting %s", work.model.kind, kind)
            fitted[kind] = _fit(_member_work(work, member, features))
    first = next(iter(fitted.values()))
    labels = first.held_out.labels
    calibrations = {kind: fit_calibration(each.held_out.values, labels) for kind, each in fitted.items()}
    held_out = {kind: calibrations[kind](each.held_out.values) for kind, each in fitted.items()}
    learned = {kind: calibrations[kind](each.learned.values) for kind, each in fitted.items()}
    weights = dict.fromkeys(fitted, 1 / len(fitted)) if options.equal else choose_weights(held_out, labels)
    mean = mean_logits(held_out, weights)
    together = measure(mean, labels)
    alone = {
        kind: {
            **each.history["chosen"],
            "temperature": calibrations[kind].temperature,
            "doubt": calibrations[kind].doubt,
        }
        for kind, each in fitted.items()
    }
    history = {
        "chosen": {
            **together,
            "weights": weights,
            "members": alone,
            "explanation": describe(weights, together, alone, absent),
        },
        "trained_on": {base: what for kind in weights for base, what in fitted[kind].history["trained_on"].items()},
    }
    networks = {kind: calibrated(fitted[kind].network, calibrations[kind]) for kind in weights}
    network = join(networks, weights, work.features, work.model.kind)
    return _Fitted(
        network,
        history,
        _Logits(mean_logits(learned, weights), first.learned.labels),
        _Logits(mean, labels),
        INNER_FOLDS,
    )


def _member_work(work: _Work, model: ModelConfig, features: FeatureConfig) -> _Work:
    """Returns the work of a member, which sees only its part of the representation `combined`."""
    part = parts(work.features)[features.representation]

    def seen(clips: Clips) -> Clips:
        return replace(clips, read=lambda places: stored_part(clips.read(places), part))

    return replace(
        work, train=seen(work.train), validation=seen(work.validation), model=model, features=features, start=FRESH
    )


def run_fn(fn_args: "FnArgs") -> None:
    """Fits on the transformed `train` split, stops early on `eval`, and exports the model: TFX's entry point.

    `fn_args.custom_config` is `TrainerParameters`, as JSON's dicts and lists.
    """
    known = TrainerParameters.model_validate_json(json.dumps(fn_args.custom_config))
    features, model, config = known.features, known.model, known.train
    if fn_args.hyperparameters:  # what the Tuner node found
        config = with_hyperparameters(config, fn_args.hyperparameters["values"])
    train, validation = (
        read_clips(tf.io.gfile.glob(patterns), features, config.cache_megabytes)
        for patterns in (fn_args.train_files, fn_args.eval_files)
    )
    same_work = json.dumps(
        [
            fn_args.custom_config,
            fn_args.hyperparameters,
            fn_args.train_files,
            fn_args.eval_files,
            config.warm_start and fn_args.base_model,
        ],
        sort_keys=True,
    )
    name = hashlib.sha256(same_work.encode()).hexdigest()[:16]
    checkpoints = posixpath.join(known.checkpoints, name)
    start = warm_start(fn_args.base_model, model, features) if config.warm_start else FRESH
    logs = posixpath.join(fn_args.model_run_dir, "logs")
    network, history = fit(train, validation, model, features, config, logs, checkpoints, start)
    network.save_weights(posixpath.join(fn_args.model_run_dir, "best.weights.h5"))
    with tf.io.gfile.GFile(posixpath.join(fn_args.model_run_dir, HISTORY), "w") as file:
        file.write(json.dumps(history, indent=2))
    transform = tft.TFTransformOutput(fn_args.transform_output).transform_features_layer().call
    card = ModelCard(
        kind=model.kind,
        parameters=network.count_params(),
        window_seconds=model.window_seconds,
        features=features,
        trained_on=history["trained_on"],
    )
    export(GenreModel(network, transform, features), card, fn_args.serving_model_dir)
    if config.warm_start:
        write_weights(network, model, fn_args.serving_model_dir)
    if tf.io.gfile.exists(checkpoints):
        tf.io.gfile.rmtree(checkpoints)
