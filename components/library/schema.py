"""The reviewed schema of a library: how it is read, and given more genres."""

import re
from collections.abc import Sequence
from pathlib import Path

from etils import epath
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2

from components.base.errors import UserError
from components.library.layout import SCHEMA_FILE

_GENRE_DOMAIN = re.compile(r'(string_domain\s*\{[^{}]*\bname:\s*"genre"[^{}]*)\}')


def check_schema(root: epath.Path, genres: Sequence[str]) -> None:
    """Checks that the schema of the library at `root` knows `genres`.

    Raises:
      UserError: the schema is missing or damaged, or lacks one of them.
    """
    file = root / SCHEMA_FILE
    _, _, domain = _read(file)
    if lacking := [genre for genre in genres if genre not in domain.value]:
        raise UserError(f"{file}: its genres lack {', '.join(lacking)}. Put it back as it was, or add them.")


def with_genres(file: Path, genres: Sequence[str]) -> str:
    """Returns the text of the schema in `file` with `genres` added to its domain of genres, otherwise unchanged.

    Raises:
      UserError: the schema is missing or damaged.
    """
    text, schema, domain = _read(file)
    new = [genre for genre in genres if genre not in domain.value]
    domain.value.extend(new)
    values = text_format.MessageToString(schema_pb2.StringDomain(value=new), as_utf8=True, indent=2)
    amended = _GENRE_DOMAIN.sub(lambda found: f"{found[1]}{values}}}", text, count=1)
    # If the text is laid out too differently to be amended, the schema is kept and its comments are lost.
    return amended if _parsed(amended) == schema else text_format.MessageToString(schema, as_utf8=True)


def _read(file: Path) -> tuple[str, schema_pb2.Schema, schema_pb2.StringDomain]:
    """Reads the schema in `file`: its text, itself, and its domain of genres."""
    try:
        text = file.read_text(encoding="utf-8")
    except (FileNotFoundError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: missing, or no text. Put it back, or ingest into another data directory.") from error
    schema = _parsed(text)
    domain = next((domain for domain in schema.string_domain if domain.name == "genre"), None) if schema else None
    if schema is None or domain is None:
        raise UserError(f'{file}: not a schema with a string_domain of the name "genre". Put it back as it was.')
    return text, schema, domain


def _parsed(text: str) -> schema_pb2.Schema | None:
    try:
        return text_format.Parse(text, schema_pb2.Schema())
    except text_format.ParseError:
        return None
