"""A library of songs into a span of sharded TFRecords: see `components.library.layout` for what is written, and where.

Which file goes into which shard is settled before any is decoded (`inputs`, `shards`), so the bytes do not depend on
how many workers there are. Shards are made in a staging directory beside the spans, each whole or not at all; a killed
ingest leaves them there, and the next one goes on from them. What only the whole library shows (duplicates, empty
splits, too many rejects) is judged when all shards are made (`verdict`). The finished span (`span_writer`) then appears
under its name in one rename.

Beam runs the decoding. Audio is streamed; what is held of a file is its name, its labels and a hash.
"""

import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions

from components.audio.config import AudioConfig
from components.base.errors import UserError, storage_remedy
from components.base.locks import locked
from components.library.config import IngestConfig
from components.library.duplicates import Judge, judge_all, lack, too_many, unopened
from components.library.genres import rejected_then
from components.library.inputs import in_order, look_at, with_known_genre, with_splits
from components.library.layout import SPLITS, Library, Manifest, complete_spans, read_library, read_manifest, span_dir
from components.library.shards import (
    Fact,
    Shard,
    digest_file,
    facts_file,
    inputs_digest,
    plan_shards,
    read_plan,
    records_file,
    write_plan,
    write_shard,
)
from components.library.sources.track import Track
from components.library.spans import (
    SpanAccount,
    read_source,
    read_tracks,
    schema_digest,
    sync_directory,
    write_library,
    write_rejects,
    write_span,
)

_POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Ingested:
    """Account of an ingest that ended well."""

    directory: Path
    """Of the span."""
    manifest: Manifest
    genres: tuple[str, ...]
    """Of the library, in order."""
    shards: int = 0
    """That were decoded for this span, whether now or before."""
    resumed: int = 0
    """Of those, found from an ingest that did not end."""
    existed: bool = False
    """The span was complete before, and nothing was done."""
    now_known: Counter[str] = field(default_factory=Counter)
    """Songs per genre that the span rejected, and another one would take: the library has learnt their genres since."""

    def gaps(self) -> list[tuple[str, str]]:
        """Every split and genre without an example."""
        splits = self.manifest.splits
        return [(split, genre) for genre in self.genres for split in SPLITS if not splits[split].genres.get(genre)]


def ingest(
    tracks: Iterable[Track],
    audio_root: Path,
    source: str,
    root: Path,
    audio: AudioConfig,
    config: IngestConfig,
    span: int | None = None,
    beam_args: Sequence[str] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
) -> Ingested:
    """Write `tracks` as a span of the library at `root`, or find that it is there already.

    Args:
      tracks: what to ingest; their paths start from `audio_root`.
      source: what the manifest calls the input; no path of this machine, lest equal inputs give unequal bytes.
      root: where the library is, or is to be.
      span: number of the span; None: the one after the last.
      beam_args: options of the Beam pipeline that decodes.
      on_progress: called with the number of files done and of all, now and then and at the end, from another thread.

    Raises:
      UserError: nothing usable in `tracks`, a group in two splits, an empty split, a single genre, too many rejects,
        settings or a span that contradict what is at `root`, another ingest at work there, or too little room.
    """
    ordered = in_order(tracks)
    with locked(root):
        spans = complete_spans(root)
        inputs = [look_at(track, audio_root) for track in ordered]
        # Of what was given, before anything at `root` has a say: else the same input would not be known again.
        digest = inputs_digest(inputs, audio, config)
        if known := _made_of(root, spans, span, digest):
            return known

        number = _free_number(root, spans, span)
        library = _library(root, spans, audio)
        earlier = _read_earlier(root, spans)
        inputs = [with_known_genre(item, library and library.genres) for item in inputs]
        inputs = with_splits(inputs, config.splits, earlier.groups)
        staging = root / ".staging" / f"span-{number}"
        rejects = [unopened(item.track) for item in inputs if item.track.problem]
        _refuse(too_many(rejects, len(inputs), config.max_reject_share), rejects, staging)
        shards = plan_shards([item for item in inputs if not item.track.problem], audio, config)
        missing = _clear(staging, shards)
        made = staging / "shards"
        if missing:
            _check_room(root, missing, audio)
            with _watched(made, shards, on_progress):
                _decode(missing, made, audio_root, audio, config, beam_args)

        judge = Judge(made, shards, earlier.clips)
        verdict = judge_all(judge, shards, rejects)
        genres = library.genres if library else verdict.all_genres
        problem = too_many(verdict.rejects, len(inputs), config.max_reject_share) or lack(verdict, genres)
        _refuse(problem, verdict.rejects, staging)
        if library is None:
            write_library(root, Library(genres=genres, audio=audio))
        account = SpanAccount(number, source, len(inputs), digest, genres, schema_digest(root))
        manifest = write_span(staging / "span", made, judge, verdict, account)
        os.rename(staging / "span", span_dir(root, number))
        sync_directory(root)
        shutil.rmtree(staging)
        with suppress(OSError):  # another span's may be there still
            staging.parent.rmdir()
        return Ingested(span_dir(root, number), manifest, genres, len(shards), len(shards) - len(missing))


