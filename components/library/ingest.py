"""Turns songs into a span of sharded TFRecords; see `components.library.layout` for the files that it writes.

1. Every file is assigned to a shard before any is decoded (`inputs`, `shards`), so the bytes do not depend on how many
   workers there are.
2. Shards are made in a staging directory beside the spans, each whole or not at all. A killed ingest leaves them there,
   and the next one continues from them.
3. What only the whole library shows (duplicates, empty splits, too many rejects) is checked when all shards are made
   (`duplicates`).
4. The finished span (`spans`) appears under its name in one rename.

Beam runs the decoding. Audio is streamed: of a file, only its name, its labels and a hash are kept in memory.
"""

import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from etils import epath

from components.audio.config import AudioConfig
from components.base.errors import UserError, storage_remedy
from components.base.files import move_directory
from components.beam.progress import looking
from components.library.config import IngestConfig
from components.library.genres import rejected_then
from components.library.inputs import Listed, in_order, look_at, with_known_genre, with_splits
from components.library.layout import (
    SPLITS,
    Library,
    Manifest,
    complete_spans,
    read_inputs_digest,
    read_library,
    read_manifest,
    span_dir,
    span_numbers,
)
from components.library.repeats.duplicates import Duplicates, lack, sort_files, too_many, unopened
from components.library.repeats.near_duplicates import Alike, Heard, alike, read_fingerprints
from components.library.restating.moves import only_writer
from components.library.shards import (
    CLIPS_PER_SHARD,
    Fact,
    Shard,
    facts_file,
    failure_file,
    inputs_digest,
    is_whole,
    plan_shards,
    read_plan,
    records_file,
    seal_file,
    write_plan,
    write_shard,
)
from components.library.song_files import StorageError
from components.library.sources.track import LEFT_OUT, Track
from components.library.spans import (
    NEAR_DUPLICATES_FILE,
    SpanAccount,
    schema_digest,
    write_library,
    write_rejects,
    write_span,
)
from components.library.splits import Group
from components.library.tables import read_examples

_POLL_SECONDS = 0.5
_SHOWN = 10
"""Files that a message names at most."""


@dataclass(frozen=True)
class Ingested:
    """The result of an ingest."""

    directory: Path
    """Of the span."""
    manifest: Manifest
    genres: tuple[str, ...]
    """Of the library, in order."""
    shards: int = 0
    """Number of shards that the span was made of."""
    resumed: int = 0
    """Number of those that an earlier ingest, which was killed or failed, had made."""
    existed: bool = False
    """The span was complete before, and nothing was done."""
    now_known: Counter[str] = field(default_factory=Counter)
    """Songs per genre that the span rejected and a new span would accept, because their genre was added since."""

    def durations(self) -> list[float]:
        """Returns the lengths of the songs that became examples, in seconds, ascending."""
        rows = read_examples(self.directory.parent, self.manifest.span)
        return sorted(float(row["duration_seconds"]) for row in rows)

    @property
    def near_duplicates(self) -> int:
        """Pairs of songs that sound the same in two splits; see near-duplicates.csv of the span."""
        file = self.manifest.files.get(NEAR_DUPLICATES_FILE)
        return (file and file.records) or 0

    @property
    def empty_splits(self) -> list[str]:
        """Splits of which the span has no example."""
        return [split for split in SPLITS if not self.manifest.splits[split].clips]

    def gaps(self) -> dict[str, list[str]]:
        """Returns, by split, the genres of which no complete span of the library has an example in it."""
        root = self.directory.parent
        counts = [read_manifest(root, span).splits for span in complete_spans(root)]
        gaps = {
            split: [genre for genre in self.genres if not any(splits[split].genres.get(genre) for splits in counts)]
            for split in SPLITS
        }
        return {split: genres for split, genres in gaps.items() if genres}


