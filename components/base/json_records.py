"""Records that this project keeps as JSON files: how to read one, and how to seal one against silent damage."""

import hashlib
import json
from typing import TypeVar

from etils import epath
from pydantic import ValidationError

from components.base.errors import UserError, named
from components.base.section import Section, problems

_Record = TypeVar("_Record", bound=Section)
_Sealed = TypeVar("_Sealed", bound="SealedRecord")


class SealedRecord(Section):
    """A record that holds a checksum of itself: damage that leaves valid JSON behind is noticed, too."""

    checksum: str = ""
    """SHA-256 of the other fields; empty in a record of an earlier version."""


def sealed(record: _Sealed) -> _Sealed:
    """Returns `record` with its checksum."""
    return record.model_copy(update={"checksum": _checksum(record.model_dump_json().encode())})


def _checksum(text: bytes) -> str:
    # Of what the text says, not of the fields that it is read into: later versions may have more.
    content = {key: value for key, value in json.loads(text).items() if key != "checksum"}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_record(path: epath.Path, kind: type[_Record], remedy: str) -> _Record:
    """Reads a record.

    Args:
      path: of the file, on a disk or in a bucket.
      kind: the type of the record.
      remedy: sentences that say what to do about a missing or damaged file.

    Raises:
      UserError: the file is missing, cannot be read, or holds something else.
    """
    try:
        text = path.read_bytes()
        record = kind.model_validate_json(text)
    except FileNotFoundError:
        raise UserError(f"{path}: missing. {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {named(error)}. Make it readable.") from error
    except ValidationError as error:
        raise UserError(f"{path}: damaged: {'; '.join(problems(error))}. {remedy}") from error
    if isinstance(record, SealedRecord) and record.checksum not in ("", _checksum(text)):
        raise UserError(f"{path}: damaged: its content has not the checksum that it names. {remedy}")
    return record


def find_record(path: epath.Path, kind: type[_Record], remedy: str) -> _Record | None:
    """Reads a record, as `read_record`; returns None if there is no such file."""
    return read_record(path, kind, remedy) if path.exists() else None
