"""Reads the tables of a complete span: its examples, its rejects and its fingerprints."""

import io
from collections.abc import Iterator
from pathlib import Path

from etils import epath

from components.base.tables import read_table
from components.library.layout import read_manifest, verified_file
from components.library.near_duplicates import Heard

TRACKS_FILE, REJECTS_FILE, FINGERPRINTS_FILE = "tracks.csv", "rejects.csv", "fingerprints.csv"


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


def read_fingerprints(root: Path | epath.Path, span: int) -> list[Heard]:
    """Reads the fingerprints of the complete span `span`; a span of an earlier version has none.

    Raises:
      UserError: the table is not as it was written.
    """
    if FINGERPRINTS_FILE not in read_manifest(epath.Path(root), span).files:
        return []
    rows = _read_table(root, span, FINGERPRINTS_FILE)
    return [Heard(row["track_id"], row["split"], span, row["fingerprint"]) for row in rows]


def _read_table(root: Path | epath.Path, span: int, name: str) -> Iterator[dict[str, str]]:
    content = verified_file(epath.Path(root), span, name).read_bytes()
    yield from read_table(io.StringIO(content.decode("utf-8"), newline=""))
