"""The clips of a library that a run imports."""

from components.base.section import Section

GOLDEN = "golden"
"""Split of the golden test set among the clips that nobody trains on, if that is not of a span of the window."""

RECORDS_PROPERTY = "records"
"""Property of imported examples: the number of records by split, a JSON object."""


class SpanImport(Section):
    """The directories of examples that one slot of the window, or the held-out clips, are imported from."""

    span: int | None
    """The newest span that is imported; null where nothing is."""
    splits: dict[str, tuple[str, ...]]
    """By split of the imported examples, directories of shards; there may be none."""
    digest: str
    """Digest of what is in them, so that a cache notices a change."""
    manifest: str = ""
    """Digest of the span, if exactly one whole span is imported; else empty."""

    @property
    def whole(self) -> dict[int, str]:
        """The digest of the span by its number, if exactly one whole span is imported; else nothing."""
        return {self.span: self.manifest} if self.span is not None and self.manifest else {}
