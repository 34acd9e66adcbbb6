"""`genre config`: every setting there is, what it means, and its value."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import options

if TYPE_CHECKING:
    from components.base.section import Section


@click.command()
@click.argument("sections", nargs=-1)
@options.configuration
def config(sections: tuple[str, ...], config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Print all settings as YAML, each with its meaning, as they are after --config and --set.

    With SECTIONS, such as `retrain drift`, only those.
    """
    from pipeline.config.settings import PipelineConfig, load_config

    for name in sections:
        if name not in PipelineConfig.model_fields:
            known = ", ".join(PipelineConfig.model_fields)
            raise click.BadParameter(f"{name!r} is no section or setting at the top; there are {known}.")
    click.echo("\n".join(_lines(load_config(config_file, overrides), only=sections)))


def _lines(section: "Section", indent: str = "", only: tuple[str, ...] = ()) -> Iterator[str]:
    import json

    from components.base.section import Section

    for name, field in type(section).model_fields.items():
        if only and name not in only:
            continue
        value = getattr(section, name)
        if isinstance(value, Section):
            yield f"{indent}{name}: # {(type(value).__doc__ or '').splitlines()[0]}"
            yield from _lines(value, indent + "  ")
        else:
            meaning = f" # {field.description}" if field.description else ""
            yield f"{indent}{name}: {json.dumps(value)}{meaning}"
