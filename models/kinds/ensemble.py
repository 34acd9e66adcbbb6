"""The weighted mean of the calibrated probabilities of several kinds, fitted on the same clips."""

from models.config import EnsembleOptions


class Options(EnsembleOptions):
    """Settings of `ensemble`."""
