"""`genre compile`: the pipeline as a file for Kubeflow Pipelines or Vertex AI."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.errors import UserError
from pipeline.commands import options

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from pipeline.targets import Target


def compiled(config: "PipelineConfig", target: "Target") -> str:
    """The pipeline as a file's text.

    Raises:
      UserError: the configuration does not fit the target.
    """
    from pipeline.console import output_to
    from pipeline.preflight import check_model
    from pipeline.targets import check_target

    check_target(config, target)
    check_model(config)
    with output_to(Path(os.devnull)):
        from pipeline.imports import large_imports

        with large_imports():
            from pipeline.remote import compile_remote

        return compile_remote(config, target)


@click.command("compile")
@options.target
@options.configuration
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), required=True, help="The file to write."
)
def compile_(target: "Target", config_file: Path | None, overrides: tuple[str, ...], output: Path) -> None:
    """Write the pipeline as a file that Kubeflow Pipelines (YAML) or Vertex AI (JSON) runs.

    Needs no cluster and no data. What data it runs on, and all settings of features, model, training and gate, can be
    set anew for every run.
    """
    from pipeline.config import load_config

    text = compiled(load_config(config_file, overrides), target)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise UserError(f"{output}: the pipeline cannot be written there: {error.strerror}") from error
    click.echo(f"written to {output}")
