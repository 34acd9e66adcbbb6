"""`genre clean`: removes what a workspace no longer needs."""

from pathlib import Path

import click

from pipeline.commands import options
from pipeline.output import echo


@click.command()
@options.configuration
@options.data
@options.workspace
@click.option("--dry-run", is_flag=True, help="Show what would be removed, and remove nothing.")
@click.option("--cache", is_flag=True, help="Remove all results of nodes: the next run computes everything again.")
def clean(
    config_file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workspace: Path | None,
    dry_run: bool,
    cache: bool,
) -> None:
    """Remove old artifacts, logs, checkpoints and temporary files from the workspace.

    What `genre run` and `genre retrain` would take from the cache now stays, and so do all models, their reports and
    the history. Give the same configuration as to them.
    """
    config, place = options.configured(config_file, overrides, data=data, workspace=workspace)
    if not place.local.is_dir():
        echo(f"{place.root}: there is no such workspace, and nothing to remove.")
        return

    from pipeline.local.cleaning import clean as remove
    from pipeline.local.cleaning import clear_cache
    from pipeline.local.reports import write_reports
    from pipeline.planning.prospect import prospect

    with place.locked():
        if cache:
            clear_cache(place, echo, dry_run=dry_run)
        else:
            # They may differ: a span that was set aside is left out unless a person asks.
            remove([prospect(config, asked=asked) for asked in (True, False)], echo, dry_run=dry_run)
        if not dry_run and place.reports.is_dir():
            write_reports(place, config.name)  # without links to what is gone
