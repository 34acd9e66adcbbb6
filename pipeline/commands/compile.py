"""`genre compile`: the pipeline as a file for Kubeflow Pipelines or Vertex AI."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.base.errors import UserError, reason
from pipeline.commands import options
from pipeline.remote.submission import compiled

if TYPE_CHECKING:
    from pipeline.config.targets import Target


@click.command("compile")
@options.target
@options.configuration
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write."
)
def compile_(target: "Target", config_file: Path | None, overrides: tuple[str, ...], output: Path) -> None:
    """Write the pipeline as a file that Kubeflow Pipelines (YAML) or Vertex AI (JSON) runs.

    Needs no cluster and no data. Every run can have other data, and other settings of features, model, training and
    gate.
    """
    from pipeline.config.settings import load_config

    text = compiled(load_config(config_file, overrides), target)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output}: the pipeline cannot be written there: {reason(error)}") from error
    click.echo(f"written to {output}")
