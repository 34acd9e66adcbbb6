"""The parameters of StorePusher."""

from components.base.section import Section
from components.store.export_formats import ExportFormat
from components.store.model_store import Lineage


class PusherParameters(Section):
    """The place of the candidate in the model store."""

    store: str
    """Root of the model store."""
    lineage: Lineage
    name: str = "genre"
    """Of the pipeline, for the model's card."""
    keep_versions: int
    """Number of versions that the store keeps."""
    export: tuple[ExportFormat, ...] = ()
    """Runtimes that the version is exported for."""
    lost: tuple[int, ...] = ()
    """Versions that were rolled back because they were damaged. Without them, TFX would take the push of such a version
    from its cache, and the model would not be pushed again."""
