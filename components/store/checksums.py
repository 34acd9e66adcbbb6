"""The checksums of a pushed version: a file that a disk damaged must not become a wrong answer."""

from collections.abc import Iterator

from etils import epath

from components.base.errors import DamagedError, UserError, reason
from components.base.files import sha256
from components.base.json_records import is_sealed, read_record, write_record
from components.base.section import Section
from components.store.saved_model import SavedModel

_REMEDY = "Serve an earlier version with `genre rollback`, or put the file back as it was."


class Checksums(Section):
    """The content of a SavedModel when it was pushed."""

    files: dict[str, str]
    """SHA-256 in hexadecimal digits, by path in the SavedModel."""


def write_checksums(saved_model: epath.Path) -> None:
    """Records the checksums of all files of a SavedModel in it."""
    files = {name: sha256(path) for name, path in sorted(_files(saved_model))}
    write_record(SavedModel(saved_model).checksums, Checksums(files=files))


def find_damage(saved_model: epath.Path, only: epath.Path | None = None) -> str | None:
    """Compares a SavedModel with its checksums.

    Args:
      only: the one file to compare; None: all.

    Returns:
      What is wrong, with the name of the file; None if nothing is, or if it was put there by hand or by an earlier
      release, without checksums.

    Raises:
      UserError: a file cannot be read, which says nothing about its content.
    """
    files = SavedModel(saved_model)
    if not files.checksums.exists():
        # Earlier releases wrote neither checksums nor a lineage that is sealed.
        sealed = files.lineage.exists() and is_sealed(files.lineage)
        return f"{files.checksums}: missing" if sealed else None
    try:
        known = read_record(files.checksums, Checksums, "").files
    except DamagedError as error:
        return str(error).rstrip(". ")
    for name, digest in known.items():
        path = saved_model / name
        if only is not None and path != only:
            continue
        try:
            if sha256(path) != digest:
                return f"{path}: damaged: it is not what was pushed"
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return f"{path}: missing"
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {reason(error)}. Make it readable.") from error
    return None


def require_sound(saved_model: epath.Path, only: epath.Path | None = None) -> None:
    """Checks that a SavedModel, or `only` one file of it, is what was pushed.

    Raises:
      DamagedError: it is not.
      UserError: it cannot be read.
    """
    if damage := find_damage(saved_model, only):
        raise DamagedError(f"{damage}. {_REMEDY}")


def _files(directory: epath.Path, above: str = "") -> Iterator[tuple[str, epath.Path]]:
    """Yields every file in a directory, with its path in it."""
    for path in directory.iterdir():
        if path.is_dir():
            yield from _files(path, f"{above}{path.name}/")
        else:
            yield f"{above}{path.name}", path
