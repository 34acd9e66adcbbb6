"""Names the genres of any number of songs by a Beam pipeline, on any runner.

<output>/part-00007-of-00256-<digest>.parquet     a row for each song that can be read, see `SCHEMA`
<output>/rejects-00007-of-00256-<digest>.parquet  the path of each that cannot, and the reason
<output>/summary.json                             an `Outcome`; written last

A song's shard is decided by its path, and the digest of a shard is of its songs and of all that was asked for. So a
shard that is there is the one that would be made, and a command that was killed goes on where it was.
"""

import functools
import glob
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import apache_beam as beam
import pyarrow as pa
from apache_beam.io import fileio
from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.utils.shared import Shared
from etils import epath
from pyarrow import parquet

from components.audio.decoding import AudioError
from components.base.errors import UserError, named, reason
from components.base.files import in_bucket, write_atomically
from components.base.section import Section
from components.base.text import as_utf8
from components.beam.progress import looking
from components.library.song_files import MISSING_FILE
from components.library.sources.track import AUDIO_SUFFIXES, MISSING
from components.library.sources.walk import left_out
from components.store.answers import SongGenres
from components.store.predictor import Predictor

SHARDS = 256
"""Shards if nobody says how many: what a killed worker loses is the work on one."""
_GENRES = pa.map_(pa.string(), pa.float64())
SCHEMA = pa.schema(
    {
        "path": pa.string(),
        "genre": pa.string(),  # the most probable; null: the song is silent
        "probability": pa.float64(),
        "genres": _GENRES,
        "segments": pa.list_(pa.struct({"start": pa.float64(), "end": pa.float64(), "genres": _GENRES})),
        "embedding": pa.list_(pa.float32()),
        "version": pa.int64(),
    }
)
"""Of a row; segments and embedding are null where they were not asked for. Times are in seconds."""
_REJECTS = pa.schema({"path": pa.string(), "reason": pa.string()})
_SUMMARY = "summary.json"
_TOGETHER = 64
"""Songs that are fetched, answered and written at a time: those from a bucket are files on the worker's disk then."""
_FETCHES = 8
"""Songs that are fetched from a bucket at the same time."""
_POLL_SECONDS = 2.0
_SHOWN = 10
"""Failures that are told at most."""


class Asked(Section):
    """What is asked for of every song."""

    model: str
    """Directory of the version."""
    version: int
    segments: bool = False
    hop: float | None = None
    """See `Predictor.predict_all`."""
    embed: bool = False
    shards: int = SHARDS


class Outcome(Section):
    """What came of it."""

    run: str
    """Of the command that wrote it."""
    asked: Asked
    songs: int
    """Rows of all parts."""
    rejects: int
    shards: int
    """Those that have a song."""
    failures: tuple[str, ...] = ()
    """Why shards are missing: a file that the storage did not give, or no room for the answers, or the model."""


@dataclass(frozen=True)
class _Shard:
    name: str
    songs: int = 0
    rejects: int = 0
    failures: tuple[str, ...] = ()


def name_songs(
    pattern: str,
    output: str,
    asked: Asked,
    beam_args: Sequence[str],
    on_progress: Callable[[int], None] = lambda shards: None,
) -> Outcome:
    """Names the genres of all songs that match, but those of shards that are there already.

    Args:
      pattern: of files or a folder, on a disk or in a bucket; `**` goes into folders.
      output: a directory; what is in it of other songs or for other options goes at the end.
      on_progress: called with the number of shards that are there, every few seconds, from another thread.

    Raises:
      UserError: nothing matches, `output` is no directory, or shards could not be made: see `Outcome.failures`.
    """
    folder, files = _files_in(pattern)
    none = f"--input {pattern}: no audio files there ({', '.join(AUDIO_SUFFIXES[:11])} ...)"
    try:
        if not any(found.metadata_list for found in FileSystems.match([files], [1])):
            raise UserError(none)
        if not in_bucket(output):
            Path(output).mkdir(parents=True, exist_ok=True)
    except (BeamIOError, ValueError) as error:
        raise UserError(f"--input {pattern}: the storage cannot be used: {error}") from error
    except OSError as error:
        raise UserError(f"-o {output}: no directory that can be written: {named(error)}. Name another.") from error
    run = uuid.uuid4().hex

    def look() -> None:
        with suppress(BeamIOError, OSError):  # a storage that does not list now will do so later
            on_progress(len(_parts(output, ["part"])))

    with looking(look, _POLL_SECONDS), beam.Pipeline(options=PipelineOptions(list(beam_args))) as pipeline:
        _ = (
            pipeline
            | "Pattern" >> beam.Create([files])
            | "List" >> fileio.MatchAll(fileio.EmptyMatchTreatment.ALLOW)
            | "Songs" >> beam.Filter(functools.partial(_is_song, folder=folder))
            | "Shards" >> beam.Map(functools.partial(_keyed, shards=asked.shards))
            | "Together" >> beam.GroupByKey()
            | "Name" >> beam.ParDo(_NameShard(asked, output))
            | "All" >> beam.CombineGlobally(beam.combiners.ToListCombineFn())
            | "Finish" >> beam.Map(functools.partial(_finish, asked=asked, output=output, run=run))
        )
    summary = FileSystems.join(output, _SUMMARY)
    with FileSystems.open(summary, compression_type=CompressionTypes.UNCOMPRESSED) as file:
        outcome = Outcome.model_validate_json(file.read())
    if outcome.run != run:
        raise UserError(f"{summary}: another command writes there at the same time. Give each its own directory.")
    if outcome.failures:
        listed = "".join(f"\n  {failure}" for failure in outcome.failures[:_SHOWN])
        raise UserError(f"not all songs were named:{listed}\nGive the same command again then: it goes on from here.")
    if not outcome.songs + outcome.rejects:
        raise UserError(none)
    return outcome


