"""The shards of an ingest: which files go into each, and how one is made. No Beam, no TensorFlow.

A shard is three files in the staging directory: its records; a line of facts for every input file, in order; and the
seal, by which both are known to be whole. Its name is a digest of all that determines its bytes, so a shard that exists
need not be made again.
"""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import soundfile
import soxr
from etils import epath

from components.audio.config import AudioConfig
from components.audio.decoding import SILENCE_DBFS, AudioError, Clip, decode_clip
from components.audio.wav import encode_wav
from components.base.errors import UserError
from components.base.files import replacing
from components.base.json_records import read_record, sealed
from components.base.section import Section
from components.library.config import IngestConfig
from components.library.health import FILE_FORMAT, HEALTH
from components.library.inputs import Listed
from components.library.layout import SPLITS, damage
from components.library.repeats.fingerprint import as_text, fingerprint
from components.library.song_files import StorageError, opened_song
from components.library.sources.track import MISSING, UNREADABLE, Track
from components.library.tfrecords import RecordWriter, StoredFile, encode_example

TOO_SHORT, SILENT = "too short", "silent"

CLIPS_PER_SHARD = 64
"""Input files of a shard, of which a worker makes one at a time."""

_EDITION = 2  # increased whenever the same inputs and settings give other shards


@dataclass(frozen=True)
class Shard:
    """Input files of one split that are decoded and written together, in order."""

    name: str
    split: str
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """One input file, as an example or a reject. The levels are those of `decoding.Clip`; 0 if it did not decode."""

    track_id: str
    path: str
    genre: str
    artist: str
    split: str
    fold: str = ""
    duration_seconds: float = 0.0
    rms_dbfs: float = 0.0
    peak_dbfs: float = 0.0
    silence_ratio: float = 0.0
    clipping_ratio: float = 0.0
    source_rate: int = 0
    source_channels: int = 0
    sha256: str = ""
    """SHA-256 of the clip's PCM."""
    fingerprint: str = ""
    """See `components.library.repeats.fingerprint.as_text`."""
    reject: str = ""
    """The kind of reason for which it is no example; empty for an example."""
    reason: str = ""
    """The reason in full; it begins with `reject`."""


def plan_shards(
    inputs: Sequence[Listed], audio: AudioConfig, config: IngestConfig, clips_per_shard: int = CLIPS_PER_SHARD
) -> list[Shard]:
    """Divides `inputs`, whose tracks have splits, into shards, in order of split and track id."""
    shards = []
    for split in SPLITS:
        members = sorted((item for item in inputs if item.track.split == split), key=lambda item: item.track.track_id)
        for number, start in enumerate(range(0, len(members), clips_per_shard)):
            chunk = members[start : start + clips_per_shard]
            name = f"{split}-{number:05d}-{inputs_digest(chunk, audio, config)[:16]}"
            shards.append(Shard(name, split, tuple(item.track for item in chunk)))
    return shards


def inputs_digest(inputs: Sequence[Listed], audio: AudioConfig, config: IngestConfig) -> str:
    """Returns a digest of all that determines the shards: names, labels, sizes, times, settings, decoders."""
    digest = hashlib.sha256()
    versions = (_EDITION, soundfile.__libsndfile_version__, soxr.__libsoxr_version__)
    # Without the share of rejects, so that a second ingest with a higher one need not decode again.
    rules = [config.min_seconds, SILENCE_DBFS, CLIPS_PER_SHARD, config.splits.model_dump()]
    if config.near_duplicates != "report":  # which is what earlier versions did
        rules.append(config.near_duplicates)
    digest.update(json.dumps([versions, rules, audio.model_dump()]).encode())
    for item in inputs:
        track = item.track
        row = (track.track_id, track.path, track.genre, track.group, track.split, track.fold, track.problem)
        digest.update(json.dumps([*row, item.size, item.mtime_ns]).encode())
    return digest.hexdigest()


def records_file(directory: Path, shard: Shard) -> Path:
    """Returns the path of the records of `shard`."""
    return directory / f"{shard.name}.tfrecord"


def facts_file(directory: Path, shard: Shard) -> Path:
    """Returns the path of the facts of `shard`."""
    return directory / f"{shard.name}.jsonl"


def seal_file(directory: Path, shard: Shard) -> Path:
    """Returns the path of the `Seal` of `shard`. This file is written last: with it, the shard is complete."""
    return directory / f"{shard.name}.seal"


def failure_file(directory: Path, shard: Shard) -> Path:
    """Returns the path of the reason for which `shard` was not made; see `write_shard`."""
    return directory / f"{shard.name}.failed"


class Seal(Section):
    """The content of a shard's other files."""

    records: StoredFile
    facts: StoredFile


def read_seal(directory: Path, shard: Shard) -> Seal:
    """Reads the seal of a shard.

    Raises:
      UserError: it is missing or damaged.
    """
    return read_record(epath.Path(seal_file(directory, shard)), Seal, "Remove it, and ingest again.")


