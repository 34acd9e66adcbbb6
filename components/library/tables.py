"""Reads the tables of a complete span."""

import io
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from components.base.tables import read_table
from components.library.layout import verified_file

TRACKS_FILE, REJECTS_FILE, FINGERPRINTS_FILE = "tracks.csv", "rejects.csv", "fingerprints.csv"


def read_examples(root: Path | epath.Path, span: int) -> Iterator[dict[str, str]]:
    """Reads the rows of the complete span `span`'s table of examples, by the columns of `components.library.spans`.

    Raises:
      UserError: the table is not as it was written.
    """
    yield from read_rows(root, span, TRACKS_FILE)


def read_rejects(root: Path | epath.Path, span: int) -> Iterator[dict[str, str]]:
    """Reads the rows of the complete span `span`'s table of rejects, as `read_examples`.

    Raises:
      UserError: the table is not as it was written.
    """
    yield from read_rows(root, span, REJECTS_FILE)


def read_rows(root: Path | epath.Path, span: int, name: str) -> Iterator[dict[str, str]]:
    """Reads the rows of a table of the complete span `span`, as `read_examples`."""
    content = verified_file(epath.Path(root), span, name).read_bytes()
    yield from read_table(io.StringIO(content.decode("utf-8"), newline=""))
