"""Lists all settings as YAML, with values and descriptions: also those of optional sections and of every model."""

import json
import re
import typing
from collections.abc import Iterator, Sequence

from pydantic.fields import FieldInfo

from components.base.section import Section, sections_in
from models.config import ModelConfig
from models.registry import KINDS, load
from pipeline.config.settings import PipelineConfig
from pipeline.notifying.config import SECRETS

_REQUIRED = "REQUIRED"
"""Stands for the value of a setting that has no default, in a section that is not set."""


def setting_lines(config: PipelineConfig, only: Sequence[str] = ()) -> Iterator[str]:
    """Yields lines that `load_config` reads as `config`; what is not set follows as comments, with its defaults.

    Args:
      config: values.
      only: names of sections and settings at the top; empty: all.
    """
    yield from _section_lines(config, type(config), only)


def _section_lines(section: Section | None, kind: type[Section], only: Sequence[str] = ()) -> Iterator[str]:
    """Lines of a section; None: of its defaults."""
    values = section.model_dump(mode="json", context=SECRETS) if section else {}
    for name, field in kind.model_fields.items():
        if only and name not in only:
            continue
        value = getattr(section, name) if section else field.get_default(call_default_factory=True)
        if isinstance(value, Section):
            yield f"{name}: # {_summary(type(value))}"
            yield from _indented(_section_lines(value, type(value)))
            continue
        if field.is_required() and section is None:
            shown = _REQUIRED
        else:
            shown = json.dumps(values.get(name, value), default=list)
        yield f"{name}: {shown}{f' # {field.description}' if field.description else ''}"
        for inner in sections_in(field.annotation):
            yield from _commented(_block(name, field, inner))
        if kind is ModelConfig and name == "options":
            yield from _commented(_option_lines())


def _block(name: str, field: FieldInfo, inner: type[Section]) -> Iterator[str]:
    """The settings of a section that `name` may hold, or of each of several."""
    origin = typing.get_origin(field.annotation)
    yield f"{f'{name}.NAME' if origin is dict else f'{name}, each' if origin is tuple else name}: # {_summary(inner)}"
    yield from _indented(_section_lines(None, inner))


def _option_lines() -> Iterator[str]:
    for kind in KINDS:
        _, defaults = load(ModelConfig(kind=kind))
        yield f"options, if kind is {kind}:"
        yield from _indented(_section_lines(defaults, type(defaults)))


def _summary(kind: type[Section]) -> str:
    return (kind.__doc__ or "").splitlines()[0]


def _indented(lines: Iterator[str]) -> Iterator[str]:
    return (f"  {line}" for line in lines)


def _commented(lines: Iterator[str]) -> Iterator[str]:
    """Turns lines into comments; a comment among them becomes a line like the others."""
    return ("# " + re.sub("^( *)# ", r"\1", line) for line in lines)
