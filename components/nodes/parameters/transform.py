"""The parameters of Transform."""

from components.audio.config import FeatureConfig
from components.base.section import Section


class TransformParameters(Section):
    """What to compute of a clip; see `components.audio.preprocessing.preprocessing_fn`, which TFX hands them to."""

    features: FeatureConfig
    code: str
