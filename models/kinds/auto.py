"""The ensemble of what is on this machine; inner cross-validation may give all weight to a single kind."""

from pydantic import Field

from models.config import EnsembleOptions


class Options(EnsembleOptions):
    """Settings of `auto`."""

    skip_missing: bool = Field(True, description=EnsembleOptions.model_fields["skip_missing"].description)
