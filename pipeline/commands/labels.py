"""`genre labels`: finds songs whose label is likely wrong, to hear and to correct."""

from pathlib import Path

import click

from components.base.errors import UserError
from pipeline.commands import options
from pipeline.output import echo


@click.command()
@click.option("--span", type=click.IntRange(min=0), help="Span to look at; else, the newest one.")
@click.option("--most", type=click.IntRange(1, 80), default=40, show_default=True, help="Songs on the page at most.")
@options.data
@options.configuration
@options.workspace
def labels(
    span: int | None,
    most: int,
    data: Path | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
) -> None:
    """Find songs whose genre is likely wrong, and write a page to hear them one by one and to correct them.

    A simple model names every song of a span by what it learned from other artists. Where it contradicts the label, the
    song is on the page, which saves corrections for `genre ingest --corrections`. Needs a served model, which hears the
    songs.
    """
    from components.library.layout import complete_spans, ingest_into, read_library, read_manifest
    from components.store.checksums import require_sound
    from components.store.model_store import current_version, version_dir
    from pipeline.process import large_imports, output_to
    from pipeline.workspace import nothing_there, root_path

    config, place = options.configured(config_file, overrides, data=data, workspace=workspace)
    root = root_path(config.data)
    read_library(root)
    version = current_version(place.models)
    if version is None:
        raise nothing_there(place)
    model = version_dir(place.models, version)
    require_sound(model)
    if span is None and not (spans := complete_spans(root)):
        raise UserError(f"{root}: no complete span. Ingest a library into it: {ingest_into(root)}.")
    chosen = spans[-1] if span is None else span
    read_manifest(root, chosen)  # it says which spans there are
    page = place.reports / "labels.html"
    with output_to(place.local / "labels.log"), large_imports():
        from pipeline.local.labels import find_label_errors

        count = find_label_errors(Path(root), chosen, model, page, most)
    echo(f"{count} songs of span {chosen} with a label that is likely wrong; to hear and to correct them: {page}")
