"""The spans of a library that the loop leaves out, because they were set aside and nobody has mended them."""

from etils import epath

from components.library.layout import complete_spans, read_manifest
from components.library.set_aside import SetAside, read_set_aside


def set_aside_spans(directory: epath.Path, root: epath.Path) -> list[SetAside]:
    """Reads the records of spans of the library at `root` that have not changed since they were set aside, by span."""
    there = complete_spans(root)
    return [
        record
        for record in read_set_aside(directory)
        if record.span in there and read_manifest(root, record.span).digest == record.digest
    ]
