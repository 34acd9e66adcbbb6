"""`genre config`: every setting, with its value and its description."""

from pathlib import Path

import click

from pipeline.commands import options


@click.command()
@click.argument("sections", nargs=-1)
@options.configuration
def config(sections: tuple[str, ...], config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Print all settings as YAML, each with its description, as they are after --config and --set.

    Sections that are not set, and the options of every kind of model, follow as comments with their defaults. With
    SECTIONS, such as `retrain drift`, only those.
    """
    from pipeline.config.listing import setting_lines
    from pipeline.config.settings import PipelineConfig, load_config

    for name in sections:
        if name not in PipelineConfig.model_fields:
            known = ", ".join(PipelineConfig.model_fields)
            raise click.BadParameter(f"{name!r} is no section or setting at the top; there are {known}.")
    click.echo("\n".join(setting_lines(load_config(config_file, overrides), only=sections)))
