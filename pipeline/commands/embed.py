"""`genre embed`: keeps what the served model hears in songs, for `genre similar`."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.base.errors import UserError, reason
from components.base.text import one_line
from pipeline.commands import options
from pipeline.output import echo

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.workspace import Workspace


@click.command()
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, required=True, type=click.Path(path_type=Path))
@options.configuration
@options.workspace
def embed(
    paths: tuple[Path, ...], config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None
) -> None:
    """Compute the embeddings of songs, and of the songs in directories, by the served model.

    They are kept in the workspace, so that only songs that are new or have changed are computed; after a kill, the
    same command continues. Each version of the model has embeddings of its own. The exit code is 1 if any file could
    not be read.
    """
    from components.similarity.collection import Collection
    from pipeline.predicting.songs import find_songs
    from pipeline.process import output_to

    place = options.configured(config_file, overrides, workspace=workspace)[1]
    version, directory = embeddings_of(place)
    failures: list[str] = []
    collection = Collection(directory)
    found = find_songs(paths)[0]
    failures += [f"{one_line(str(song.path))}: {song.problem}" for song in found if song.problem]
    songs = [song.path for song in found if not song.problem and not collection.knows(song.path)]
    silent = 0
    with collection.writing(), output_to(Path(os.devnull)) as console:
        from pipeline.console import counting

        with counting(console, "songs", len(songs)) as advance:
            for song, answer in zip(songs, embedded(place, version, songs), strict=True):
                advance()
                if isinstance(answer, Exception):
                    failures.append(f"{one_line(str(song))}: cannot be read: {reason(answer)}")
                    continue
                collection.add(song, answer)
                silent += not len(answer)
    total = len(collection.songs())
    echo(f"{len(songs)} songs computed, {silent} of them silent; {total} songs have embeddings by version {version}")
    if failures:
        raise UserError("\n".join(failures))


def embeddings_of(place: "Workspace") -> tuple[int, Path]:
    """Returns the served version of a workspace, and the directory of its embeddings.

    Raises:
      UserError: there is no model.
    """
    from components.store.model_store import current_version
    from pipeline.workspace import nothing_there

    version = current_version(place.models)
    if version is None:
        raise nothing_there(place)
    return version, place.local / "embeddings" / str(version)


def embedded(place: "Workspace", version: int, songs: list[Path]) -> "Iterator[NDArray[np.float32] | Exception]":
    """Yields the embedding of each song, or why there is none."""
    from components.store.model_store import version_dir
    from pipeline.process import large_imports

    if not songs:
        return
    with large_imports():
        from components.store.predictor import Predictor
    yield from Predictor(version_dir(place.models, version)).embed_all(songs)
