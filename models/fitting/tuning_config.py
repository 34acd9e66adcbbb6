"""Settings of the search for hyper-parameters; no TensorFlow."""

from pydantic import Field

from components.audio.config import FeatureConfig
from components.base.section import Section
from models.config import ModelConfig, TrainConfig


class TuneConfig(Section):
    """Search for learning rate, batch size, label smoothing and mixup, in a Tuner node before the Trainer."""

    enabled: bool = Field(False, description="search before every training; kinds on descriptors need no search")
    trials: int = Field(10, ge=1, description="number of trainings that the search makes")
    epochs: int = Field(15, ge=1, description="largest number of epochs of each trial")


class TunerParameters(Section):
    """The parameters of the node Tuner."""

    features: FeatureConfig
    model: ModelConfig
    train: TrainConfig
    tune: TuneConfig
    code: str
    """Digest of the node's source."""
