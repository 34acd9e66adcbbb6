"""`genre classes`: lists the genres of a library, which are the classes of its models, and adds new ones."""

import json
from pathlib import Path

import click

from components.base.errors import UserError, reason
from pipeline.commands import options
from pipeline.commands.tables import show_table
from pipeline.output import echo


@click.group()
def classes() -> None:
    """List the genres of a library, or add to them: the classes of its models, in the order of their outputs."""


@classes.command("list")
@options.data
@options.configuration
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def list_(data: Path | None, config_file: Path | None, overrides: tuple[str, ...], as_json: bool) -> None:
    """List the genres in order, with the clips of each in every span and split."""
    from components.library.layout import SPLITS, complete_spans, read_library, read_manifest
    from pipeline.config.settings import load_config
    from pipeline.workspace import root_path

    root = root_path(load_config(config_file, options.with_paths(overrides, data=data)).data)
    library = read_library(root)
    manifests = [read_manifest(root, span) for span in complete_spans(root)]
    columns = ("span", *SPLITS)
    spans = {
        genre: [
            {"span": each.span, **{split: each.splits[split].genres.get(genre, 0) for split in SPLITS}}
            for each in manifests
        ]
        for genre in library.genres
    }
    if as_json:
        accounts = [
            {"index": index, "genre": genre, "spans": counts} for index, (genre, counts) in enumerate(spans.items())
        ]
        click.echo(json.dumps(accounts, indent=2))
        return
    rows = (
        (index, genre, *(counts.get(column, "") for column in columns))
        for index, genre in enumerate(spans)
        for counts in spans[genre] or [{}]
    )
    show_table(["index", "genre", *columns], rows)


@classes.command()
@click.argument("genres", metavar="GENRE...", nargs=-1, required=True)
@options.data
@options.configuration
def add(genres: tuple[str, ...], data: Path | None, config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Add each GENRE to the library, after those that it has.

    This starts a new model line: a model of the new class list cannot be compared with the served one. Songs of a genre
    that was not added are rejected. Ingest the same songs again afterwards: those that were rejected for these genres
    become a new span.
    """
    from pipeline.config.settings import load_config

    config = load_config(config_file, options.with_paths(overrides, data=data))
    if "://" in config.data:
        raise UserError(
            f"data: {config.data} is no directory of this machine. Add genres where `genre ingest` wrote the library, "
            "and copy schema.pbtxt and then library.json from there."
        )

    from components.library.genres import add_genres

    root = Path(config.data).absolute()
    try:
        added = add_genres(root, genres)
    except OSError as error:
        raise UserError(f"{error.filename or root}: {reason(error)}") from error
    known = added.library.genres
    echo(f"{root}: added {', '.join(genres)}; {len(known)} genres now: {', '.join(known)}")
    echo(
        "A new model line starts: the next run trains fresh, and its model is judged by the floors alone, because the "
        "champion knows other genres."
    )
    for span, counts in added.rejected.items():
        songs = ", ".join(f"{count} of {genre}" for genre, count in counts.items())
        echo(f"Span {span} rejected songs for their genre: {songs}. Ingest its input again to bring them in.")