def _files_in(pattern: str) -> tuple[str, str]:
    """Returns the folder that a pattern is about, and a pattern of files: of all those below, if it names a folder."""
    if not in_bucket(pattern) and Path(pattern).is_dir():
        folder = f"{os.path.abspath(pattern)}/"
        return folder, f"{glob.escape(folder)}**"
    fixed = re.split(r"[*?\[]", pattern, maxsplit=1)[0]
    return fixed.rpartition("/")[0], f"{pattern}**" if pattern.endswith("/") else pattern


def _is_song(file: FileMetadata, folder: str) -> bool:
    """Returns whether `walk` would take a file below `folder` for a song, by its name and those of its folders."""
    *folders, name = file.path.removeprefix(folder).strip("/").split("/")
    passed_over = any(left_out(each, folder=True, regular=False) for each in folders)
    return not passed_over and not left_out(name, folder=False, regular=True)


def _keyed(file: FileMetadata, shards: int) -> tuple[int, tuple[str, int, float]]:
    digest = hashlib.sha256(os.fsencode(file.path)).digest()
    return int.from_bytes(digest[:8]) % shards, (file.path, file.size_in_bytes, file.last_updated_in_seconds)


class _NameShard(beam.DoFn):
    def __init__(self, asked: Asked, output: str):
        self._asked, self._output, self._shared = asked, output, Shared()

    def process(self, keyed: tuple[int, Iterable[tuple[str, int, float]]]) -> Iterator[_Shard]:
        """Makes a shard, unless it is there."""
        number, listed = keyed
        songs = sorted(set(listed))
        digest = hashlib.sha256(json.dumps([self._asked.model_dump(), songs]).encode()).hexdigest()[:16]
        name = f"{number:05d}-of-{self._asked.shards:05d}-{digest}"
        part, rejects = (FileSystems.join(self._output, f"{kind}-{name}.parquet") for kind in ("part", "rejects"))
        if FileSystems.exists(part):
            yield _Shard(name, _count(part), _count(rejects))
            return
        try:
            with tempfile.TemporaryDirectory() as scratch:
                files = [Path(scratch, kind) for kind in ("part", "rejects")]
                shard = self._make(name, [path for path, _, _ in songs], *files)
                if not shard.failures:
                    _put(files[1].read_bytes(), rejects)
                    _put(files[0].read_bytes(), part)  # last: with it, the shard is there
        # Told, not raised: Beam would try again, and bury the message.
        except UserError as error:
            shard = _Shard(name, failures=(str(error),))
        except OSError as error:
            shard = _Shard(name, failures=(f"{self._output}: cannot be written: {named(error)}",))
        yield shard

    def _make(self, name: str, songs: Sequence[str], part: Path, rejects: Path) -> _Shard:
        # One for all the threads of a process: it takes long to load, and its methods may be called at the same time.
        predictor = self._shared.acquire(lambda: Predictor(epath.Path(self._asked.model)), tag=self._asked.model)
        counts, failures = {"songs": 0, "rejects": 0}, []
        with parquet.ParquetWriter(part, SCHEMA) as table, parquet.ParquetWriter(rejects, _REJECTS) as refused:
            for first in range(0, len(songs), _TOGETHER):
                rows, reasons = [], []
                for path, answer in self._answers(predictor, songs[first : first + _TOGETHER]):
                    if isinstance(answer, SongGenres):
                        rows.append(self._row(path, answer))
                    elif isinstance(answer, AudioError):
                        reasons.append({"path": as_utf8(path), "reason": as_utf8(reason(answer))})
                    elif answer.errno in MISSING_FILE:
                        reasons.append({"path": as_utf8(path), "reason": MISSING})
                    else:  # which says nothing about the song
                        failures.append(as_utf8(f"{path}: cannot be read now: {named(answer)}"))
                table.write_table(pa.Table.from_pylist(rows, SCHEMA))
                refused.write_table(pa.Table.from_pylist(reasons, _REJECTS))
                for what, found in (("songs", rows), ("rejects", reasons)):
                    counts[what] += len(found)
                    Metrics.counter("predict", what).inc(len(found))
        return _Shard(name, **counts, failures=tuple(failures))

    def _answers(
        self, predictor: Predictor, paths: Sequence[str]
    ) -> Iterator[tuple[str, SongGenres | AudioError | OSError]]:
        with ThreadPoolExecutor(_FETCHES) as threads:
            sources = list(threads.map(_fetched, paths))
        songs = (source for source in sources if not isinstance(source, OSError))
        answers = predictor.predict_all(songs, self._asked.segments, self._asked.hop, self._asked.embed)
        for path, source in zip(paths, sources, strict=True):
            yield path, source if isinstance(source, OSError) else next(answers)

    def _row(self, path: str, answer: SongGenres) -> dict[str, Any]:
        genre, probability = next(iter(answer.probabilities.items()), (None, None))
        segments = [
            {"start": each.start, "end": each.end, "genres": list(each.probabilities.items())}
            for each in answer.segments
        ]
        return {
            "path": as_utf8(path),
            "genre": genre,
            "probability": probability,
            "genres": list(answer.probabilities.items()),
            "segments": segments if self._asked.segments else None,
            "embedding": answer.embedding if self._asked.embed else None,
            "version": self._asked.version,
        }


