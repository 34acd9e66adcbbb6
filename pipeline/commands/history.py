"""`genre history`: lists events with their reasons."""

from pathlib import Path

import click

from pipeline.commands import options
from pipeline.commands.tables import show_table
from pipeline.output import echo


@click.command()
@options.configuration
@options.workspace
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with all records.")
@click.option(
    "--html",
    "page",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write an HTML page here, with a chart.",
)
def history(
    config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None, as_json: bool, page: Path | None
) -> None:
    """List events, the oldest first: spans, drift, decisions, runs, promotions, refusals and roll-backs."""
    from components.retraining.timeline import read_timeline
    from pipeline.workspace import nothing_there

    config, place = options.configured(config_file, overrides, workspace=workspace)
    timeline = read_timeline(place.history, place.models)
    if page:
        from components.reporting.timeline_chart import render_history

        _write(page, render_history(timeline, config.name))
    if as_json:
        click.echo(timeline.model_dump_json(indent=2))
    elif page:
        echo(f"page: {page}")
    elif timeline.events:
        rows = (
            (event.time, event.kind, "" if event.span is None else f"span {event.span}", " ".join(event.words.split()))
            for event in timeline.events
        )
        show_table(["time", "event", "span", ""], rows, header=False)
    if not timeline.events:
        raise nothing_there(place, "nothing has happened yet.")


def _write(page: Path, html: str) -> None:
    from components.base.errors import UserError, reason

    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(html, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{page}: the page cannot be written there: {reason(error)}") from error
