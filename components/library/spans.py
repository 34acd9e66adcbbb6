"""Reads and writes the files of a span and of its library, as `components.library.layout` describes them."""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from etils import epath
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.base.files import write_atomically
from components.base.json_records import sealed, write_record
from components.base.tables import write_table
from components.library.layout import (
    INPUTS_FILE,
    LIBRARY_FILE,
    MANIFEST_FILE,
    SCHEMA_FILE,
    Inputs,
    Library,
    Manifest,
)
from components.library.repeats.duplicates import Duplicates, Sorting
from components.library.repeats.near_duplicates import Alike
from components.library.schema import with_genres
from components.library.shards import Fact, Shard, read_seal, records_file
from components.library.sources.track import Track
from components.library.tables import FINGERPRINTS_FILE, REJECTS_FILE, TRACKS_FILE
from components.library.tfrecords import RecordWriter, StoredFile, read_records

LEFT_OUT_FILE, NEAR_DUPLICATES_FILE = "left-out.csv", "near-duplicates.csv"
TRACK_COLUMNS = tuple(item.name for item in fields(Fact) if item.name not in ("fingerprint", "reject", "reason"))
FINGERPRINT_COLUMNS = ("track_id", "split", "fingerprint")
NEAR_DUPLICATE_COLUMNS = ("track_id", "split", "other", "other_split", "other_span", "shared")
REJECT_COLUMNS = ("track_id", "path", "genre", "kind", "reason")
LEFT_OUT_COLUMNS = ("path", "reason")


@dataclass(frozen=True)
class SpanAccount:
    """The fields of a span's manifest that do not follow from its shards."""

    number: int
    data_set: str
    """`Manifest.source`."""
    input_files: int
    inputs_digest: str
    """See `components.library.shards.inputs_digest`."""
    genres: tuple[str, ...]
    """Of the library, in order."""
    schema_digest: str


def write_library(root: Path, library: Library) -> None:
    """Writes what all spans share, and the schema with the library's genres."""
    text = with_genres(Path(__file__).with_name(SCHEMA_FILE), library.genres)
    schema = text_format.Parse(text, schema_pb2.Schema())  # drops the comments, which are about the template
    _write_library(root, library, text_format.MessageToString(schema, as_utf8=True))


def amend_library(root: Path, library: Library, added: Sequence[str]) -> None:
    """Writes `library`, which has the genres `added` more than the one at `root`, and adds them to the schema there.

    Raises:
      UserError: the schema is missing, damaged, or has no domain of genres.
    """
    _write_library(root, library, with_genres(root / SCHEMA_FILE, added))


def _write_library(root: Path, library: Library, schema: str) -> None:
    """Writes both files, the schema first.

    Genres are read from library.json. If this process is killed in between, a schema with more genres does no harm.
    """
    write_atomically(epath.Path(root / SCHEMA_FILE), schema)
    write_record(epath.Path(root / LIBRARY_FILE), library)


def schema_digest(root: Path) -> str:
    """Returns the digest of the schema of the library at `root`, as manifests record it."""
    return hashlib.sha256((root / SCHEMA_FILE).read_bytes()).hexdigest()[:16]


