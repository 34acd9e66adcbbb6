"""The parameters of ImportExampleGen."""

from components.base.section import Section
from components.library.span_import import SpanImport


class ImportParameters(Section):
    """The clips to import."""

    clips: SpanImport
    set_aside: str
    """Directory for the record that the span cannot be used."""
    code: str
