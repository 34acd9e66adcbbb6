"""Directories of a library that change places all together, whatever kills the process that moves them.

<root>/.moves.json   what is to be moved, in order; written before the first move, and removed after the last one

Whoever finds that file finishes the moves before reading or writing. So all is as it was before, or as it was to be.
While the process that wrote it lives, others are told to wait.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from etils import epath

from components.base.errors import UserError, named
from components.base.files import flush_tree, in_bucket, move_directory, remove
from components.base.json_records import find_record, write_record
from components.base.locks import HeldError, held, this_process
from components.base.section import Section

MOVES_FILE = ".moves.json"
_MOMENTS = 2.0
"""Seconds that a reader waits for the moves of another process, which are a few renames."""


class Moves(Section):
    """The content of MOVES_FILE."""

    moves: tuple[tuple[str, str], ...]
    """From where and to where, as paths from the library's root, in order. No path is the target of two moves."""


@contextmanager
def only_writer(root: Path, wait: float = 0.0) -> Iterator[None]:
    """Keeps other writers out of the library at `root`, and finishes the moves of one that was killed.

    Args:
      root: of the library.
      wait: seconds to wait for another writer.

    Raises:
      HeldError: another process writes to it.
      UserError: the moves cannot be finished.
    """
    remedy = "Wait for it to end, or end it."
    with held(root / ".lock", this_process(), "is writing to this library", remedy, wait):
        _finish(epath.Path(root))
        yield


def move_all(root: Path, moves: Sequence[tuple[Path, Path]]) -> None:
    """Moves directories of the library at `root`, in order: all of them, or none, if this process is killed.

    The caller is the library's `only_writer`. No target may exist when it is moved to.
    """
    for source, _ in moves:
        if source.exists():  # others appear by an earlier move
            flush_tree(epath.Path(source))
    listed = tuple((str(source.relative_to(root)), str(target.relative_to(root))) for source, target in moves)
    write_record(epath.Path(root / MOVES_FILE), Moves(moves=listed))
    _finish(epath.Path(root))


def settle(root: epath.Path) -> None:
    """Finishes what a process that was killed has begun to move in the library at `root`, before it is read.

    Raises:
      UserError: another process is moving it, or it cannot be finished from here.
    """
    if not (root / MOVES_FILE).exists():
        return
    if in_bucket(root):
        raise UserError(f"{root}: spans were being moved when it was copied ({MOVES_FILE}). Copy the library again.")
    try:
        with only_writer(Path(root), _MOMENTS):
            pass
    except HeldError as error:
        raise UserError(f"{error} It is moving spans, of which none may be read meanwhile.") from error
    except OSError as error:
        raise UserError(
            f"{root}: a process was killed while it moved spans, and they cannot be moved from here: {named(error)}. "
            "Give the command where the library can be written."
        ) from error


def _finish(root: epath.Path) -> None:
    """Does the moves that are written down and not done yet: those to where nothing is."""
    record = find_record(root / MOVES_FILE, Moves, f"Look which spans {root / '.restated'} has and {root} lacks.")
    if record is None:
        return
    for source, target in record.moves:
        if (root / target).exists():
            continue
        if not (root / source).exists():
            raise UserError(
                f"{root / source}: missing, and was to become {root / target}, as {MOVES_FILE} says. Put it back; or "
                f"move the directories that should be there, and remove {MOVES_FILE}."
            )
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        move_directory(root / source, root / target)
    remove(root / MOVES_FILE)
