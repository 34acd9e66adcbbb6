"""Frozen, typed configuration of what `models` does; no TensorFlow."""

from typing import Annotated, Any, Literal

from pydantic import Field

from components.audio.config import FeatureConfig
from components.base.section import Section, Share

Positive = Annotated[float, Field(gt=0.0)]

EMBEDDING = "embedding"
"""Name of the layer of every network that has the window's embedding; see `models.registry`."""


class ModelConfig(Section):
    """Which model, and its own settings."""

    kind: str = Field("mel_cnn", description="a name in models.registry")
    window_seconds: float = Field(
        5.0, gt=0.0, description="length that the network sees; a clip's windows are averaged; at most the clip"
    )
    options: dict[str, Any] = Field(default_factory=dict, description="settings of this kind; see its own file")


class AugmentConfig(Section):
    """What the training input does to a window, drawn anew at every epoch."""

    time_shift: bool = Field(True, description="windows start anywhere in the clip, rolling round its end")
    frequency_masks: int = Field(1, ge=0, description="SpecAugment: bands of mel bins set to the floor")
    frequency_mask_share: Share = Field(0.15, description="widest band, as a share of the mel bins")
    time_masks: int = Field(1, ge=0, description="SpecAugment: stretches of frames set to the floor")
    time_mask_share: Share = Field(0.15, description="longest stretch, as a share of the window")
    mixup: float = Field(0.2, ge=0.0, description="alpha of the Beta distribution; 0: no mixup")


class TrainConfig(Section):
    """How a network is fitted."""

    epochs: int = Field(40, ge=1, description="the learning rate falls along half a cosine over them")
    batch_size: int = Field(16, ge=1, description="over all devices together")
    learning_rate: Positive = 1e-3
    patience: int = Field(12, ge=1, description="epochs without a better validation loss before stopping")
    label_smoothing: float = Field(0.0, ge=0.0, lt=1.0, description="share of each label spread over all genres")
    class_weights: bool = Field(True, description="a clip of a rare genre counts more, so that genres count alike")
    warm_start: bool = Field(
        False, description="start from the champion's weights where they fit; with other genres or layers always fresh"
    )
    seed: int = Field(1, ge=0, description="the same data, settings and seed give the same model on a CPU")
    precision: Literal["auto", "float32"] = Field("auto", description="auto: bfloat16 where the device has it")
    augment: AugmentConfig = AugmentConfig()


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
    """`config` with the values that the search found."""
    plain = {name: values[name] for name in ("learning_rate", "label_smoothing", "batch_size")}
    augment = config.augment.model_copy(update={"mixup": values["mixup"]})
    return config.model_copy(update=plain | {"augment": augment})
