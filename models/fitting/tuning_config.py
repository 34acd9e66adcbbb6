"""Settings of the search for hyper-parameters; no TensorFlow."""

from pydantic import Field

from components.audio.config import FeatureConfig
from components.base.section import Section
from models.config import ModelConfig, TrainConfig


class TuneConfig(Section):
    """Search for learning rate, batch size, label smoothing and mixup, in a Tuner node before the Trainer."""

    enabled: bool = False
    trials: int = Field(10, ge=1)
    epochs: int = Field(15, ge=1, description="at most, of each trial")


class TunerParameters(Section):
    """The parameters of the node Tuner."""

    features: FeatureConfig
    model: ModelConfig
    train: TrainConfig
    tune: TuneConfig
    code: str
    """Digest of the node's source."""
