"""The parameters of ReferenceProfile."""

from components.base.section import Section


class ReferenceParameters(Section):
    """The size of the profile."""

    max_clips: int
    """Of more clips, only whole groups are profiled."""
    code: str
