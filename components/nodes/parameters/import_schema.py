"""The parameters of ImportSchemaGen."""

from components.base.section import Section


class ImportSchemaParameters(Section):
    """The schema to import."""

    file: str
    """Path of the schema as text."""
    digest: str
    """Digest of the file's content."""
