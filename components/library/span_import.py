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
    """Digest of the newest span, if whole spans are imported; else empty."""
    joined: dict[int, str] = {}  # noqa: RUF012 (pydantic copies it)
    """By number, the digests of the other whole spans that are imported with it."""

    @property
    def whole(self) -> dict[int, str]:
        """The digest of the newest span by its number, if whole spans are imported; else nothing."""
        return {self.span: self.manifest} if self.span is not None and self.manifest else {}

    @property
    def named(self) -> str:
        """Names the whole spans, such as `span 3` or `spans 3, 4`."""
        spans = sorted({*self.joined, *([] if self.span is None else [self.span])})
        return f"span{'s' * (len(spans) > 1)} {', '.join(map(str, spans))}"
