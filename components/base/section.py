"""The base of every section of the configuration: frozen, typed and strict. No TensorFlow, no TFX."""

import difflib
import json
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

Share = Annotated[float, Field(ge=0.0, le=1.0)]
_SHOWN = 80
"""Longest part of a wrong value in an error, in characters."""
_LISTED = 20
"""Most errors that are described."""


class Section(BaseModel):
    """A frozen part of the configuration in which an unknown or ill-typed key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def problems(error: ValidationError, kind: type[Section] | None = None) -> list[str]:
    """Describes each error in data, as "section.key: problem (found value)".

    Args:
      error: raised by a `Section`.
      kind: that section, if a person wrote the data: for an unknown key, the known one that was probably meant follows.
    """

    def described(key: str, kind_of_error: str, words: str, found: object) -> str:
        if kind_of_error == "json_invalid":
            return words
        if kind_of_error == "missing":
            return f"{key}: missing"
        if kind_of_error == "extra_forbidden":
            return f"{key}: unknown key{_meant(key, kind) if kind else ''}"
        if kind_of_error == "value_error":
            return f"{key}: {words.removeprefix('Value error, ')}"
        value = shortened(json.dumps(found, default=str))
        unquoted = kind and kind_of_error == "string_type" and isinstance(found, int | float)
        quotes = "; a text needs quotes" if unquoted else ""
        return f"{key}: {words} (found {value}{quotes})"

    found = error.errors()
    more = [f"and {len(found) - _LISTED} more"] if len(found) > _LISTED else []
    return [
        described(shortened(".".join(map(str, item["loc"]))) or "(top level)", item["type"], item["msg"], item["input"])
        for item in found[:_LISTED]
    ] + more


def shortened(text: str) -> str:
    """Returns `text` without its end if it is too long for a message."""
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def sections_in(annotation: Any) -> Iterator[type[Section]]:
    """Yields the sections that a type names: directly, as optional, or as items of a tuple or mapping."""
    parts = typing.get_args(annotation)
    if not parts and isinstance(annotation, type) and issubclass(annotation, Section):
        yield annotation
    for part in parts:
        yield from sections_in(part)


def _meant(key: str, kind: type[Section]) -> str:
    """Returns a question for the key that was probably meant instead; empty if none is like it."""
    section, _, name = key.rpartition(".")
    known = [each.rpartition(".") for each in _keys(kind)]
    likely = [f"{place}{dot}{each}" for place, dot, each in known if each == name] or [
        f"{section}.{each}".lstrip(".")
        for each in difflib.get_close_matches(name, [each for place, _, each in known if place == section], 1)
    ]
    return f". Did you mean {' or '.join(likely[:3])}?" if likely else ""


def _keys(kind: type[Section]) -> Iterator[str]:
    """Yields every key of a section and of the sections in it, dotted."""
    for name, field in kind.model_fields.items():
        yield name
        for inner in sections_in(field.annotation):
            yield from (f"{name}.{each}" for each in _keys(inner))
