"""The parameters of Reporter."""

from typing import Any

from components.base.section import Section
from components.store.model_store import Lineage


class ReporterParameters(Section):
    """Facts that the report names besides the artifacts."""

    lineage: Lineage
    """Names the library and its span."""
    history: str
    """Directory of the records of all candidates."""
    store: str
    """Root of the model store."""
    config: dict[str, Any]
    """The whole configuration, as the report lists it."""
    code: str