def is_whole(directory: Path, shard: Shard) -> bool:
    """Returns whether `shard` is complete, and as it was written."""
    try:
        seal = read_seal(directory, shard)
    except UserError:
        return False
    files = ((records_file, seal.records), (facts_file, seal.facts))
    return not any(damage(epath.Path(place(directory, shard)), expected) for place, expected in files)


def write_plan(directory: Path, shard: Shard) -> None:
    """Writes `shard` to `directory` for a worker. Beam would hold many copies of the lists of files."""
    _plan_file(directory, shard.name).write_text(json.dumps(asdict(shard)), encoding="utf-8")


def read_plan(directory: Path, name: str) -> Shard:
    """Reads the shard called `name` that `write_plan` wrote to `directory`."""
    plan = json.loads(_plan_file(directory, name).read_text(encoding="utf-8"))
    return Shard(plan["name"], plan["split"], tuple(Track(**track) for track in plan["tracks"]))


def _plan_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.plan"


def read_facts(directory: Path, shard: Shard) -> Iterator[Fact]:
    """Reads the facts about the files of the complete `shard`, in order."""
    with facts_file(directory, shard).open(encoding="utf-8") as lines:
        yield from (Fact(**json.loads(line)) for line in lines)


def write_shard(
    directory: Path,
    shard: Shard,
    audio_root: Path,
    audio: AudioConfig,
    config: IngestConfig,
    count: Callable[[str], None] = lambda outcome: None,
) -> None:
    """Decodes the files of `shard` one by one, and puts the shard into `directory`, whole or not at all.

    Several processes may make the same shard at a time: a worker may live on for a moment after a killed ingest, and a
    runner may start a second attempt while the first is still at work.

    If the storage does not give a file, there is no shard, but a `failure_file` with the reason. It is not raised: Beam
    would try again, and bury the message.

    Args:
      count: called with the outcome of every file: "example", or the kind of reject.
    """
    try:
        with ExitStack() as stack:
            # They are renamed in the opposite order: the seal last.
            seal, facts_of, records_of = (
                stack.enter_context(replacing(epath.Path(place(directory, shard))))
                for place in (seal_file, facts_file, records_file)
            )
            with facts_of.open("wb") as facts, records_of.open("wb") as records:
                writer, lines = RecordWriter(records), hashlib.sha256()
                for track in shard.tracks:
                    fact, clip = examine(track, audio_root, audio, config)
                    if clip is not None:
                        writer.write(encode_record(fact, clip, audio))
                    line = f"{json.dumps(asdict(fact))}\n".encode()
                    lines.update(line)
                    facts.write(line)
                    facts.flush()  # the progress is the number of these lines
                    count(fact.reject or "example")
                made = StoredFile(sha256=lines.hexdigest(), bytes=facts.tell(), records=len(shard.tracks))
            seal.write_text(sealed(Seal(records=writer.written(), facts=made)))
    except StorageError as error:
        failure_file(directory, shard).write_text(str(error), encoding="utf-8", errors="backslashreplace")


def examine(track: Track, audio_root: Path, audio: AudioConfig, config: IngestConfig) -> tuple[Fact, Clip | None]:
    """Decodes the file of `track`; returns its fact and, if it can be an example, its clip.

    Raises:
      StorageError: the storage does not give the file, which says nothing about the song.
    """

    def rejected(kind: str, detail: str = "") -> tuple[Fact, None]:
        return replace(listed, reject=kind, reason=f"{kind}: {detail}" if detail else kind), None

    listed = Fact(track.track_id, track.path, track.genre, track.group, track.split or "", track.fold)
    try:
        with opened_song(audio_root / track.path) as file:
            clip = decode_clip(file, audio)
    except FileNotFoundError:
        return rejected(MISSING)
    except AudioError as error:
        return rejected(UNREADABLE, str(error))
    if clip.duration_seconds < config.min_seconds:
        return rejected(TOO_SHORT, f"{clip.duration_seconds:.3g} s, less than {config.min_seconds:g} s")
    if clip.silent:
        return rejected(SILENT, f"its peak is {clip.peak_dbfs:.1f} dBFS, below {SILENCE_DBFS:g} dBFS")
    health = {name: round(getattr(clip, name), 4) for name in HEALTH}
    file_format = {name: getattr(clip, name) for name in FILE_FORMAT}
    sha256 = hashlib.sha256(clip.pcm.astype("<i2", copy=False).data).hexdigest()
    marks = as_text(fingerprint(clip.pcm, audio.sample_rate))
    return replace(listed, **health, **file_format, sha256=sha256, fingerprint=marks), clip


def encode_record(fact: Fact, clip: Clip, audio: AudioConfig) -> bytes:
    """Returns a serialized `tf.train.Example`, whose features `components/library/schema.pbtxt` describes."""
    names = {name: getattr(fact, name).encode() for name in ("track_id", "genre", "artist", "split")}
    scalars = {name: getattr(fact, name) for name in (*HEALTH, *FILE_FORMAT)}
    return encode_example({**names, **scalars, "audio": encode_wav(clip.pcm, audio.sample_rate)})