def ingest(
    tracks: Iterable[Track],
    audio_root: Path,
    data_set: str,
    root: Path,
    audio: AudioConfig,
    config: IngestConfig,
    span: int | None = None,
    beam_args: Sequence[str] = (),
    on_progress: Callable[[int, int], None] = lambda done, total: None,
    clips_per_shard: int = CLIPS_PER_SHARD,
) -> Ingested:
    """Writes `tracks` as a span of the library at `root`, unless there is one that was made of them.

    Args:
      tracks: their paths are relative to `audio_root`.
      data_set: names the input in the manifest. It must not be a path of this machine: the same files give the same
        bytes on every machine.
      root: of the library; made if it is missing.
      span: number of the span; None: the one after the last.
      beam_args: options of the Beam pipeline that decodes.
      on_progress: called with the numbers of files done and of all files, often and at the end, from another thread.
      clips_per_shard: input files of a shard.

    Raises:
      UserError: there is nothing usable in `tracks`, a group in two splits, an empty split, a single genre, or too many
        rejects; the storage does not give a file; the settings or the span contradict the library at `root`, or it is
        damaged; another process writes to it; or there is too little room on the disk.
    """
    ordered = in_order(tracks)
    left_out = [track for track in ordered if track.kind in LEFT_OUT]
    with only_writer(root):
        spans = _spans(root)
        _remove_staging(root, spans)
        inputs = _looked_at((track for track in ordered if track.kind not in LEFT_OUT), audio_root)
        # Before genres and splits of the library are applied: otherwise the same input would not be recognised later.
        digest = inputs_digest(inputs, audio, config)
        if known := _made_of(root, spans, span, digest):
            return known

        number = _free_number(root, spans, span)
        library = _library(root, spans, audio)
        earlier = _read_earlier(root, spans)
        inputs = [with_known_genre(item, library.genres if library else None) for item in inputs]
        inputs = with_splits(inputs, config.splits, earlier.groups)
        staging = _staging(root, number)
        rejects = [unopened(item.track) for item in inputs if item.track.problem]
        _refuse(too_many(rejects, len(inputs), config.max_reject_share), rejects, staging)
        usable = [item for item in inputs if not item.track.problem]
        shards = plan_shards(usable, audio, config, clips_per_shard)
        missing = _clear(staging, shards)
        made = staging / "shards"
        if missing:
            _check_room(root, missing, audio)
            with _watched(made, shards, on_progress):
                _decode(missing, made, audio_root, audio, config, beam_args)

        duplicates = Duplicates(made, shards, earlier.clips)
        near = _near_duplicates(duplicates, shards, earlier.heard)
        if config.near_duplicates == "reject":
            duplicates.reject(near)
        sorting = sort_files(duplicates, shards, rejects)
        genres = library.genres if library else sorting.all_genres
        problem = too_many(sorting.rejects, len(inputs), config.max_reject_share) or lack(
            sorting, genres, first=library is None
        )
        _refuse(problem, sorting.rejects, staging)
        if library is None:
            write_library(root, Library(genres=genres, audio=audio))
        account = SpanAccount(number, data_set, len(inputs), digest, genres, schema_digest(root))
        manifest = write_span(staging / "span", made, duplicates, sorting, left_out, near, account)
        move_directory(epath.Path(staging / "span"), epath.Path(span_dir(root, number)))
        _remove_staging(root, [number])
        return Ingested(span_dir(root, number), manifest, genres, len(shards), len(shards) - len(missing))


def _refuse(problem: str, rejects: Sequence[Fact], staging: Path) -> None:
    """Raises `problem` if it is not empty, and leaves the list of `rejects` in `staging`."""
    if problem and rejects:
        staging.mkdir(parents=True, exist_ok=True)
        write_rejects(staging / "rejects.csv", rejects)
        problem += f" Every rejected file is listed in {staging / 'rejects.csv'}."
    if problem:
        raise UserError(problem)


@dataclass(frozen=True)
class _Earlier:
    """Clips and groups of the complete spans of a library."""

    clips: dict[bytes, tuple[str, int]] = field(default_factory=dict)
    """Track id and span of every clip, by the hash of its PCM."""
    groups: dict[str, Group] = field(default_factory=dict)
    """By name."""
    heard: list[Heard] = field(default_factory=list)


def _spans(root: Path) -> list[int]:
    """Returns the numbers of the spans of `root`.

    Raises:
      UserError: one of them has no manifest. It is never written so: its songs would not be recognised.
    """
    spans = complete_spans(root)
    if broken := sorted({*span_numbers(root)} - {*spans}):
        raise UserError(
            f"{span_dir(root, broken[0])}: exists, but is no complete span: it has no manifest. Put the manifest back, "
            "or move the directory away."
        )
    return spans


def _remove_staging(root: Path, spans: Sequence[int]) -> None:
    """Removes what an ingest that was killed between its last two steps left of `spans`, which are complete."""
    for span in spans:
        shutil.rmtree(_staging(root, span), ignore_errors=True)
    with suppress(OSError):  # it may hold the staging directory of another span, or not be there
        (root / ".staging").rmdir()


def _staging(root: Path, span: int) -> Path:
    return root / ".staging" / f"span-{span}"


def _looked_at(tracks: Iterable[Track], audio_root: Path) -> list[Listed]:
    found, problems = [], []
    for track in tracks:
        try:
            found.append(look_at(track, audio_root))
        except StorageError as error:
            problems.append(str(error))
    _refuse_unread(problems)
    return found


