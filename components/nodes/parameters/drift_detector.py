"""The parameters of DriftDetector."""

from components.base.section import Section
from components.drift.config import DriftConfig


class DriftParameters(Section):
    """The settings of the test."""

    drift: DriftConfig
    code: str