def _fetched(path: str) -> Path | BinaryIO | OSError:
    """Returns a song that a decoder can go back and forth in; or why the storage does not give it."""
    if not in_bucket(path):
        return Path(path)
    file = tempfile.TemporaryFile()  # noqa: SIM115 (it is removed when nothing refers to it any more)
    try:
        _fetch(path, file)
    except OSError as error:
        return error
    file.seek(0)
    return file


def _fetch(path: str, file: BinaryIO) -> None:
    try:
        with FileSystems.open(path, compression_type=CompressionTypes.UNCOMPRESSED) as song:
            shutil.copyfileobj(song, file, 1 << 20)
    except Exception as error:  # those of the storages' libraries have no common class
        raise OSError(0, str(error)) from error


def _count(file: str) -> int:
    with FileSystems.open(file, compression_type=CompressionTypes.UNCOMPRESSED) as content:
        return parquet.read_metadata(io.BytesIO(content.read())).num_rows


def _put(content: bytes, target: str) -> None:
    """Puts a file in its place, whole or not at all: in a bucket, an object is there when all of it is."""
    if not in_bucket(target):
        write_atomically(epath.Path(target), content)
        return
    with FileSystems.create(target, compression_type=CompressionTypes.UNCOMPRESSED) as out:
        out.write(content)


def _finish(shards: Sequence[_Shard], asked: Asked, output: str, run: str) -> None:
    """Removes what is of no shard, and writes the outcome."""
    failures = tuple(sorted({failure for shard in shards for failure in shard.failures}))
    if not failures:
        kept = {f"{kind}-{shard.name}.parquet" for shard in shards for kind in ("part", "rejects")}
        others = [path for path in _parts(output) if FileSystems.split(path)[1] not in kept]
        if others:
            FileSystems.delete(others)
    songs, rejects = (sum(getattr(shard, what) for shard in shards) for what in ("songs", "rejects"))
    outcome = Outcome(run=run, asked=asked, songs=songs, rejects=rejects, shards=len(shards), failures=failures)
    _put(outcome.model_dump_json(indent=2).encode(), FileSystems.join(output, _SUMMARY))


def _parts(output: str, kinds: Sequence[str] = ("part", "rejects")) -> list[str]:
    patterns = [f"{glob.escape(output)}/{kind}-*.parquet" for kind in kinds]
    return [file.path for found in FileSystems.match(patterns) for file in found.metadata_list]
