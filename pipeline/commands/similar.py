"""`genre similar`: songs that sound like a song, songs like no other, and songs that are there twice."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.base.errors import UserError, command_line
from components.base.text import as_utf8
from pipeline.commands import options
from pipeline.commands.embed import embedded, embeddings_of
from pipeline.commands.tables import show_table

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from pipeline.workspace import Workspace


@click.command()
@click.argument("song", required=False, type=click.Path(path_type=Path))
@options.configuration
@options.workspace
@click.option("--count", type=click.IntRange(min=1), default=10, show_default=True, help="Songs or pairs to show.")
@click.option("--outliers", is_flag=True, help="Show the songs that are least like the five next to them.")
@click.option("--duplicates", is_flag=True, help="Show the pairs of songs that are most alike.")
@click.option(
    "--least",
    type=click.FloatRange(0.0, 1.0),
    default=0.99,
    show_default=True,
    help="Lowest similarity of duplicates.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def similar(
    song: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
    count: int,
    outliers: bool,
    duplicates: bool,
    least: float,
    as_json: bool,
) -> None:
    """Show the songs that are most like SONG to the served model, among those of `genre embed`.

    SONG may be any song. Similarity is the cosine of the angle between embeddings: 1 is the same.
    """
    from components.similarity.collection import Collection
    from components.similarity.search import Search

    if (song is not None) + outliers + duplicates != 1:
        raise click.UsageError("Name a song, or give --outliers or --duplicates.")
    place = options.configured(config_file, overrides, workspace=workspace)[1]
    version, directory = embeddings_of(place)
    collection = Collection(directory)
    names = [each.path for each in collection.songs()]
    if not names:
        raise UserError(
            f"{place.root}: no song has an embedding by version {version}. "
            f"Compute some with {command_line('genre', 'embed', 'DIR')}."
        )
    vectors = collection.vectors()
    search = Search(vectors)
    rows: list[tuple[Any, ...]]
    if duplicates:
        rows = [(each, names[a], names[b]) for a, b, each in search.duplicates(least, count)]
    elif song is None:
        rows = [(each.similarity, names[each.place]) for each in search.outliers(count)]
    else:
        path = os.path.abspath(song)
        known = collection.knows(song) and path in names
        vector = vectors[names.index(path)] if known else _embedding(place, version, song)
        found = search.neighbours(vector, count + 1)
        rows = [(each.similarity, names[each.place]) for each in found if names[each.place] != path][:count]
    columns = ("similarity", "song", "other")[: 3 if duplicates else 2]
    if as_json:
        click.echo(json.dumps([dict(zip(columns, map(_plain, row), strict=True)) for row in rows], indent=2))
        return
    show_table(columns, [(f"{row[0]:.3f}", *row[1:]) for row in rows])


def _plain(cell: Any) -> str | float:
    return as_utf8(cell) if isinstance(cell, str) else round(float(cell), 6)


def _embedding(place: "Workspace", version: int, song: Path) -> "NDArray[np.float32]":
    """Computes the embedding of a song that is not in the collection.

    Raises:
      UserError: it cannot be read, or is silent.
    """
    from pipeline.process import output_to

    with output_to(Path(os.devnull)):
        (vector,) = embedded(place, version, [song])
    if isinstance(vector, Exception):
        raise UserError(f"{song}: cannot be read: {vector}")
    if not len(vector):
        raise UserError(f"{song}: silent, so nothing is like it.")
    return vector
