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
@options.fail_if_refused
@options.as_json
def run(
    config_file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workspace: Path | None,
    summary: Path | None,
    fail_if_refused: bool,
    as_json: bool,
) -> None:
    """Validate, transform, train, judge and, if the gate agrees, deploy.

    Nodes whose inputs, settings and source have not changed since an earlier run are taken from there.
    """
    from pipeline.config.settings import load_config
    from pipeline.planning.preflight import check_run
    from pipeline.planning.prospect import prospect

    config = load_config(config_file, options.with_paths(overrides, data=data, workspace=workspace))
    check_run(config)
    place = prospect(config, asked=True).inputs.workspace
    with place.locked():
        result = execute(prospect(config, asked=True))
        finish(result, place, config.notify, summary, as_json=as_json)
    if fail_if_refused and result.blessed is False:
        click.get_current_context().exit(options.REFUSED)
