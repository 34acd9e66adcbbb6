"""The ingested library on disk or in a bucket: its layout, and how to read it. Written by `components.library.ingest`.

<root>/library.json            what holds for every span: the genres in order, the audio format;
                               `components.library.genres` alone adds genres to a library that has spans
<root>/schema.pbtxt            the reviewed schema, with this library's genres as the domain of `genre`
<root>/span-<N>/manifest.json  counts of span N, and the hash of every file; a span without it does not exist
<root>/span-<N>/tracks.csv     one row per example: its source, group, split, audio health, PCM hash
<root>/span-<N>/rejects.csv    one row per input file that did not become an example, with the reason
<root>/span-<N>/source.json    the inputs that it was made of, to know the same ingest when it is given again
<root>/span-<N>/<split>/part-XXXXX-of-YYYYY.tfrecord
<root>/.staging/               what is not complete yet; never read by a run
"""

import hashlib
import re
from collections.abc import Collection, Sequence

from etils import epath
from pydantic import ValidationError

from components.audio.config import AudioConfig
from components.base.errors import UserError
from components.base.section import Section, problems

SPLITS = ("train", "eval", "test")
LIBRARY_FILE, SCHEMA_FILE = "library.json", "schema.pbtxt"
MANIFEST_FILE = "manifest.json"
SOURCE_FILE = "source.json"
"""Digest of the inputs as they lay on a disk: the one file of a span that holds more than its content."""

_CHUNK = 1 << 20


class Library(Section):
    """What every span of a library shares."""

    genres: tuple[str, ...]
    audio: AudioConfig


class SplitCount(Section):
    """Size of one split of one span."""

    clips: int
    groups: int
    genres: dict[str, int]


class Manifest(Section):
    """Account of one span: every input file is in `splits` or in `rejects`. None: written before that was recorded."""

    span: int
    source: str
    digest: str
    """Of the tables of examples and rejects."""
    input_files: int
    splits: dict[str, SplitCount]
    rejects: dict[str, int]
    genres: tuple[str, ...] | None = None
    """Of the library when the span was ingested, in order."""
    schema_digest: str | None = None
    """The first 16 hexadecimal digits of the SHA-256 of the library's schema as it was then."""
    files: dict[str, str] | None = None
    """SHA-256 of every file but the manifest and SOURCE_FILE, by the path from the span's directory."""


class SpanImport(Section):
    """The directories of examples that one slot of the window, or the held-out clips, are imported from."""

    span: int | None
    """The newest of what is imported; null where nothing is."""
    splits: dict[str, tuple[str, ...]]
    """By split of the imported examples, directories of shards; there may be none."""
    digest: str
    """Of what is in them, and of the code that imports it, so that a cache notices a change."""
    manifest: str = ""
    """Digest of the whole span, where this is the whole of one."""


def span_dir(root: epath.Path, span: int) -> epath.Path:
    """Directory of span `span` under the library `root`."""
    return root / f"span-{span}"


def complete_spans(root: epath.Path) -> list[int]:
    """Numbers of the spans of `root` that were written to the end, ascending."""
    return [span for span in span_numbers(root) if (span_dir(root, span) / MANIFEST_FILE).is_file()]


def span_numbers(root: epath.Path) -> list[int]:
    """Numbers of all directories of spans in `root`, complete or not, ascending."""
    found = (re.fullmatch(r"span-(0|[1-9]\d*)", path.name) for path in root.glob("span-*"))
    return sorted(int(m[1]) for m in found if m)


