"""`genre history`: what was decided and done, and why."""

from pathlib import Path

import click

from pipeline.commands import options


@click.command()
@options.configuration
@options.workspace
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object, with everything that is on record.")
@click.option("--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page, with a chart.")
def history(
    config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None, as_json: bool, page: Path | None
) -> None:
    """Tell what happened, the oldest first: spans, drift, decisions, runs, promotions, refusals and roll-backs."""
    from components.retraining.timeline import read_timeline

    config, place = options.configured(config_file, overrides, workspace=workspace)
    timeline = read_timeline(place.history, place.models)
    if page:
        from components.reporting.timeline_chart import render_history

        _write(page, render_history(timeline, config.name))
    if as_json:
        click.echo(timeline.model_dump_json(indent=2))
    elif page:
        click.echo(f"page: {page}")
    elif timeline.events:
        for event in timeline.events:
            span = "" if event.span is None else f"span {event.span}"
            click.echo(f"{event.time}  {event.kind:<9}  {span:<8}  {' '.join(event.words.split())}")
    else:
        click.echo(f"{place.root}: nothing has happened yet.")


def _write(page: Path, html: str) -> None:
    from components.base.errors import UserError

    try:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(html, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{page}: the page cannot be written there: {error.strerror}") from error
