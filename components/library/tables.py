"""Reads the tables of a complete span: its examples and its rejects."""

import io
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from components.base.tables import read_table
from components.library.layout import verified_file

TRACKS_FILE, REJECTS_FILE = "tracks.csv", "rejects.csv"


def read_examples(root: Path | epath.Path, span: int) -> Iterator[dict[str, str]]:
    """Reads the rows of the complete span `span`'s table of examples, by the columns of `components.library.spans`.

    Raises:
      UserError: the table is not as it was written.
    """
    yield from _read_table(root, span, TRACKS_FILE)


def read_rejects(root: Path | epath.Path, span: int) -> Iterator[dict[str, str]]:
    """Reads the rows of the complete span `span`'s table of rejects, as `read_examples`.

    Raises:
      UserError: the table is not as it was written.
    """
    yield from _read_table(root, span, REJECTS_FILE)


def _read_table(root: Path | epath.Path, span: int, name: str) -> Iterator[dict[str, str]]:
    content = verified_file(epath.Path(root), span, name).read_bytes()
    yield from read_table(io.StringIO(content.decode("utf-8"), newline=""))
