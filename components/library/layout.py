"""The ingested library on disk or in a bucket: its layout, and how to read it. Written by `components.library.ingest`.

<root>/library.json            what all spans share: the genres in order, the audio format; once there is a span, only
                               `components.library.genres` adds genres
<root>/schema.pbtxt            the reviewed schema, with this library's genres as the domain of `genre`
<root>/span-<N>/manifest.json  counts of span N, and SHA-256, size and records of every file; a span without it is not
                               complete
<root>/span-<N>/tracks.csv     one row per example: its file, group, split, audio health, PCM hash
<root>/span-<N>/rejects.csv    one row per input file that did not become an example, with the reason
<root>/span-<N>/left-out.csv   one row per file or folder that was passed over, such as covers and hidden folders
<root>/span-<N>/fingerprints.csv     one row per example: the fingerprint of its audio
<root>/span-<N>/near-duplicates.csv  one row per pair of songs that sound the same in two splits
<root>/span-<N>/source.json    digest of the input files, so that the same ingest is recognised when it is repeated
<root>/span-<N>/<split>/part-XXXXX-of-YYYYY.tfrecord
<root>/.staging/               spans that are not complete yet; never read by a run
<root>/.moves.json             see `components.library.restating.moves`; there only while spans are moved
"""

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from etils import epath
from pydantic import Field, field_validator

from components.audio.config import AudioConfig
from components.base.errors import UserError, command_line, named
from components.base.files import matching
from components.base.json_records import read_record
from components.base.section import Section
from components.library.restating.moves import MOVES_FILE, settle
from components.library.tfrecords import StoredFile

SPLITS = ("train", "eval", "test")
LIBRARY_FILE, SCHEMA_FILE = "library.json", "schema.pbtxt"
MANIFEST_FILE = "manifest.json"
INPUTS_FILE = "source.json"
"""Digest of the input files. It covers their times, so it alone may differ between two ingests of the same music."""

_CHUNK = 1 << 20
_SPAN_NAME = re.compile(r"span-(0|[1-9]\d*)")
_REMEDY = "Put the file back as it was, or ingest the library again, into another data directory."


class Library(Section):
    """The genres and the audio format that all spans of a library share."""

    genres: tuple[str, ...]
    audio: AudioConfig


class SplitCount(Section):
    """Size of one split of one span."""

    clips: int
    groups: int
    genres: dict[str, int]


class Manifest(Section):
    """Account of one span. Every input file is counted in `splits` or in `rejects`."""

    span: int
    source: str
    """Names the data set that was ingested, such as "folder songs"."""
    digest: str
    """Digest of the tables of examples and rejects."""
    input_files: int
    splits: dict[str, SplitCount]
    rejects: dict[str, int]
    left_out: dict[str, int] = Field(default_factory=dict)
    """Files and folders that are no input, such as covers and hidden folders, by the kind of reason."""
    genres: tuple[str, ...]
    """Of the library when the span was ingested, in order."""
    schema_digest: str
    """The first 16 hexadecimal digits of the SHA-256 of the library's schema as it was then."""
    files: dict[str, StoredFile]
    """Every file but the manifest and INPUTS_FILE, by the path from the span's directory."""

    @field_validator("files", mode="before")
    @classmethod
    def _of_earlier_versions(cls, files: Any) -> Any:
        """Reads the files of a span of an earlier version, of which only the SHA-256 is known."""
        if not isinstance(files, Mapping):
            return files
        return {name: {"sha256": file} if isinstance(file, str) else file for name, file in files.items()}

    def shards(self, split: str) -> dict[str, StoredFile]:
        """Returns the files of examples of `split`, in order, by their names in its directory."""
        found = (name.partition("/") for name in sorted(self.files))
        return {name: self.files[f"{above}/{name}"] for above, _, name in found if above == split}

    def has(self, split: str) -> bool:
        """Checks whether the span has clips in a split."""
        return split in self.splits and self.splits[split].clips > 0

    @property
    def small(self) -> bool:
        """Holds if the span lacks clips in a split; it then belongs to the span before it."""
        return not all(map(self.has, SPLITS))


class Inputs(Section):
    """The content of INPUTS_FILE."""

    inputs: str
    """See `components.library.shards.inputs_digest`."""


def span_dir(root: epath.Path, span: int) -> epath.Path:
    """Returns the directory of span `span` of the library at `root`."""
    return root / f"span-{span}"