def _refuse_unread(problems: Sequence[str]) -> None:
    """Raises an error if there are `problems` of reading files: these say nothing about the songs."""
    if problems:
        shown = "".join(f"\n  {problem}" for problem in problems[:_SHOWN])
        more = f"\n  and {len(problems) - _SHOWN} more" if len(problems) > _SHOWN else ""
        raise UserError(
            f"files cannot be read now:{shown}{more}\nNo song was rejected for it. Make them readable, then give the "
            "same command again: it continues from here."
        )


def _made_of(root: Path, spans: Sequence[int], span: int | None, digest: str) -> Ingested | None:
    """Finds the span, `span` if given, that was made of the inputs of `digest`; None if they make a new span.

    The same inputs make a new span when a song was rejected for its genre, and the genre was added since, by `genre
    classes add`. A span that is asked for by its number stays as it is, and the result counts those songs.
    """
    same = [number for number in reversed(spans) if read_inputs_digest(root, number) == digest]
    if not same:
        return None
    genres = read_library(root).genres
    now_known = {number: rejected_then(root, number, genres) for number in same}
    settled = [number for number in same if not now_known[number]]
    number = span if span in same else settled[0] if settled and span is None else None
    if number is None:
        return None
    left: Counter[str] = Counter() if settled else now_known[number]
    return Ingested(span_dir(root, number), read_manifest(root, number), genres, existed=True, now_known=left)


def _free_number(root: Path, spans: Sequence[int], span: int | None) -> int:
    """Returns `span`, or else the number after the last span.

    Raises:
      UserError: there is a directory of that number already.
    """
    if span is not None and span in spans:
        raise UserError(
            f"{root}: span {span} exists and holds something else. Leave out --span to add span {spans[-1] + 1}, "
            f"or remove {span_dir(root, span)} first."
        )
    return span if span is not None else spans[-1] + 1 if spans else 1


def _library(root: Path, spans: Sequence[int], audio: AudioConfig) -> Library | None:
    """Reads what all spans of `root` share; None before the first span is complete.

    Raises:
      UserError: its audio format is not that of the configuration.
    """
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
        earlier.heard.extend(read_fingerprints(root, number))
        for row in read_examples(root, number):
            earlier.clips.setdefault(bytes.fromhex(row["sha256"]), (row["track_id"], number))
            earlier.groups.setdefault(row["artist"], Group(row["split"], number)).genres.add(row["genre"])
    return earlier


def _near_duplicates(duplicates: Duplicates, shards: Sequence[Shard], earlier: Sequence[Heard]) -> list[Alike]:
    """Finds the songs of `shards` that sound the same as one of another split, there or in an `earlier` span."""
    facts = (fact for shard in shards for _, fact in duplicates.facts(shard) if not fact.reject)
    return alike([*(Heard(fact.track_id, fact.split, None, fact.fingerprint) for fact in facts), *earlier])


def _clear(staging: Path, shards: Sequence[Shard]) -> list[Shard]:
    """Removes from `staging` all but the complete ones of `shards`; returns those that are not complete, or damaged."""
    made = staging / "shards"
    made.mkdir(parents=True, exist_ok=True)
    parts = (records_file, facts_file, seal_file)
    complete = {shard.name for shard in shards if is_whole(made, shard)}
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
        raise UserError(f"{root}: the ingest needs {need / 1e9:.1f} GB, and {free / 1e9:.1f} GB are free. Make room.")


class _WriteShard(beam.DoFn):
    """Makes shards, and counts their files by outcome."""

    def __init__(self, made: str, audio_root: str, audio: AudioConfig, config: IngestConfig):
        self._made, self._audio_root, self._audio, self._config = made, audio_root, audio, config

    def process(self, name: str) -> None:
        """Makes the shard called `name`."""

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
    """Makes `shards` in the directory `made`, on the workers that `beam_args` name."""
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
    failed = [failure_file(made, shard) for shard in shards if not seal_file(made, shard).is_file()]
    _refuse_unread([file.read_text(encoding="utf-8") for file in failed])


@contextmanager
def _watched(made: Path, shards: Sequence[Shard], on_progress: Callable[[int, int], None]) -> Iterator[None]:
    """Reports progress while the block runs, from the files of facts: workers may be threads or processes."""
    sizes = {facts_file(made, shard).name: len(shard.tracks) for shard in shards}
    total = sum(sizes.values())

    def done() -> int:
        most: Counter[str] = Counter()
        for path in made.glob("*.jsonl*"):
            name = path.name.removeprefix(".").partition(".jsonl")[0] + ".jsonl"  # of a temporary file, too
            lines = sizes[name] if path.name == name else _lines(path)
            most[name] = max(most[name], lines)  # of several attempts at the shard
        return most.total()

    with looking(lambda: on_progress(done(), total), _POLL_SECONDS):
        yield


def _lines(file: Path) -> int:
    try:
        return file.read_bytes().count(b"\n")
    except FileNotFoundError:  # its shard has just been completed
        return 0
