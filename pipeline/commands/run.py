"""`genre run`: the whole DAG, on this machine."""

from pathlib import Path

import click

from pipeline.commands import options
from pipeline.local.run import execute, finish


@click.command()
@options.configuration
@options.data
@options.workspace
@options.summary
def run(
    config_file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workspace: Path | None,
    summary: Path | None,
) -> None:
    """Validate, transform, train, judge and, if the gate agrees, deploy.

    Nodes whose inputs, settings and source have not changed since an earlier run are taken from there.
    """
    from components.beam.options import check_local
    from pipeline.config.settings import load_config
    from pipeline.planning.prospect import prospect

    config = load_config(config_file, options.with_paths(overrides, data=data, workspace=workspace))
    check_local(config.beam)
    place = prospect(config, asked=True).inputs.workspace
    with place.locked():
        finish(execute(prospect(config, asked=True)), place, summary)