def complete_spans(root: epath.Path) -> list[int]:
    """Returns the numbers of the complete spans of `root`, ascending."""
    return [span for span in span_numbers(root) if (span_dir(root, span) / MANIFEST_FILE).is_file()]


def span_numbers(root: epath.Path) -> list[int]:
    """Returns the numbers of all directories of spans in `root`, complete or not, ascending.

    Raises:
      UserError: another process is moving spans.
    """
    settle(root)
    found = sorted(span_number(path) for path in matching(root, "span-*") if _SPAN_NAME.fullmatch(path.name))
    return span_numbers(root) if (root / MOVES_FILE).exists() else found  # moves have begun meanwhile


def span_number(directory: epath.Path) -> int:
    """Returns the number of the span in `directory`.

    Raises:
      ValueError: it is not the directory of a span.
    """
    if not (found := _SPAN_NAME.fullmatch(directory.name)):
        raise ValueError(f"{directory}: not the directory of a span")
    return int(found[1])


def small_spans(root: epath.Path, spans: Sequence[int]) -> frozenset[int]:
    """Returns the small ones of the complete `spans`; see `Manifest.small`."""
    return frozenset(span for span in spans if read_manifest(root, span).small)


def window_spans(
    spans: Sequence[int], end: int, size: int, exclude: Collection[int] = (), small: Collection[int] = ()
) -> tuple[int, ...]:
    """Returns the last `size` of `spans` up to and with `end`, ascending, without those of `exclude`.

    Spans of `small` do not count: each belongs to the one before it. There are fewer if the library has fewer.

    Args:
      spans: the complete spans of a library, in any order.
      end: the newest span of the window.
      size: how many spans fit into the window; at least 1.
      exclude: spans that are not trained on; earlier ones take their places.
      small: see `small_spans`.

    Raises:
      UserError: `end` is none of `spans`, or is excluded.
    """
    usable = sorted(set(spans) - set(exclude))
    have = ", ".join(map(str, usable)) or "none"
    if end not in spans:
        raise UserError(f"A window cannot end at span {end}: it is not complete (spans to choose from: {have}).")
    if end in exclude:
        raise UserError(f"A window cannot end at span {end}: it is excluded (spans to choose from: {have}).")
    units = _units([span for span in usable if span <= end], small)
    return tuple(span for unit in units[-size:] for span in unit)


def _units(usable: Sequence[int], small: Collection[int]) -> list[list[int]]:
    """Divides spans, ascending, such that each part has one that is not `small`, if there are any, and comes first.

    Only small spans before the first of the others belong to that one.
    """
    units: list[list[int]] = []
    for span in usable:
        if units and (span in small or all(each in small for each in units[-1])):
            units[-1].append(span)
        else:
            units.append([span])
    return units


def slots(
    window: Sequence[int], size: int, usable: Collection[int], small: Collection[int] = ()
) -> tuple[tuple[int, ...], ...]:
    """Assigns the spans of `window` to `size` slots; a slot may be empty.

    A span keeps its slot while it is in the window, so that its examples are imported and transformed once. The usable
    spans, in order, take the slots in turn; those of `small` share the slot of the span before them. Gaps in their
    numbers do not matter; and if there are no gaps, it does not matter which old spans have been removed.

    Args:
      window: spans that follow each other in `usable`, as `window_spans` returns them.
      usable: the complete spans of the library, without excluded ones.
      small: see `small_spans`.

    Raises:
      ValueError: `window` is something else.
    """
    units = _units(sorted(usable), small)
    first = units[0][0] if units else 0
    placed = {(first + rank) % size: unit for rank, unit in enumerate(units) if set(unit) & set(window)}
    found = tuple(tuple(span for span in placed.get(place, ()) if span in window) for place in range(size))
    if sorted(span for slot in found for span in slot) != sorted(window):
        raise ValueError(f"{window} are not spans of {sorted(usable)} that follow each other, {size} at most")
    return found


def ingest_into(root: epath.Path) -> str:
    """Returns the command that makes a library at `root`, for a message."""
    return command_line("genre", "ingest", "folder", "DIR", "--data", root)


