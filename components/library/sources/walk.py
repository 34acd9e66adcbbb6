"""Walks a folder of songs, for ingest and prediction alike. No file is opened."""

import errno
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from stat import S_ISBLK, S_ISCHR, S_ISDIR, S_ISFIFO, S_ISREG, S_ISSOCK

from components.base.errors import UserError, named
from components.library.sources.track import AUDIO_SUFFIXES, LISTED_BEFORE, MISSING, NOT_AUDIO, UNREADABLE

_SYSTEM_FOLDERS = {
    *("#recycle", "#snapshot", "$recycle.bin", "@eadir", "@recently-snapshot", "@recycle", "@tmp", "__macosx"),
    *("lost+found", "recycler", "system volume information"),
}
"""Folders that systems and network drives make for bins, previews and old versions, in lower case."""
_KINDS = {S_ISDIR: "a folder", S_ISFIFO: "a named pipe", S_ISSOCK: "a socket", S_ISCHR: "a device", S_ISBLK: "a device"}
_NOWHERE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
"""Errors which say that a path leads to no file. Others, such as a lack of permission, do not tell what is there."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file below a folder; or a folder in it that was not entered."""

    path: str
    """From the folder, with forward slashes. Bytes that are not UTF-8 are lone surrogates, as by `os.fsdecode`."""
    problem: str
    """Why it is no song, as `Track.problem`; empty for a song."""


def walk(root: Path) -> Iterator[Entry]:
    """Yields the files below `root`, in the same order on every machine.

    Hidden folders and those of a system are not entered. Linked folders are entered after all others, and no folder
    twice, by device and inode: so links in a circle come to an end.

    Raises:
      UserError: a folder cannot be listed, or it cannot be found out what an entry is.
    """
    entered: dict[tuple[int, int], str] = {}
    linked = deque([""])
    while linked:
        folders = [linked.popleft()]
        while folders:
            folder = folders.pop()
            inner: list[str] = []
            try:
                here = os.stat(root / folder)
                if (before := entered.setdefault((here.st_dev, here.st_ino), folder)) != folder:
                    yield Entry(folder, f"{LISTED_BEFORE}: the same folder as {before or '.'}")
                    continue
                with os.scandir(root / folder) as found:
                    entries = sorted(found, key=lambda entry: entry.name)
                for entry in entries:
                    path = f"{folder}/{entry.name}" if folder else entry.name
                    status, problem = look(root / path)
                    if left_out := _left_out(entry.name, status):
                        yield Entry(path, left_out)
                    elif status and S_ISDIR(status.st_mode):
                        (linked if entry.is_symlink() else inner).append(path)
                    else:
                        yield Entry(path, problem)
            except OSError as error:
                where = error.filename or root / folder
                raise UserError(f"{where}: cannot be listed: {named(error)}. Make it readable, or move it.") from error
            folders += reversed(inner)


def _left_out(name: str, status: os.stat_result | None) -> str:
    mode = status.st_mode if status else 0
    return left_out(name, folder=S_ISDIR(mode), regular=S_ISREG(mode))


def left_out(name: str, *, folder: bool, regular: bool) -> str:
    """Returns why a folder or a file is passed over by its name; empty if it may be a song, or hold some."""
    if name.startswith("."):  # bookkeeping of some system, even what macOS calls ._song.mp3
        return f"{NOT_AUDIO}: a hidden {'folder' if folder else 'file'}"
    if folder:
        return f"{NOT_AUDIO}: a folder of the system" if name.lower() in _SYSTEM_FOLDERS else ""
    return NOT_AUDIO if regular and os.path.splitext(name)[1].lower() not in AUDIO_SUFFIXES else ""


def look(path: Path) -> tuple[os.stat_result | None, str]:
    """Finds out what is at `path`, without opening it.

    Returns:
      What the system knows of it, None if there is nothing; and why it is no file that can be read, as
      `Track.problem`, empty for a regular file.

    Raises:
      OSError: it could not be found out.
    """
    try:
        status = os.stat(path)
    except ValueError:  # no file name holds a NUL
        return None, MISSING
    except OSError as error:
        if error.errno not in _NOWHERE:
            raise
        if error.errno == errno.ELOOP:
            return None, f"{UNREADABLE}: a link in a circle"
        return None, f"{MISSING}: a link to {os.readlink(path)}" if os.path.islink(path) else MISSING
    if S_ISREG(status.st_mode):  # the others have no end, or wait for another process
        return status, ""
    kind = next((kind for is_kind, kind in _KINDS.items() if is_kind(status.st_mode)), "no file")
    return status, f"{UNREADABLE}: {kind}, not a regular file"
