"""Records that this project keeps as JSON files: how to read one."""

from typing import TypeVar

from etils import epath
from pydantic import ValidationError

from components.base.errors import UserError
from components.base.section import Section, problems

_Record = TypeVar("_Record", bound=Section)


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
        return kind.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise UserError(f"{path}: missing. {remedy}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror or error}. Make it readable.") from error
    except ValidationError as error:
        raise UserError(f"{path}: damaged: {'; '.join(problems(error))}. {remedy}") from error


def find_record(path: epath.Path, kind: type[_Record], remedy: str) -> _Record | None:
    """Reads a record, as `read_record`; returns None if there is no such file."""
    return read_record(path, kind, remedy) if path.exists() else None
