"""`genre predict`: names the genre of any song with the served model."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.base.errors import UserError
from pipeline.commands import options

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
    A silent song has no genre.
    The exit code is 1 if any file could not be read; the other songs are named all the same.
    """
    from components.store.model_store import current_version, version_dir
    from pipeline.config.settings import load_config
    from pipeline.process import large_imports, output_to
    from pipeline.workspace import Workspace, root_path

    songs = list(find_songs(paths))
    config = load_config(config_file, options.with_paths(overrides, workspace=workspace))
    store = Workspace(root_path(config.workspace)).models
    version = current_version(store)
    if version is None:
        raise UserError(
            f"{store}: no model has been pushed yet. `genre run` trains one and pushes it if it is good enough."
        )

    results: list[dict[str, object]] = []
    failures: list[str] = []
    with output_to(Path(os.devnull)) as console:
        with large_imports():
            from components.store.predictor import Predictor

        predictor = Predictor(version_dir(store, version))
        for song, answer in zip(songs, predictor.predict_all(songs), strict=True):
            if isinstance(answer, Exception):
                reason = answer.strerror if isinstance(answer, OSError) else str(answer)
                failures.append(f"{song}: cannot be read: {reason}")
                results.append({"path": str(song), "error": reason})
                continue
            result = {"path": str(song), "version": version, "clips": answer.clips, "genres": answer.probabilities}
            results.append(result if answer.clips else {**result, "reason": _SILENT})
            if not as_json:
                _show(console, song, answer, top)
        if as_json:
            console.file.write(json.dumps(results, indent=2, ensure_ascii=False) + "\n")
    if failures:
        raise UserError("\n".join(failures))


def find_songs(paths: tuple[Path, ...]) -> Iterator[Path]:
    """Yields the files among `paths`, and the audio files below the directories among them, sorted.

    Raises:
      UserError: a path does not exist, or a directory holds no audio.
    """
    from components.library.sources.track import AUDIO_SUFFIXES

    for path in paths:
        if path.is_dir():
            found = sorted(file for file in path.rglob("*") if file.suffix.lower() in AUDIO_SUFFIXES and file.is_file())
            if not found:
                known = ", ".join(AUDIO_SUFFIXES[:11])
                raise UserError(f"{path}: no audio files in it ({known} ...). Give songs or folders of songs.")
            yield from found
        elif path.exists():
            yield path
        else:
            raise UserError(f"{path}: no such file or directory. Give songs or folders of songs.")


def _show(console: "Console", song: Path, answer: "SongGenres", top: int) -> None:
    best = list(answer.probabilities.items())[:top]
    named = "  ".join(f"{genre} {probability:.0%}" for genre, probability in best) or _SILENT
    console.print(f"{song}: {named}", markup=False, soft_wrap=True)