def write_span(
    target: Path,
    made: Path,
    duplicates: Duplicates,
    sorting: Sorting,
    left_out: Sequence[Track],
    near: Sequence[Alike],
    account: SpanAccount,
) -> Manifest:
    """Writes a span to the new directory `target`.

    Args:
      made: directory of the shards.
      left_out: what the data set listed and is no input.
      near: near-duplicates across splits.
    """
    files: dict[str, StoredFile] = {}
    for split, kept in sorting.kept.items():
        (target / split).mkdir(parents=True)
        for i, (shard, records) in enumerate(kept):
            name = f"{split}/part-{i:05d}-of-{len(kept):05d}.tfrecord"
            files[name] = _place(made, shard, target / name, records)
    shards = [shard for kept in sorting.kept.values() for shard, _ in kept]
    rows_of = ([getattr(fact, name) for name in TRACK_COLUMNS] for fact in _examples(duplicates, shards))
    tracks = store_table(target / TRACKS_FILE, TRACK_COLUMNS, rows_of)
    rejects = write_rejects(target / REJECTS_FILE, sorting.rejects)
    rows = ((track.path, track.problem) for track in left_out)
    files[LEFT_OUT_FILE] = store_table(target / LEFT_OUT_FILE, LEFT_OUT_COLUMNS, rows)
    marks = ((fact.track_id, fact.split, fact.fingerprint) for fact in _examples(duplicates, shards))
    files[FINGERPRINTS_FILE] = store_table(target / FINGERPRINTS_FILE, FINGERPRINT_COLUMNS, marks)
    files[NEAR_DUPLICATES_FILE] = store_table(
        target / NEAR_DUPLICATES_FILE,
        NEAR_DUPLICATE_COLUMNS,
        (
            (
                *(each.clip.track_id, each.clip.split),
                *(
                    each.other.track_id,
                    each.other.split,
                    account.number if each.other.span is None else each.other.span,
                ),
                each.shared,
            )
            for each in near
        ),
    )
    manifest = Manifest(
        span=account.number,
        source=account.data_set,
        digest=tables_digest(tracks, rejects),
        input_files=account.input_files,
        splits=sorting.counts(),
        rejects=sorting.reject_counts(),
        left_out=dict(sorted(Counter(track.kind for track in left_out).items())),
        genres=account.genres,
        schema_digest=account.schema_digest,
        files=dict(sorted({**files, TRACKS_FILE: tracks, REJECTS_FILE: rejects}.items())),
    )
    for name, record in ((INPUTS_FILE, Inputs(inputs=account.inputs_digest)), (MANIFEST_FILE, manifest)):
        (target / name).write_text(sealed(record), encoding="utf-8")
    return manifest


def tables_digest(tracks: StoredFile, rejects: StoredFile) -> str:
    """Returns the digest of a span, `Manifest.digest`, by its tables of examples and of rejects."""
    return hashlib.sha256(f"{tracks.sha256} {rejects.sha256}".encode()).hexdigest()


def write_rejects(file: Path, rejects: Iterable[Fact]) -> StoredFile:
    """Writes the table of `rejects`; returns what `file` holds."""
    rows = ((fact.track_id, fact.path, fact.genre, fact.reject, fact.reason) for fact in rejects)
    return store_table(file, REJECT_COLUMNS, rows)


def store_table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> StoredFile:
    """Writes a table of a span; returns what `file` holds."""
    with file.open("w", encoding="utf-8", newline="") as out:
        count = write_table(out, columns, rows)
    with file.open("rb") as written:
        digest = hashlib.file_digest(written, "sha256").hexdigest()
        return StoredFile(sha256=digest, bytes=written.tell(), records=count)


def _examples(duplicates: Duplicates, shards: Iterable[Shard]) -> Iterator[Fact]:
    for shard in shards:
        yield from (fact for _, fact in duplicates.facts(shard) if not fact.reject)


def link(file: Path | str, other: Path | str) -> None:
    """Makes `other` the same file, which nobody changes; a copy where the file system has no links."""
    try:
        os.link(file, other)
    except OSError:
        shutil.copyfile(file, other)


def _place(made: Path, shard: Shard, part: Path, keep: Sequence[bool]) -> StoredFile:
    """Writes the records of `shard` whose flag in `keep` is true as `part`; returns what `part` holds."""
    records = records_file(made, shard)
    if all(keep):
        link(records, part)  # the shard stays in staging, in case this process is killed before the end
        return read_seal(made, shard).records
    with records.open("rb") as old, part.open("wb") as new:
        writer = RecordWriter(new)
        for data, kept in zip(read_records(old), keep, strict=True):
            if kept:
                writer.write(data)
    return writer.written()
