"""Corrects the genres of songs in complete spans: a span is stated again, and what it said before is kept.

<root>/span-<N>/                       the span as it is stated now; its digest is another one, so runs notice
<root>/.restated/span-<N>-<digest>/    each former statement, whole; nothing reads it

Songs keep their splits, and the digest of the input files: the same ingest finds the span, and does not undo anything.
"""

import hashlib
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from etils import epath

from components.base.errors import UserError
from components.base.files import move_directory
from components.base.json_records import sealed
from components.base.tables import read_table, write_table
from components.library.health import FILE_FORMAT, HEALTH
from components.library.layout import (
    MANIFEST_FILE,
    SPLITS,
    Manifest,
    complete_spans,
    read_library,
    read_manifest,
    require_verified,
    span_dir,
)
from components.library.spans import only_writer
from components.library.tables import TRACKS_FILE, read_examples
from components.library.tfrecords import RecordWriter, StoredFile, read_records

FORMER = ".restated"
_REMEDY = "Nothing was changed."


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
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: cannot be read: {error}. {_REMEDY}") from error
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
        _finish(root)
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
        for span, found in wrong.items():
            _restate(root, span, found)
    return {span: len(found) for span, found in wrong.items()}


def _finish(root: Path) -> None:
    """Puts back what a call that was killed between its last two steps had taken away."""
    for former in sorted((root / FORMER).glob("span-*-*"), key=lambda path: path.stat().st_mtime, reverse=True):
        span = span_dir(epath.Path(root), int(former.name.split("-")[1]))
        if not span.exists():
            move_directory(epath.Path(former), span)


def _restate(root: Path, span: int, corrections: Mapping[str, str]) -> None:
    before, manifest = Path(span_dir(epath.Path(root), span)), read_manifest(epath.Path(root), span)
    target = root / ".staging" / f"restated-{span}"
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(before, target)
    files = dict(manifest.files)
    for split in SPLITS:
        for name in manifest.shards(split):
            files[f"{split}/{name}"] = _corrected(before / split / name, target / split / name, corrections)
    rows = [{**row, "genre": corrections.get(row["track_id"], row["genre"])} for row in read_examples(root, span)]
    files[TRACKS_FILE] = _write_rows(target / TRACKS_FILE, rows)
    counts = {split: Counter(row["genre"] for row in rows if row["split"] == split) for split in manifest.splits}
    tables = f"{files[TRACKS_FILE].sha256} {manifest.files['rejects.csv'].sha256}"
    restated = manifest.model_copy(
        update={
            "digest": hashlib.sha256(tables.encode()).hexdigest(),
            "splits": {
                split: of.model_copy(update={"genres": dict(sorted(counts[split].items()))})
                for split, of in manifest.splits.items()
            },
            "files": files,
        }
    )
    (target / MANIFEST_FILE).write_text(sealed(restated), encoding="utf-8")
    (root / FORMER).mkdir(exist_ok=True)
    move_directory(epath.Path(before), epath.Path(_former(root, manifest)))
    move_directory(epath.Path(target), epath.Path(before))


def _former(root: Path, manifest: Manifest) -> Path:
    """Returns where a statement is kept; a number follows where the span was stated like that before."""
    name = f"span-{manifest.span}-{manifest.digest[:16]}"
    taken = (root / FORMER / f"{name}-{count}" if count else root / FORMER / name for count in range(1000))
    return next(path for path in taken if not path.exists())


def _write_rows(file: Path, rows: list[dict[str, str]]) -> StoredFile:
    # As numbers: a text that begins with a minus would be protected from spreadsheets.
    types: dict[str, Callable[[str], object]] = {**dict.fromkeys(HEALTH, float), **dict.fromkeys(FILE_FORMAT, int)}
    cells = ([types.get(name, str)(value) for name, value in row.items()] for row in rows)
    with file.open("w", encoding="utf-8", newline="") as out:
        count = write_table(out, list(rows[0]), cells)
    content = file.read_bytes()
    return StoredFile(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content), records=count)


def _corrected(source: Path, target: Path, corrections: Mapping[str, str]) -> StoredFile:
    """Copies a file of examples, with the right genres."""

    def records() -> Iterator[bytes]:
        import tensorflow as tf  # TensorFlow's import takes seconds

        with source.open("rb") as file:
            for data in read_records(file):
                example = tf.train.Example.FromString(data)
                features = example.features.feature
                genre = corrections.get(features["track_id"].bytes_list.value[0].decode())
                if genre is None:
                    yield data
                else:
                    features["genre"].bytes_list.value[0] = genre.encode()
                    yield example.SerializeToString(deterministic=True)

    with target.open("wb") as file:
        writer = RecordWriter(file)
        for data in records():
            writer.write(data)
    return writer.written()
