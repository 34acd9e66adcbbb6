"""The ingested library on disk or in a bucket: its layout, and how to read it. Written by `components.ingest` alone.

<root>/library.json            what holds for every span: the genres in order, the audio format
<root>/schema.pbtxt            the reviewed schema, with this library's genres as the domain of `genre`
<root>/span-<N>/manifest.json  counts of span N; a span without it does not exist
<root>/span-<N>/tracks.csv     one row per example: its source, group, split, audio health, PCM hash
<root>/span-<N>/rejects.csv    one row per input file that did not become an example, with the reason
<root>/span-<N>/source.json    the inputs that it was made of, to know the same ingest when it is given again
<root>/span-<N>/<split>/part-XXXXX-of-YYYYY.tfrecord
<root>/.staging/               what is not complete yet; never read by a run
"""

import re

from etils import epath
from pydantic import ValidationError

from components.config import AudioConfig, Section, problems
from components.errors import UserError

SPLITS = ("train", "eval", "test")
SCHEMA_FILE = "schema.pbtxt"


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
    """Account of one span: every input file is in `splits` or in `rejects`."""

    span: int
    source: str
    digest: str
    input_files: int
    splits: dict[str, SplitCount]
    rejects: dict[str, int]


def span_dir(root: epath.Path, span: int) -> epath.Path:
    """Directory of span `span` under the library `root`."""
    return root / f"span-{span}"


def complete_spans(root: epath.Path) -> list[int]:
    """Numbers of the spans of `root` that were written to the end, ascending."""
    found = (re.fullmatch(r"span-(\d+)", path.name) for path in root.glob("span-*"))
    return sorted(int(m[1]) for m in found if m and (root / m[0] / "manifest.json").is_file())


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
    if not (root / "library.json").is_file():
        raise UserError(
            f"{root}: not an ingested library (no library.json). Make it with `genre ingest folder DIR --data {root}`."
        )
    return _read(root / "library.json", Library)


def read_manifest(root: epath.Path, span: int) -> Manifest:
    """The manifest of span `span` of the library at `root`.

    Raises:
      UserError: there is no such span, or it was never completed.
    """
    path = span_dir(root, span) / "manifest.json"
    if not path.is_file():
        have = ", ".join(map(str, complete_spans(root))) or "none"
        raise UserError(f"{root}: no complete span {span} (complete spans: {have}). Ingest it, or choose another.")
    return _read(path, Manifest)
