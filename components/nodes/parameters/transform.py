"""The parameters of Transform."""

from components.audio.config import FeatureConfig
from components.base.section import Section


class TransformParameters(Section):
    """The features to compute of a clip; TFX passes them to `components.audio.preprocessing.preprocessing_fn`."""

    features: FeatureConfig
    code: str
