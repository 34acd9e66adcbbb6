"""The files of a span and of its library, as `components.library.layout` describes them."""

import csv
import hashlib
import json
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.base.errors import UserError
from components.library.duplicates import Judge, Verdict
from components.library.layout import LIBRARY_FILE, MANIFEST_FILE, SCHEMA_FILE, SOURCE_FILE, Library, Manifest, span_dir
from components.library.shards import Fact, Shard, digest_file, records_file
from components.library.tfrecords import read_records, write_record

TRACK_COLUMNS = tuple(item.name for item in fields(Fact) if item.name not in ("reject", "reason"))
REJECT_COLUMNS = ("track_id", "path", "genre", "kind", "reason")
_GENRE_DOMAIN = re.compile(r'(string_domain\s*\{[^{}]*\bname:\s*"genre"[^{}]*)\}')


@dataclass(frozen=True)
class SpanAccount:
    """What the manifest of a span tells that its shards do not."""

    number: int
    source: str
    """What the manifest calls the input."""
    input_files: int
    inputs_digest: str
    """See `components.library.shards.inputs_digest`."""
    genres: tuple[str, ...]
    """Of the library, in order."""
    schema_digest: str


def read_source(root: Path, span: int) -> str:
    """Digest of the inputs that the complete span `span` was made of; empty if it was not recorded."""
    file = span_dir(root, span) / SOURCE_FILE
    return json.loads(file.read_text(encoding="utf-8"))["inputs"] if file.is_file() else ""


def read_tracks(root: Path, span: int) -> Iterator[dict[str, str]]:
    """The rows of the complete span `span`'s table of examples, by TRACK_COLUMNS."""
    yield from _read_table(span_dir(root, span) / "tracks.csv")


def read_rejects(root: Path, span: int) -> Iterator[dict[str, str]]:
    """The rows of the complete span `span`'s table of rejects, by REJECT_COLUMNS."""
    yield from _read_table(span_dir(root, span) / "rejects.csv")


def _read_table(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as rows:
        yield from csv.DictReader(rows)


def write_library(root: Path, library: Library) -> None:
    """Write what holds for every span, and the schema with the library's genres."""
    text = _with_genres(Path(__file__).with_name(SCHEMA_FILE), library.genres)
    schema = text_format.Parse(text, schema_pb2.Schema())  # without our comments, which are about the template
    _write_library(root, library, text_format.MessageToString(schema, as_utf8=True))


def amend_library(root: Path, library: Library, added: Sequence[str]) -> None:
    """Write `library`, which has the genres `added` more than the one at `root`, and add them to the schema there.

    Raises:
      UserError: the schema is missing, damaged, or has no domain of genres.
    """
    _write_library(root, library, _with_genres(root / SCHEMA_FILE, added))


def _write_library(root: Path, library: Library, schema: str) -> None:
    """Write both files, each whole or as it was.

    The schema goes first: one with genres that the library does not have yet hinders nobody, and library.json, which
    everybody asks for the genres, settles it.
    """
    for name, text in ((SCHEMA_FILE, schema), (LIBRARY_FILE, library.model_dump_json(indent=2) + "\n")):
        partial = root / f".{name}.partial"
        _write(partial, text)
        partial.replace(root / name)
        sync_directory(root)


def _with_genres(file: Path, genres: Sequence[str]) -> str:
    """The text of the schema in `file` with `genres` in its domain of genres; else as its author left it."""
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
    # Unless the author's layout is too unlike ours: then the schema counts, and its comments go.
    return amended if _schema(amended) == schema else text_format.MessageToString(schema, as_utf8=True)


def _schema(text: str) -> schema_pb2.Schema | None:
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError:
        return None


def schema_digest(root: Path) -> str:
    """The version of the schema that the library at `root` has now, as manifests name it."""
    return hashlib.sha256((root / SCHEMA_FILE).read_bytes()).hexdigest()[:16]


def write_span(target: Path, made: Path, judge: Judge, verdict: Verdict, account: SpanAccount) -> Manifest:
    """Write a span to the new directory `target`; its manifest is the last file. `made`: directory of the shards."""
    files = {}
    for split, kept in verdict.kept.items():
        (target / split).mkdir(parents=True)
        for i, (shard, records) in enumerate(kept):
            name = f"{split}/part-{i:05d}-of-{len(kept):05d}.tfrecord"
            files[name] = _place(made, shard, target / name, records)
        sync_directory(target / split)
    shards = [shard for kept in verdict.kept.values() for shard, _ in kept]
    tracks = write_table(target / "tracks.csv", TRACK_COLUMNS, _track_rows(judge, shards))
    rejects = write_rejects(target / "rejects.csv", verdict.rejects)
    manifest = Manifest(
        span=account.number,
        source=account.source,
        digest=hashlib.sha256(f"{tracks} {rejects}".encode()).hexdigest(),
        input_files=account.input_files,
        splits=verdict.counts(),
        rejects=verdict.reject_counts(),
        genres=account.genres,
        schema_digest=account.schema_digest,
        files=dict(sorted({**files, "tracks.csv": tracks, "rejects.csv": rejects}.items())),
    )
    _write(target / SOURCE_FILE, json.dumps({"inputs": account.inputs_digest}) + "\n")
    _write(target / MANIFEST_FILE, manifest.model_dump_json(indent=2) + "\n")
    sync_directory(target)
    return manifest


def write_rejects(file: Path, rejects: Iterable[Fact]) -> str:
    """Write the table of `rejects`; returns the SHA-256 of `file`."""
    rows = ((fact.track_id, fact.path, fact.genre, fact.reject, fact.reason) for fact in rejects)
    return write_table(file, REJECT_COLUMNS, rows)


def write_table(file: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Write a CSV file; returns its SHA-256."""
    # A file name need not be text in any encoding; what is not is shown by its bytes.
    with file.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
        out.flush()
        os.fsync(out.fileno())
    with file.open("rb") as written:
        return hashlib.file_digest(written, "sha256").hexdigest()


def sync_directory(directory: Path) -> None:
    """Make the names in `directory` last through a loss of power."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _track_rows(judge: Judge, shards: Iterable[Shard]) -> Iterator[list[object]]:
    for shard in shards:
        for _, fact in judge.facts(shard):
            if not fact.reject:
                yield [getattr(fact, name) for name in TRACK_COLUMNS]


def _place(made: Path, shard: Shard, part: Path, keep: Sequence[bool]) -> str:
    """The records of `shard` as `part`, without those that are not to be kept; returns the SHA-256 of `part`."""
    records = records_file(made, shard)
    if all(keep):
        try:
            os.link(records, part)  # staging keeps its own: a kill before the end costs nothing
        except OSError:  # this file system has no links
            shutil.copyfile(records, part)
        return digest_file(made, shard).read_text(encoding="ascii")
    digest = hashlib.sha256()
    with records.open("rb") as old, part.open("wb") as new:
        for data, kept in zip(read_records(old), keep, strict=True):
            if kept:
                digest.update(write_record(new, data))
        new.flush()
        os.fsync(new.fileno())
    return digest.hexdigest()


def _write(file: Path, text: str) -> None:
    with file.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
