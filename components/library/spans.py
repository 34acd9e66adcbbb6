"""Reads and writes the files of a span and of its library, as `components.library.layout` describes them."""

import csv
import hashlib
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, fields
from pathlib import Path

from etils import epath
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.json_records import read_record
from components.base.locks import held, this_process
from components.base.section import Section
from components.library.duplicates import Duplicates, Sorting
from components.library.layout import INPUTS_FILE, LIBRARY_FILE, MANIFEST_FILE, SCHEMA_FILE, Library, Manifest, span_dir
from components.library.shards import Fact, Shard, digest_file, records_file
from components.library.tfrecords import read_records, write_record

TRACK_COLUMNS = tuple(item.name for item in fields(Fact) if item.name not in ("reject", "reason"))
REJECT_COLUMNS = ("track_id", "path", "genre", "kind", "reason")
_GENRE_DOMAIN = re.compile(r'(string_domain\s*\{[^{}]*\bname:\s*"genre"[^{}]*)\}')


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


class _Inputs(Section):
    """The content of INPUTS_FILE."""

    inputs: str
    """See `components.library.shards.inputs_digest`."""


def only_writer(root: Path) -> AbstractContextManager[None]:
    """Keeps other writers out of the library at `root`.

    Raises:
      HeldError: another process writes to it.
    """
    return held(root / ".lock", this_process(), "is writing to this library", "Wait for it to end, or end it.")


def read_inputs_digest(root: Path, span: int) -> str:
    """Returns the digest of the input files that the complete span `span` was made of.

    Raises:
      UserError: its record is missing or damaged.
    """
    file = epath.Path(span_dir(root, span) / INPUTS_FILE)
    return read_record(file, _Inputs, "Put it back as it was, or move the span away and ingest its songs again.").inputs


def read_examples(root: Path, span: int) -> Iterator[dict[str, str]]:
    """Reads the rows of the complete span `span`'s table of examples, by TRACK_COLUMNS."""
    yield from _read_table(span_dir(root, span) / "tracks.csv")


def read_rejects(root: Path, span: int) -> Iterator[dict[str, str]]:
    """Reads the rows of the complete span `span`'s table of rejects, by REJECT_COLUMNS."""
    yield from _read_table(span_dir(root, span) / "rejects.csv")


