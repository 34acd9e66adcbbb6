"""`genre predict`: names the genre of any song with the served model."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING

import click

from components.base.errors import UserError
from components.base.text import as_utf8, one_line
from pipeline.commands import options
from pipeline.output import echo

if TYPE_CHECKING:
    from rich.console import Console

    from components.store.predictor import SongGenres

_SILENT = "silent"
"""The answer for a song without sound, in place of a genre."""


@click.command()
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.configuration
@options.workspace
@click.option("--top", type=click.IntRange(min=1), default=3, show_default=True, help="Genres to show of each song.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with every genre.")
def predict(
    paths: tuple[Path, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
    top: int,
    as_json: bool,
) -> None:
    """Name the genre of songs, and of the songs in directories.

    Any format that the ingest reads, of any length: a long song is cut into clips whose probabilities are averaged.
    A silent song has no genre. Hidden files and folders, and folders of systems, are left out of directories. The exit
    code is 1 if any file could not be read; the other songs are named all the same.
    """
    from components.store.model_store import current_version, version_dir
    from pipeline.process import large_imports, output_to
    from pipeline.workspace import nothing_there

    songs, left_out = find_songs(paths)
    place = options.configured(config_file, overrides, workspace=workspace)[1]
    store = place.models
    version = current_version(store)
    readable = [song for song, problem in songs if not problem]
    if readable and version is None:
        raise nothing_there(place)

    results: list[dict[str, object]] = []
    failures: list[str] = []
    with output_to(Path(os.devnull)) as console:
        answers: Iterator[SongGenres | Exception] = iter(())
        if readable and version is not None:
            with large_imports():
                from components.store.predictor import Predictor

            answers = Predictor(version_dir(store, version)).predict_all(readable)
        for song, problem in songs:
            answer = OSError(0, problem) if problem else next(answers)
            if isinstance(answer, Exception):
                reason = str(answer.strerror if isinstance(answer, OSError) else answer)
                failures.append(f"{one_line(str(song))}: {'' if problem else 'cannot be read: '}{reason}")
                results.append({"path": as_utf8(str(song)), "error": as_utf8(reason)})
                continue
            genres = answer.probabilities
            result: dict[str, object] = {"path": as_utf8(str(song)), "version": version}
            result |= {"clips": answer.clips, "genres": genres}
            results.append(result if answer.clips else {**result, "reason": _SILENT})
            if not as_json:
                _show(console, song, answer, top)
        if as_json:
            console.file.write(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if left_out:
        listed = ", ".join(f"{count} {kind}" for kind, count in sorted(left_out.items()))
        echo(f"left out of folders: {listed}", err=True)
    if failures:
        raise UserError("\n".join(failures))


def find_songs(paths: tuple[Path, ...]) -> tuple[list[tuple[Path, str]], Counter[str]]:
    """Lists the files among `paths`, and those below the folders among them that `walk` takes for songs.

    Returns:
      Each song with the reason why it cannot be read, which is empty for a regular file; and how much was left out of
      the folders, by kind.

    Raises:
      UserError: a folder cannot be listed.
    """
    from components.library.sources.track import AUDIO_SUFFIXES, LEFT_OUT
    from components.library.sources.walk import look, walk

    songs: list[tuple[Path, str]] = []
    left_out: Counter[str] = Counter()
    for path in paths:
        try:
            status, problem = look(path)
        except OSError as error:
            status, problem = None, f"cannot be read: {error.strerror}"
        if status is None or not S_ISDIR(status.st_mode):
            songs.append((path, problem))
            continue
        before = len(songs)
        for entry in walk(path):
            if (kind := entry.problem.partition(":")[0]) in LEFT_OUT:
                left_out[kind] += 1
            else:
                songs.append((path / entry.path, entry.problem))
        if len(songs) == before:
            songs.append((path, f"no audio files in it ({', '.join(AUDIO_SUFFIXES[:11])} ...)"))
    return songs, left_out


def _show(console: "Console", song: Path, answer: "SongGenres", top: int) -> None:
    best = list(answer.probabilities.items())[:top]
    named = "  ".join(f"{genre} {probability:.0%}" for genre, probability in best) or _SILENT
    console.print(f"{one_line(str(song))}: {named}", soft_wrap=True)
