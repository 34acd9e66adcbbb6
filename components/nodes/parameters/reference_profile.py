"""The parameters of ReferenceProfile."""

from components.base.section import Section


class ReferenceParameters(Section):
    """Nothing to set."""

    code: str