def _refuse(problem: str, rejects: Sequence[Fact], staging: Path) -> None:
    """Raise `problem`, if there is one; the list of `rejects` is then left in `staging`."""
    if problem and rejects:
        staging.mkdir(parents=True, exist_ok=True)
        write_rejects(staging / "rejects.csv", rejects)
        problem += f" Every rejected file is listed in {staging / 'rejects.csv'}."
    if problem:
        raise UserError(problem)


# --- What is at the root already ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Earlier:
    """What the complete spans of a library hold."""

    clips: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    """Track id and span of every clip, by the hash of its PCM."""
    groups: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Split and span of every group."""


def _made_of(root: Path, spans: Sequence[int], span: int | None, digest: str) -> Ingested | None:
    """The span, `span` if given, that was made of the inputs of `digest`, if there is nothing left to make of them.

    There is when a song was rejected for its genre and the library has learnt the genre since (`genre classes add`):
    the same inputs then make another span. One that is asked for by its number stays as it is, and the account says so.
    """
    same = [number for number in reversed(spans) if read_source(root, number) == digest]
    if not same:
        return None
    genres = read_library(root).genres
    now_known = {number: rejected_then(root, number, genres) for number in same}
    settled = [number for number in same if not now_known[number]]
    number = span if span in same else settled[0] if settled and span is None else None
    if number is None:
        return None
    left = Counter() if settled else now_known[number]
    return Ingested(span_dir(root, number), read_manifest(root, number), genres, existed=True, now_known=left)


def _free_number(root: Path, spans: Sequence[int], span: int | None) -> int:
    """`span`, or the one after the last, if there is nothing of that number yet."""
    if span is not None and span in spans:
        raise UserError(
            f"{root}: span {span} exists and holds something else. Leave out --span to add span {spans[-1] + 1}, "
            f"or remove {span_dir(root, span)} first."
        )
    number = span if span is not None else spans[-1] + 1 if spans else 1
    if span_dir(root, number).exists():
        raise UserError(f"{span_dir(root, number)}: exists, but is no complete span. Move it away.")
    return number


def _library(root: Path, spans: Sequence[int], audio: AudioConfig) -> Library | None:
    """What holds for every span of `root`; None before the first is complete."""
    if not spans:
        return None
    library = read_library(root)
    for name, ours in audio.model_dump().items():
        if (theirs := getattr(library.audio, name)) != ours:
            raise UserError(
                f"audio.{name}: {ours} in the configuration, but {theirs} in the library at {root}. "
                f"Set it to {theirs}, or ingest into another --data root."
            )
    return library


def _read_earlier(root: Path, spans: Sequence[int]) -> _Earlier:
    earlier = _Earlier()
    for number in spans:
        for row in read_tracks(root, number):
            earlier.clips.setdefault(bytes.fromhex(row["sha256"]), (row["track_id"], number))
            earlier.groups.setdefault(row["artist"], (row["split"], number))
    return earlier


def _clear(staging: Path, shards: Sequence[Shard]) -> list[Shard]:
    """Leave in `staging` nothing but those of `shards` that are complete, and return those yet to be made."""
    made = staging / "shards"
    made.mkdir(parents=True, exist_ok=True)
    parts = (records_file, digest_file, facts_file)
    complete = {shard.name for shard in shards if all(part(made, shard).is_file() for part in parts)}
    keep = {part(made, shard) for shard in shards if shard.name in complete for part in parts}
    for path in made.iterdir():
        if path not in keep:
            path.unlink()
    shutil.rmtree(staging / "span", ignore_errors=True)
    (staging / "rejects.csv").unlink(missing_ok=True)
    return [shard for shard in shards if shard.name not in complete]


def _check_room(root: Path, shards: Sequence[Shard], audio: AudioConfig) -> None:
    need = sum(len(shard.tracks) for shard in shards) * (2 * audio.clip_samples + 1024)
    free = shutil.disk_usage(root).free
    if need > free:
        raise UserError(f"{root}: this needs {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Make room first.")


# --- Decoding ----------------------------------------------------------------------------------------------------


class _WriteShard(beam.DoFn):
    """Makes a shard, and counts its files by outcome."""

    def __init__(self, made: str, audio_root: str, audio: AudioConfig, config: IngestConfig):
        self._made, self._audio_root, self._audio, self._config = made, audio_root, audio, config

    def process(self, name: str) -> None:
        """Make the shard called `name`."""

        def count(outcome: str) -> None:
            Metrics.counter("ingest", outcome).inc()

        made = Path(self._made)
        write_shard(made, read_plan(made, name), Path(self._audio_root), self._audio, self._config, count)


def _decode(
    shards: Sequence[Shard],
    made: Path,
    audio_root: Path,
    audio: AudioConfig,
    config: IngestConfig,
    beam_args: Sequence[str],
) -> None:
    """Make `shards` in the directory `made`, on as many workers as `beam_args` say."""
    for shard in shards:
        write_plan(made, shard)
    write = _WriteShard(str(made.absolute()), str(audio_root.absolute()), audio, config)
    try:
        with beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
            _ = (
                pipeline
                | "Shards" >> beam.Create([shard.name for shard in shards])
                | "Spread" >> beam.Reshuffle()
                | "Write" >> beam.ParDo(write)
            )
    except (OSError, RuntimeError) as error:
        if remedy := storage_remedy(error):
            raise UserError(f"{made}: {remedy}") from error
        raise


@contextmanager
def _watched(made: Path, shards: Sequence[Shard], on_progress: Callable[[int, int], None]) -> Iterator[None]:
    """Report progress while the block runs, by the facts in `made`: workers may be threads or processes."""
    sizes = {facts_file(made, shard).name: len(shard.tracks) for shard in shards}
    total = sum(sizes.values())
    ended = threading.Event()

    def done() -> int:
        most: Counter[str] = Counter()
        for path in made.glob("*.jsonl*"):
            name = path.name.partition(".jsonl")[0] + ".jsonl"
            lines = sizes[name] if path.name == name else _lines(path)
            most[name] = max(most[name], lines)  # of all attempts at the shard
        return most.total()

    def report() -> None:
        on_progress(done(), total)
        while not ended.wait(_POLL_SECONDS):
            on_progress(done(), total)

    reporter = threading.Thread(target=report, daemon=True)
    reporter.start()
    try:
        yield
    finally:
        ended.set()
        reporter.join()
    on_progress(done(), total)


def _lines(file: Path) -> int:
    try:
        return file.read_bytes().count(b"\n")
    except FileNotFoundError:  # its shard was completed a moment ago
        return 0
