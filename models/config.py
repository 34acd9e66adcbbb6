"""Settings of the model and of its training. Imports no TensorFlow."""

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from components.audio.config import FeatureConfig
from components.base.section import Section

Positive = Annotated[float, Field(gt=0.0)]

EMBEDDING = "embedding"
"""Name of the layer whose output is the window's embedding, in every network; see `models.registry`."""


class ModelConfig(Section):
    """The kind of model, and its own settings."""

    kind: str = Field(
        "auto",
        description="kind of model: a name in the table of models/registry.py; auto: a mean of kinds that take "
        "seconds, weighted by inner cross-validation",
    )
    window_seconds: float = Field(
        5.0,
        gt=0.0,
        description="length of audio that the network sees at a time, in seconds, at most the clip; the probabilities "
        "of a clip are the mean over its windows",
    )
    options: dict[str, Any] = Field(
        default_factory=dict, description="settings of this kind of model: Options in its file in models/kinds"
    )


class TransferOptions(Section):
    """Settings of every kind with a pretrained base, a part of `model.options`."""

    weights: str | None = Field(description="pretrained weights of the base; null: random ones, for trying things out")
    C: tuple[Positive, ...] = Field(
        (0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3),
        min_length=1,
        description="inverse strengths of the head's L2 penalty, of which the one with the lowest log loss in inner "
        "cross-validation is chosen",
    )
    fine_tune_blocks: int = Field(
        0, ge=0, description="blocks of the base, counted from its end, that are trained after the head; 0: none"
    )
    fine_tune_learning_rate: float = Field(
        1e-5,
        gt=0.0,
        description="first learning rate of the fine-tuning; a high one destroys what the base has learned",
    )
    fine_tune_epochs: int = Field(10, ge=1, description="largest number of epochs of the fine-tuning")


class EnsembleOptions(Section):
    """Settings of every kind that averages other kinds, a part of `model.options`."""

    members: tuple[str, ...] = Field(
        ("svm_rbf", "extra_trees", "musicnn", "yamnet"),
        min_length=1,
        description="kinds of model whose calibrated probabilities are averaged: kinds on descriptors, musicnn, yamnet",
    )
    settings: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="options of members by kind, such as musicnn: {weights: musicnn.npz}; others keep their defaults",
    )
    equal: bool = Field(
        False,
        description="all members count alike; else their weights, which may be 0, are chosen by the log loss in inner "
        "cross-validation",
    )
    skip_missing: bool = Field(
        False, description="leave out members whose pretrained weights are not on this machine, instead of failing"
    )

    @model_validator(mode="after")
    def _check(self) -> "EnsembleOptions":
        if len(set(self.members)) < len(self.members):
            raise ValueError("members names a kind twice")
        if unknown := set(self.settings) - set(self.members):
            raise ValueError(f"settings names {', '.join(sorted(unknown))}, which is none of members")
        return self


def _off(value: Any) -> Any:
    """Reads YAML's `off`, which is false there, as the word."""
    return "off" if value is False else value


Augment = Annotated[Literal["off", "light", "strong"], BeforeValidator(_off)]
"""Strength of the changes of training windows; see `models.fitting.augmentation.LEVELS`."""


class TrainConfig(Section):
    """Settings of the training of a network."""

    epochs: int = Field(
        40, ge=1, description="largest number of epochs; the learning rate falls along half a cosine over them"
    )
    batch_size: int = Field(16, ge=1, description="clips in a batch, over all devices together")
    learning_rate: Positive = Field(1e-3, description="learning rate of Adam in the first step")
    patience: int = Field(12, ge=1, description="epochs without a lower validation loss before training stops")
    label_smoothing: float = Field(
        0.0, ge=0.0, lt=1.0, description="share of each label that is spread over all genres"
    )
    class_weights: bool = Field(True, description="give clips of rare genres more weight, so that genres count alike")
    cache_megabytes: int = Field(
        256,
        ge=0,
        description="largest size of a split's features that training holds in memory; larger ones are read from a "
        "file without a name in the directory of temporary files ($TMPDIR)",
    )
    warm_start: bool = Field(
        False,
        description="start from the champion's weights where genres and layers are the same, else from random ones",
    )
    seed: int = Field(1, ge=0, description="the same data, settings and seed give the same model on a CPU")
    precision: Literal["auto", "float32"] = Field(
        "auto", description="auto: mixed bfloat16 on a TPU and on GPUs that have it, else float32"
    )
    augment: Augment = Field(
        "light",
        description="change of the training windows, drawn anew at every epoch: off; light: any start in the clip, one "
        "masked band and stretch of time, mixup of 0.2; strong: more and wider masks, mixup of 0.4",
    )
    mixup: float | None = Field(
        None, ge=0.0, description="alpha of mixup's Beta distribution; 0: no mixup; null: as train.augment has it"
    )


class TrainerParameters(Section):
    """The parameters of the node Trainer."""

    features: FeatureConfig
    model: ModelConfig
    train: TrainConfig
    weights: str
    """Digest of the pretrained weights; empty where there are none."""
    checkpoints: str
    """Directory, outliving a killed run, in which training is taken up again."""
    code: str
    """Digest of the node's source."""


def with_hyperparameters(config: TrainConfig, values: dict[str, Any]) -> TrainConfig:
    """Returns `config` with the values that the search found."""
    names = ("learning_rate", "label_smoothing", "batch_size", "mixup")
    return config.model_copy(update={name: values[name] for name in names})
