"""`genre status`: how runs on Kubeflow Pipelines or Vertex AI are doing."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import options
from pipeline.output import echo

if TYPE_CHECKING:
    from pipeline.config.targets import Target
    from pipeline.remote.service import Run


@click.command()
@click.argument("run", required=False)
@options.target
@options.configuration
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="How many runs to list.")
@options.as_json
def status(
    run: str | None,
    target: "Target",
    config_file: Path | None,
    overrides: tuple[str, ...],
    limit: int,
    as_json: bool,
) -> None:
    """Show a RUN with its nodes, or the latest runs of the pipeline."""
    from pipeline.config.settings import load_config
    from pipeline.remote.connect import connect

    config = load_config(config_file, overrides)
    service = connect(config, target)
    if as_json:
        runs = service.runs(limit) if run is None else [service.run(run)]
        click.echo(json.dumps([dataclasses.asdict(each) for each in runs], indent=2, default=str))
        return
    if run is not None:
        _show(service.run(run))
        return
    found = service.runs(limit)
    for each in found:
        echo(f"{each.id:<40} {each.state:<10} {_created(each):<20} {each.name}")
    if not found:
        echo(f"no runs of {config.name}", err=True)


def _created(run: "Run") -> str:
    return f"{run.created:%Y-%m-%d %H:%M:%S}" if run.created else ""


def _show(run: "Run") -> None:
    echo(f"run {run.id} ({run.name}) {run.state}, started {_created(run)}\n{run.url}")
    for node in run.nodes:
        state = "not run" if run.ended and node.state == "waiting" else node.state
        echo(f"{node.node:<22} {state:<9}" + (f" {node.seconds:8.0f} s" if node.seconds else ""))
    if run.error:
        echo(run.error)
