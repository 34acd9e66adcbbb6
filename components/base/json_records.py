"""Records that this project keeps as JSON files: how to write and to read one.

A record that `write_record` wrote has the SHA-256 of its content as its last key, so that one changed bit is damage,
and not another answer. A record without that key, which a person wrote, is read as it is.
"""

import hashlib
import json
from typing import Any, TypeVar

from etils import epath
from pydantic import ValidationError

from components.base.errors import DamagedError, UserError, named
from components.base.files import write_atomically
from components.base.section import Section, problems

_Record = TypeVar("_Record", bound=Section)
_DIGEST = "sha256"


def write_record(path: epath.Path, record: Section) -> None:
    """Writes a record with its SHA-256, in the place of the one that was there.

    Raises:
      OSError: it could not be written.
    """
    write_atomically(path, sealed(record))


def sealed(record: Section) -> str:
    """Returns the text of a record with its SHA-256."""
    content = record.model_dump(mode="json")
    return json.dumps(content | {_DIGEST: _digest(content)}, indent=2, ensure_ascii=False) + "\n"


def read_record(path: epath.Path, kind: type[_Record], remedy: str) -> _Record:
    """Reads a record.

    Args:
      path: of the file, on a disk or in a bucket.
      kind: the type of the record.
      remedy: sentences that say what to do about a missing or damaged file.

    Raises:
      DamagedError: the file is missing, holds something else, or does not match its SHA-256.
      UserError: it cannot be read.
    """
    try:
        text = path.read_bytes()
        content = _content(text)
        digest = content.pop(_DIGEST, None)
        record = kind.model_validate_json(json.dumps(content) if content else text)
    except FileNotFoundError:
        raise DamagedError(f"{path}: missing. {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {named(error)}. Make it readable.") from error
    except ValidationError as error:
        raise DamagedError(f"{path}: damaged: {'; '.join(problems(error))}. {remedy}") from error
    if digest is not None and digest != _digest(content):
        raise DamagedError(
            f"{path}: damaged: its content does not match its {_DIGEST}. {remedy} If you changed the file yourself, "
            "remove that key."
        )
    return record


def find_record(path: epath.Path, kind: type[_Record], remedy: str) -> _Record | None:
    """Reads a record, as `read_record`; returns None if there is no such file."""
    return read_record(path, kind, remedy) if path.exists() else None


def is_sealed(path: epath.Path) -> bool:
    """Checks whether a file is a record with its SHA-256, or is damaged: only a sound one without it gives False."""
    content = _content(path.read_bytes())
    return not content or _DIGEST in content


def record_files(directory: epath.Path) -> list[epath.Path]:
    """Returns the files of records in a directory, sorted; none if there is no directory."""
    if not directory.exists():
        return []
    return sorted(path for path in directory.iterdir() if path.suffix == ".json" and not path.name.startswith("."))


def _content(text: bytes) -> dict[str, Any]:
    """Returns the keys of a JSON object; none for other text, of which the record's type says what is wrong."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _digest(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
