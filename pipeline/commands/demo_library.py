"""`genre demo-library`: composes songs to try the pipeline on."""

import shlex
import time
from pathlib import Path

import click

from pipeline.output import echo, plain_console


@click.command("demo-library")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--artists", default=10, show_default=True, help="Artists per genre, at least 3.")
@click.option("--songs", default=6, show_default=True, help="Songs per artist.")
@click.option("--seconds", default=6.0, show_default=True, help="Length of every song in seconds, from 2 to 600.")
@click.option("--seed", default=0, show_default=True, help="Another seed gives another library.")
def demo_library(directory: Path, artists: int, songs: int, seconds: float, seed: int) -> None:
    """Compose a small library of eight genres in DIR, to try the pipeline on.

    The songs are generated, and each artist has a sound of its own. The same options give the same songs. A library
    that exists already is left as it is.
    """
    from rich.progress import Progress

    from components.demo.library import TRACKS_FILE, LibraryOptions, build, plan

    options = LibraryOptions(artists, songs, seconds, seed)
    pieces = plan(options)
    console = plain_console()
    start = time.monotonic()
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("composing", total=len(pieces))
        composed = build(directory, options, lambda: progress.advance(task))

    # As `make run` does it.
    settings = "--config configs/demo.yaml" + ("" if seconds == 6.0 else f" --set audio.clip_seconds={seconds:g}")
    where = shlex.quote(str(directory))
    found = f"composed in {time.monotonic() - start:.0f} s" if composed else "already there"
    genres, names = len({piece.genre for piece in pieces}), len({piece.artist for piece in pieces})
    echo(f"{len(pieces)} songs of {seconds:g} s, {genres} genres, {names} artists, in {directory}: {found}.")
    echo(
        f"Next: genre ingest csv {shlex.quote(str(directory / TRACKS_FILE))} --audio-root {where} "
        f"--genre-column genre --group-column artist --split-column split {settings}"
    )