def window_spans(spans: Sequence[int], end: int, size: int, exclude: Collection[int] = ()) -> tuple[int, ...]:
    """The last `size` of `spans` up to and with `end`, ascending, without those of `exclude`; fewer if there are fewer.

    Args:
      spans: the complete spans of a library, in any order.
      end: the newest span of the window.
      size: how many spans the window has room for; at least 1.
      exclude: spans that are not to be trained on; earlier ones take their places.

    Raises:
      UserError: `end` is none of `spans`, or is excluded.
    """
    usable = sorted(set(spans) - set(exclude))
    have = ", ".join(map(str, usable)) or "none"
    if end not in spans:
        raise UserError(f"A window cannot end at span {end}: it is not complete (spans to choose from: {have}).")
    if end in exclude:
        raise UserError(f"A window cannot end at span {end}: it is excluded (spans to choose from: {have}).")
    return tuple(span for span in usable if span <= end)[-size:]


def slots(window: Sequence[int], size: int, usable: Collection[int]) -> tuple[int | None, ...]:
    """Which span of `window` sits in which of `size` slots; None: a slot that is empty.

    A span keeps its slot for as long as it is in the window, so that what was made of it there need not be made again.
    Slots go round in the order of the usable spans: gaps in their numbers do not matter, and with numbers that follow
    each other it does not matter, either, which old spans have been removed.

    Args:
      window: spans that follow each other in `usable`, `size` at most.
      usable: the complete spans of the library, without excluded ones.
    """
    ordered = sorted(usable)
    places = {span: (ordered[0] + rank) % size for rank, span in enumerate(ordered) if span in window}
    if len(places) < len(window) or len(set(places.values())) < len(window):
        raise ValueError(f"{window} are not spans of {ordered} that follow each other, {size} at most")
    placed = {place: span for span, place in places.items()}
    return tuple(placed.get(place) for place in range(size))


def _read(path: epath.Path, section: type[Section]) -> Section:
    try:
        return section.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}. Make it readable.") from error
    except ValidationError as error:
        raise UserError(
            f"{path}: damaged: {'; '.join(problems(error))}. Put the file back as it was, or ingest the library anew, "
            "into another data directory."
        ) from error


def read_library(root: epath.Path) -> Library:
    """The library at `root`.

    Raises:
      UserError: `root` is missing or holds no ingested library.
    """
    if not root.is_dir():
        raise UserError(f"{root}: no such data directory. Make it with `genre ingest folder DIR --data {root}`.")
    if not (root / LIBRARY_FILE).is_file():
        raise UserError(
            f"{root}: not an ingested library (no library.json). Make it with `genre ingest folder DIR --data {root}`."
        )
    return _read(root / LIBRARY_FILE, Library)


def read_manifest(root: epath.Path, span: int) -> Manifest:
    """The manifest of span `span` of the library at `root`.

    Raises:
      UserError: there is no such span, or it was never completed.
    """
    path = span_dir(root, span) / MANIFEST_FILE
    if not path.is_file():
        have = ", ".join(map(str, complete_spans(root))) or "none"
        raise UserError(f"{root}: no complete span {span} (complete spans: {have}). Ingest it, or choose another.")
    return _read(path, Manifest)


def verify(root: epath.Path, span: int) -> list[str]:
    """What is wrong with the files of span `span` of the library at `root` by its manifest, a line for each.

    Raises:
      UserError: there is no such span, its manifest is damaged or knows no hashes, or a file cannot be read.
    """
    manifest = read_manifest(root, span)
    directory = span_dir(root, span)
    if manifest.files is None:
        raise UserError(
            f"{directory / MANIFEST_FILE}: written before manifests held hashes, so this span cannot be verified. "
            "Ingest its songs into another data directory for one that can."
        )
    there = {str((above / name).relative_to(directory)) for above, _, names in directory.walk() for name in names}
    found = {}
    for name, digest in manifest.files.items():
        if name not in there:
            found[name] = "missing"
        elif _sha256(directory / name) != digest:
            found[name] = "damaged: its SHA-256 is not the manifest's"
    found |= dict.fromkeys(there - manifest.files.keys() - {MANIFEST_FILE, SOURCE_FILE}, "extra: not in the manifest")
    return [f"{directory / name}: {problem}" for name, problem in sorted(found.items())]


def _sha256(path: epath.Path) -> str:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}. Make it readable.") from error
    return digest.hexdigest()