def read_library(root: epath.Path) -> Library:
    """Reads what all spans of the library at `root` share.

    Raises:
      UserError: `root` is missing, holds no ingested library, or holds a damaged one.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such data directory. Make it with {ingest_into(root)}.")
    if not (root / LIBRARY_FILE).is_file():
        raise UserError(f"{root}: not an ingested library (no library.json). Make it with {ingest_into(root)}.")
    return read_record(root / LIBRARY_FILE, Library, _REMEDY)


def read_manifest(root: epath.Path, span: int) -> Manifest:
    """Reads the manifest of span `span` of the library at `root`.

    Raises:
      UserError: there is no such span, it is not complete, or its manifest is damaged.
    """
    path = span_dir(root, span) / MANIFEST_FILE
    if not path.is_file():
        settle(root)
    if not path.is_file():
        have = ", ".join(map(str, complete_spans(root))) or "none"
        raise UserError(f"{root}: no complete span {span} (complete spans: {have}). Ingest it, or choose another.")
    manifest = read_record(path, Manifest, _REMEDY)
    if manifest.span != span:
        raise UserError(f"{path}: it is the manifest of span {manifest.span}. {_REMEDY}")
    return manifest


def example_files(root: epath.Path, manifest: Manifest) -> list[str]:
    """Returns the paths of the files of examples of a span, in order."""
    directory = span_dir(root, manifest.span)
    return [str(directory / split / name) for split in SPLITS for name in manifest.shards(split)]


def read_inputs_digest(root: epath.Path, span: int) -> str:
    """Returns the digest of the input files that the complete span `span` was made of.

    Raises:
      UserError: its record is missing or damaged.
    """
    return read_record(span_dir(root, span) / INPUTS_FILE, Inputs, remedy(root, span)).inputs


def verified_file(root: epath.Path, span: int, name: str) -> epath.Path:
    """Returns the path of file `name` of the complete span `span` after comparing its content with the manifest.

    Raises:
      UserError: it is missing, damaged, not in the manifest, or cannot be read.
    """
    manifest = read_manifest(root, span)
    path, expected = span_dir(root, span) / name, manifest.files.get(name)
    if expected is None:
        raise UserError(f"{path}: not in the manifest beside it. {remedy(root, span)}")
    if problem := damage(path, expected):
        require_unchanged(root, manifest)
        raise UserError(f"{path}: {problem}. {remedy(root, span)}")
    return path


def require_unchanged(root: epath.Path, manifest: Manifest) -> None:
    """Checks, after the span of `manifest` was read, that it is still the one that this is the manifest of.

    Raises:
      UserError: it was stated again, or ingested again, meanwhile.
    """
    if read_manifest(root, manifest.span).digest != manifest.digest:
        raise UserError(
            f"{span_dir(root, manifest.span)}: other labels or songs were written there while it was read. Give the "
            "command again."
        )


def verify(root: epath.Path, span: int) -> list[str]:
    """Compares the files of span `span` of the library at `root` with its manifest.

    Returns:
      A line for each file that is damaged, missing, or not in the manifest.

    Raises:
      UserError: there is no such span, its manifest is damaged, or a file cannot be read.
    """
    manifest = read_manifest(root, span)
    directory = span_dir(root, span)
    there = {str((above / name).relative_to(directory)) for above, _, names in directory.walk() for name in names}
    found = {name: damage(directory / name, expected) for name, expected in manifest.files.items()}
    found |= dict.fromkeys(there - manifest.files.keys() - {MANIFEST_FILE, INPUTS_FILE}, "extra: not in the manifest")
    lines = [f"{directory / name}: {problem}" for name, problem in sorted(found.items()) if problem]
    if lines:
        require_unchanged(root, manifest)
    try:
        read_inputs_digest(root, span)
    except UserError as error:
        lines.append(str(error))
    return lines


def require_verified(root: epath.Path, span: int) -> None:
    """Checks that the files of span `span` are as its manifest says.

    Raises:
      UserError: they are not, or `verify` raises it.
    """
    if problems := verify(root, span):
        raise UserError("\n".join([*problems, remedy(root, span)]))


def remedy(root: epath.Path, span: int) -> str:
    """Returns what to do about a damaged file of span `span`, as a sentence."""
    away = f"move {span_dir(root, span)} away, and ingest the same songs with --span {span} again"
    return f"Put it back from a copy; or {away}."


def damage(path: epath.Path, expected: StoredFile) -> str:
    """Describes in what the file at `path` differs from `expected`; empty: in nothing."""
    digest, size = hashlib.sha256(), 0
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
    except FileNotFoundError:
        return "missing"
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {named(error)}. Make it readable.") from error
    return expected.difference(digest.hexdigest(), size)
