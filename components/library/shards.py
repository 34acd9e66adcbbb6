"""One shard of an ingest: which files go into it, and its making. No Beam, no TensorFlow.

A shard is three files in the staging directory: its records, their SHA-256 (taken while they are written, by as many
workers as there are), and a line of facts for every input file, in order. It is named after all that decides its bytes,
so one that is there, whoever made it, need not be made again.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import soundfile
import soxr

from components.audio.config import AudioConfig
from components.audio.decoding import AudioError, Clip, decode_clip
from components.audio.wav import encode_wav
from components.library.config import IngestConfig
from components.library.health import HEALTH, SOURCE_FORMAT
from components.library.inputs import Listed
from components.library.layout import SPLITS
from components.library.sources.track import UNREADABLE, Track
from components.library.tfrecords import encode_example, write_record

TOO_SHORT, SILENT = "too short", "silent"

_EDITION = 2  # counts the changes of what a shard of the same inputs holds


@dataclass(frozen=True)
class Shard:
    """Input files of one split that are decoded and written together, in order."""

    name: str
    split: str
    tracks: tuple[Track, ...]


@dataclass(frozen=True, slots=True)
class Fact:
    """What became of one input file. The levels are those of `decoding.Clip`, 0 where it did not decode."""

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
    """Of the clip's PCM."""
    reject: str = ""
    """The kind of reason for which it is no example; empty for an example."""
    reason: str = ""
    """The reason in full; it begins with `reject`."""


def plan_shards(inputs: Sequence[Listed], audio: AudioConfig, config: IngestConfig) -> list[Shard]:
    """The shards of `inputs`, whose tracks have splits, in order of split and track id."""
    shards = []
    for split in SPLITS:
        members = sorted((item for item in inputs if item.track.split == split), key=lambda item: item.track.track_id)
        for number, start in enumerate(range(0, len(members), config.clips_per_shard)):
            chunk = members[start : start + config.clips_per_shard]
            name = f"{split}-{number:05d}-{inputs_digest(chunk, audio, config)[:16]}"
            shards.append(Shard(name, split, tuple(item.track for item in chunk)))
    return shards


def inputs_digest(inputs: Sequence[Listed], audio: AudioConfig, config: IngestConfig) -> str:
    """A digest of what decides the bytes that come of `inputs`: names, labels, sizes, times, settings, decoders."""
    digest = hashlib.sha256()
    versions = (_EDITION, soundfile.__libsndfile_version__, soxr.__libsoxr_version__)
    # All of the rules but the share of rejects, so that a retry with a higher one need not decode again.
    rules = (config.min_seconds, config.silence_dbfs, config.clips_per_shard, config.splits.model_dump())
    digest.update(json.dumps([versions, rules, audio.model_dump()]).encode())
    for item in inputs:
        track = item.track
        row = (track.track_id, track.path, track.genre, track.group, track.split, track.fold, track.problem)
        digest.update(json.dumps([*row, item.size, item.mtime_ns]).encode())
    return digest.hexdigest()


def records_file(directory: Path, shard: Shard) -> Path:
    """Where the records of `shard` are."""
    return directory / f"{shard.name}.tfrecord"


def digest_file(directory: Path, shard: Shard) -> Path:
    """Where the SHA-256 of the file of records of `shard` is, in hexadecimal digits."""
    return directory / f"{shard.name}.sha256"


def facts_file(directory: Path, shard: Shard) -> Path:
    """Where the facts of `shard` are. They are put there last: with them, the shard is complete."""
    return directory / f"{shard.name}.jsonl"


def write_plan(directory: Path, shard: Shard) -> None:
    """Leave `shard` in `directory` for a worker: Beam, given the lists of files, would hold each many times over."""
    _plan_file(directory, shard.name).write_text(json.dumps(asdict(shard)), encoding="utf-8")


def read_plan(directory: Path, name: str) -> Shard:
    """The shard called `name` that `write_plan` left in `directory`."""
    plan = json.loads(_plan_file(directory, name).read_text(encoding="utf-8"))
    return Shard(plan["name"], plan["split"], tuple(Track(**track) for track in plan["tracks"]))


def _plan_file(directory: Path, name: str) -> Path:
    return directory / f"{name}.plan"


def read_facts(directory: Path, shard: Shard) -> Iterator[Fact]:
    """What became of the files of the complete `shard`, in order."""
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
    """Decode the files of `shard` one by one, and put the shard into `directory`, whole or not at all.

    `count` is called with the outcome of every file: "example", or the kind of reject.
    """
    # A name of its own, because a worker may outlive a killed ingest for a moment, and a runner may start a second
    # attempt, on another machine, while the first is still at it.
    suffix = f".{uuid.uuid4().hex}.partial"
    files = [place(directory, shard) for place in (records_file, digest_file, facts_file)]
    partial = [file.with_name(file.name + suffix) for file in files]
    digest = hashlib.sha256()
    try:
        with (
            partial[0].open("wb") as records_out,
            partial[1].open("w", encoding="ascii") as digest_out,
            partial[2].open("w", encoding="utf-8") as facts_out,
        ):
            for track in shard.tracks:
                fact, clip = examine(track, audio_root, audio, config)
                if clip is not None:
                    digest.update(write_record(records_out, encode_record(fact, clip, audio)))
                facts_out.write(json.dumps(asdict(fact)) + "\n")
                facts_out.flush()  # whoever shows the progress counts these lines
                count(fact.reject or "example")
            digest_out.write(digest.hexdigest())
            for out in (records_out, digest_out, facts_out):
                out.flush()
                os.fsync(out.fileno())
        for made, file in zip(partial, files, strict=True):
            made.rename(file)
    finally:
        for made in partial:
            made.unlink(missing_ok=True)  # there only if it failed


def examine(track: Track, audio_root: Path, audio: AudioConfig, config: IngestConfig) -> tuple[Fact, Clip | None]:
    """Decode the file of `track`: what is to be said of it and, if it is good for an example, its clip."""

    def rejected(kind: str, detail: str) -> tuple[Fact, None]:
        return Fact(*names, reject=kind, reason=f"{kind}: {detail}"), None

    names = (track.track_id, track.path, track.genre, track.group, track.split or "", track.fold)
    try:
        clip = decode_clip(audio_root / track.path, audio)
    except AudioError as error:
        return rejected(UNREADABLE, str(error))
    if clip.duration_seconds < config.min_seconds:
        return rejected(TOO_SHORT, f"{clip.duration_seconds:.3g} s, less than {config.min_seconds:g} s")
    if clip.peak_dbfs < config.silence_dbfs:
        return rejected(SILENT, f"its peak is {clip.peak_dbfs:.1f} dBFS, below {config.silence_dbfs:g} dBFS")
    health = {name: round(getattr(clip, name), 4) for name in HEALTH}
    source = {name: getattr(clip, name) for name in SOURCE_FORMAT}
    sha256 = hashlib.sha256(clip.pcm.astype("<i2", copy=False)).hexdigest()
    return Fact(*names, **health, **source, sha256=sha256), clip


def encode_record(fact: Fact, clip: Clip, audio: AudioConfig) -> bytes:
    """The serialized `tf.train.Example`, whose features `components/schema.pbtxt` describes."""
    names = {name: getattr(fact, name).encode() for name in ("track_id", "genre", "artist", "split")}
    scalars = {name: getattr(fact, name) for name in (*HEALTH, *SOURCE_FORMAT)}
    return encode_example({**names, **scalars, "audio": encode_wav(clip.pcm, audio.sample_rate)})
