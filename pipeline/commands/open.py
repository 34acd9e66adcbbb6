"""`genre open`: opens the report of the last run, or the list of all runs, in a browser."""

from pathlib import Path

import click

from pipeline.commands import options
from pipeline.output import echo


@click.command("open")
@options.configuration
@options.workspace
@click.option("--runs", is_flag=True, help="Open the list of all runs, to search it and to compare two.")
@click.option("--print", "only_print", is_flag=True, help="Print the path of the page, and open nothing.")
def open_(
    config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None, runs: bool, only_print: bool
) -> None:
    """Open the report of the last run in a browser; where there is none, print its path."""
    import webbrowser

    from pipeline.workspace import nothing_there

    place = options.configured(config_file, overrides, workspace=workspace)[1]
    page = place.reports / ("index.html" if runs else "latest.html")
    if not page.is_file():
        raise nothing_there(place, "there is no report yet. `genre run` writes one.")
    echo(str(page))
    if not only_print:
        webbrowser.open(page.as_uri())
