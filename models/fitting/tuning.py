"""Hyper-parameter search for trained kinds: KerasTuner in TFX's Tuner node. `tuner_fn` is the node's entry point.

A classical kind needs no search: it chooses its hyper-parameters on the validation clips whenever it is fitted.
"""

import json
import posixpath
from typing import TYPE_CHECKING, Any

import keras_tuner
import tensorflow as tf
from tfx.components.tuner.component import TunerFnResult

from models.config import TrainConfig, with_hyperparameters
from models.fitting.batches import read_clips
from models.fitting.training import fit
from models.fitting.tuning_config import TunerParameters

if TYPE_CHECKING:
    from tfx.components.trainer.fn_args_utils import FnArgs


def draw(space: keras_tuner.HyperParameters, config: TrainConfig) -> TrainConfig:
    """Returns `config` with the searched settings drawn from `space`."""
    values = {
        "learning_rate": space.Float("learning_rate", 1e-4, 1e-2, sampling="log", default=config.learning_rate),
        "label_smoothing": space.Float("label_smoothing", 0.0, 0.2, step=0.05),
        "batch_size": space.Choice("batch_size", [8, 16, 32], default=16),
    }
    mixup = space.Choice("mixup", [0.0, 0.2, 0.4], default=0.2)
    return with_hyperparameters(config, values | {"mixup": mixup})


class FitTuner(keras_tuner.RandomSearch):
    """Random search in which a trial is one `fit`, judged by its lowest validation loss."""

    def run_trial(self, trial: keras_tuner.engine.trial.Trial, *fit_args: Any, **fit_kwargs: Any) -> dict[str, float]:
        """Fits once, with the settings that the trial draws."""
        config = draw(trial.hyperparameters, fit_kwargs.pop("config"))
        directory = self.get_trial_dir(trial.trial_id)
        logs, checkpoints = (posixpath.join(directory, name) for name in ("logs", "checkpoints"))
        _, history = fit(config=config, logs=logs, checkpoints=checkpoints, **fit_kwargs)
        return {"val_loss": min(epoch["val_loss"] for epoch in history["epochs"])}


def tuner_fn(fn_args: "FnArgs") -> TunerFnResult:
    """Sets up the search: TFX's entry point.

    `fn_args.custom_config` is `TunerParameters`, as JSON's dicts and lists.
    """
    known = TunerParameters.model_validate_json(json.dumps(fn_args.custom_config))
    features, config, tune = known.features, known.train, known.tune
    train, validation = (
        read_clips(tf.io.gfile.glob(patterns), features, config.cache_megabytes)
        for patterns in (fn_args.train_files, fn_args.eval_files)
    )
    space = keras_tuner.HyperParameters()
    draw(space, config)
    tuner = FitTuner(
        hyperparameters=space,
        objective=keras_tuner.Objective("val_loss", "min"),
        max_trials=tune.trials,
        seed=config.seed,
        directory=fn_args.working_dir,
        project_name="search",
    )
    return TunerFnResult(
        tuner=tuner,
        fit_kwargs={
            "train": train,
            "validation": validation,
            "model": known.model,
            "features": features,
            "config": config.model_copy(update={"epochs": tune.epochs}),
        },
    )
