"""Corrects the genres of songs in complete spans: spans are stated again, and what they said before is kept.

<root>/span-<N>/                       the span as it is stated now; its digest is another one, so runs notice
<root>/.restated/span-<N>-<digest>/    each former statement, whole; nothing reads it

Songs keep their splits, and the digest of the input files: the same ingest finds the span, and does not undo anything.
All spans of a call are stated again, or none. Files in which nothing was wrong are the same file in both statements.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

from etils import epath

from components.base.errors import UserError, reason
from components.base.files import replacing
from components.base.json_records import write_record
from components.base.tables import read_table
from components.library.health import FILE_FORMAT, HEALTH
from components.library.layout import (
    MANIFEST_FILE,
    Manifest,
    complete_spans,
    read_library,
    read_manifest,
    require_verified,
)
from components.library.restating.moves import move_all, only_writer
from components.library.spans import link, store_table, tables_digest
from components.library.tables import REJECTS_FILE, TRACKS_FILE, read_examples
from components.library.tfrecords import RecordWriter, StoredFile, read_records

FORMER = ".restated"
_REMEDY = "Nothing was changed."
_TYPES: dict[str, Callable[[str], object]] = {**dict.fromkeys(HEALTH, float), **dict.fromkeys(FILE_FORMAT, int)}
"""Of columns that are no text: a text that begins with a minus would be protected from spreadsheets."""


def read_corrections(file: Path) -> dict[str, str]:
    """Reads a CSV file with the columns `track_id` and `genre`, the right one; further columns are ignored.

    Returns:
      The right genres by track id.

    Raises:
      UserError: it cannot be read, lacks a column, or gives a song two genres.
    """
    found: dict[str, str] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            for number, row in enumerate(read_table(text), 2):
                track_id, genre = row.get("track_id"), (row.get("genre") or "").strip()
                if not track_id or not genre:
                    raise UserError(f"{file}: row {number} has no track_id or no genre. {_REMEDY}")
                if found.setdefault(track_id, genre) != genre:
                    raise UserError(f"{file}: row {number}: {track_id} has another genre above. {_REMEDY}")
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: cannot be read: {reason(error)}. {_REMEDY}") from error
    if not found:
        raise UserError(f"{file}: no corrections: it needs the columns track_id and genre, and rows. {_REMEDY}")
    return found


def restate(root: Path, corrections: Mapping[str, str]) -> dict[int, int]:
    """States the spans again that have songs of another genre than `corrections` give them.

    Args:
      root: of the library.
      corrections: the right genres by track id.

    Returns:
      The number of songs that were corrected, by span; nothing where all are right already.

    Raises:
      UserError: there is no library; a song or a genre is not in it; or a span is damaged.
    """
    genres = read_library(epath.Path(root)).genres
    if unknown := sorted({*corrections.values()} - {*genres}):
        raise UserError(
            f"{root}: no genre of this library: {', '.join(unknown)}. The genres are: {', '.join(genres)}. `genre "
            f"classes add` adds one. {_REMEDY}"
        )
    with only_writer(root):
        wrong: dict[int, dict[str, str]] = {}
        missing = set(corrections)
        for span in complete_spans(epath.Path(root)):
            for row in read_examples(root, span):
                missing.discard(row["track_id"])
                if corrections.get(row["track_id"], row["genre"]) != row["genre"]:
                    wrong.setdefault(span, {})[row["track_id"]] = corrections[row["track_id"]]
        if missing:
            raise UserError(f"{root}: no example has the track_id {', '.join(sorted(missing)[:5])}. {_REMEDY}")
        for span in wrong:
            require_verified(epath.Path(root), span)
        for left in (root / ".staging").glob("restated-*"):  # by a call that was killed before it moved anything
            shutil.rmtree(left)
        moves: list[tuple[Path, Path]] = []
        for span, found in wrong.items():
            stated, new = root / f"span-{span}", root / ".staging" / f"restated-{span}"
            manifest = read_manifest(epath.Path(root), span)
            _state(stated, new, manifest, found)
            moves += [(stated, _former(root, manifest)), (new, stated)]
        if moves:
            move_all(root, moves)
    return {span: len(found) for span, found in wrong.items()}


def _state(stated: Path, target: Path, manifest: Manifest, corrections: Mapping[str, str]) -> None:
    """Writes the span in `stated` to the new directory `target`, with the right genres."""
    shutil.copytree(stated, target, copy_function=link)
    rows = [
        {**row, "genre": corrections.get(row["track_id"], row["genre"])}
        for row in read_examples(stated.parent, manifest.span)
    ]
    files = dict(manifest.files)
    for split in {row["split"] for row in rows if row["track_id"] in corrections}:
        for name in manifest.shards(split):
            files[f"{split}/{name}"] = _corrected(target / split / name, corrections)
    cells = ([_TYPES.get(name, str)(value) for name, value in row.items()] for row in rows)
    with replacing(epath.Path(target / TRACKS_FILE)) as table:
        files[TRACKS_FILE] = store_table(Path(table), list(rows[0]), cells)
    counts = {split: Counter(row["genre"] for row in rows if row["split"] == split) for split in manifest.splits}
    changes = {
        "digest": tables_digest(files[TRACKS_FILE], files[REJECTS_FILE]),
        "splits": {
            split: of.model_copy(update={"genres": dict(sorted(counts[split].items()))})
            for split, of in manifest.splits.items()
        },
        "files": files,
    }
    write_record(epath.Path(target / MANIFEST_FILE), manifest.model_copy(update=changes))


def _former(root: Path, manifest: Manifest) -> Path:
    """Returns where a statement is kept; a number follows where the span was stated like that before."""
    name = f"span-{manifest.span}-{manifest.digest[:16]}"
    taken = (root / FORMER / f"{name}-{count}" if count else root / FORMER / name for count in range(1000))
    return next(path for path in taken if not path.exists())


def _corrected(file: Path, corrections: Mapping[str, str]) -> StoredFile:
    """Writes a file of examples again, with the right genres; returns what it holds then."""
    import tensorflow as tf  # its import takes seconds

    with file.open("rb") as before, replacing(epath.Path(file)) as target, target.open("wb") as after:
        writer = RecordWriter(after)
        for data in read_records(before):
            example = tf.train.Example.FromString(data)
            features = example.features.feature
            if genre := corrections.get(features["track_id"].bytes_list.value[0].decode()):
                features["genre"].bytes_list.value[0] = genre.encode()
                data = example.SerializeToString(deterministic=True)
            writer.write(data)
        return writer.written()