def _read_table(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as rows:
        yield from csv.DictReader(rows)


def write_library(root: Path, library: Library) -> None:
    """Writes what all spans share, and the schema with the library's genres."""
    text = _with_genres(Path(__file__).with_name(SCHEMA_FILE), library.genres)
    schema = text_format.Parse(text, schema_pb2.Schema())  # drops the comments, which are about the template
    _write_library(root, library, text_format.MessageToString(schema, as_utf8=True))


def amend_library(root: Path, library: Library, added: Sequence[str]) -> None:
    """Writes `library`, which has the genres `added` more than the one at `root`, and adds them to the schema there.

    Raises:
      UserError: the schema is missing, damaged, or has no domain of genres.
    """
    _write_library(root, library, _with_genres(root / SCHEMA_FILE, added))


def _write_library(root: Path, library: Library, schema: str) -> None:
    """Writes both files, the schema first.

    Genres are read from library.json. If this process is killed in between, a schema with more genres does no harm.
    """
    write_atomically(epath.Path(root / SCHEMA_FILE), schema)
    write_atomically(epath.Path(root / LIBRARY_FILE), library.model_dump_json(indent=2) + "\n")


def _with_genres(file: Path, genres: Sequence[str]) -> str:
    """Returns the text of the schema in `file` with `genres` added to its domain of genres, otherwise unchanged."""
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: missing, or no text. Put it back, or ingest into another data directory.") from error
    schema = _schema(text)
    domain = next((domain for domain in schema.string_domain if domain.name == "genre"), None) if schema else None
    if domain is None:
        raise UserError(f'{file}: not a schema with a string_domain of the name "genre". Put it back as it was.')
    new = [genre for genre in genres if genre not in domain.value]
    domain.value.extend(new)
    values = text_format.MessageToString(schema_pb2.StringDomain(value=new), as_utf8=True, indent=2)
    amended = _GENRE_DOMAIN.sub(lambda found: f"{found[1]}{values}}}", text, count=1)
    # If the text is laid out too differently to be amended, the schema is kept and its comments are lost.
    return amended if _schema(amended) == schema else text_format.MessageToString(schema, as_utf8=True)


def _schema(text: str) -> schema_pb2.Schema | None:
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError:
        return None


def schema_digest(root: Path) -> str:
    """Returns the digest of the schema of the library at `root`, as manifests record it."""
    return hashlib.sha256((root / SCHEMA_FILE).read_bytes()).hexdigest()[:16]


def write_span(target: Path, made: Path, duplicates: Duplicates, sorting: Sorting, account: SpanAccount) -> Manifest:
    """Writes a span to the new directory `target`. `made`: directory of the shards."""
    files = {}
    for split, kept in sorting.kept.items():
        (target / split).mkdir(parents=True)
        for i, (shard, records) in enumerate(kept):
            name = f"{split}/part-{i:05d}-of-{len(kept):05d}.tfrecord"
            files[name] = _place(made, shard, target / name, records)
    shards = [shard for kept in sorting.kept.values() for shard, _ in kept]
    tracks = write_table(target / "tracks.csv", TRACK_COLUMNS, _track_rows(duplicates, shards))
    rejects = write_rejects(target / "rejects.csv", sorting.rejects)
    manifest = Manifest(
        span=account.number,
        source=account.data_set,
        digest=hashlib.sha256(f"{tracks} {rejects}".encode()).hexdigest(),
        input_files=account.input_files,
        splits=sorting.counts(),
        rejects=sorting.reject_counts(),
        genres=account.genres,
        schema_digest=account.schema_digest,
        files=dict(sorted({**files, "tracks.csv": tracks, "rejects.csv": rejects}.items())),
    )
    inputs = _Inputs(inputs=account.inputs_digest)
    for name, record in ((INPUTS_FILE, inputs.model_dump_json()), (MANIFEST_FILE, manifest.model_dump_json(indent=2))):
        (target / name).write_text(record + "\n", encoding="utf-8")
    return manifest


def write_rejects(file: Path, rejects: Iterable[Fact]) -> str:
    """Writes the table of `rejects`; returns the SHA-256 of `file`."""
    rows = ((fact.track_id, fact.path, fact.genre, fact.reject, fact.reason) for fact in rejects)
    return write_table(file, REJECT_COLUMNS, rows)


def write_table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Writes a CSV file; returns its SHA-256."""
    # A file name may hold bytes that are not text in any encoding; they are written as \\x escapes.
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
    with file.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def _track_rows(duplicates: Duplicates, shards: Iterable[Shard]) -> Iterator[list[object]]:
    for shard in shards:
        for _, fact in duplicates.facts(shard):
            if not fact.reject:
                yield [getattr(fact, name) for name in TRACK_COLUMNS]


def _place(made: Path, shard: Shard, part: Path, keep: Sequence[bool]) -> str:
    """Writes the records of `shard` whose flag in `keep` is true as `part`; returns the SHA-256 of `part`."""
    records = records_file(made, shard)
    if all(keep):
        try:
            os.link(records, part)  # the shard stays in staging, in case this process is killed before the end
        except OSError:  # this file system has no links
            shutil.copyfile(records, part)
        return digest_file(made, shard).read_text(encoding="ascii")
    digest = hashlib.sha256()
    with records.open("rb") as old, part.open("wb") as new:
        for data, kept in zip(read_records(old), keep, strict=True):
            if kept:
                digest.update(write_record(new, data))
    return digest.hexdigest()
