"""The error for the user of the program, and remedies: commands to paste, and what to do about errors of disks."""

import errno
import os
import shlex


class UserError(Exception):
    """An error that the user can repair. Its text is: what is wrong, where, and what to do. No traceback is shown."""


class DamagedError(UserError):
    """A file is missing, or is not what was written."""


def named(error: OSError) -> str:
    """Returns the name of a system's error and its meaning, such as "EACCES (Permission denied)"."""
    name = errno.errorcode.get(error.errno or 0)
    return f"{name} ({os.strerror(error.errno)})" if name and error.errno else reason(error)


def reason(error: Exception) -> str:
    """Returns why something failed, in words, for a message that says what: no number, and never an empty text.

    An OSError that a library made has a text, and often no `strerror`.
    """
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__


def command_line(*words: object) -> str:
    """Returns a command for a message, quoted so that it can be pasted into a shell."""
    return f"`{shlex.join(map(str, words))}`"


_REMEDIES = {
    errno.ENOSPC: "The disk is full. Make room",
    errno.EDQUOT: "The quota of this user is used up. Make room",
    errno.EFBIG: "No file may become that large. Raise the limit, see `ulimit -f`",
    errno.EROFS: "It is read-only. Make it writable",
    errno.EACCES: "This user has no permission there. Grant it",
    errno.EPERM: "This user has no permission there. Grant it",
    errno.EIO: "The disk does not work, or has a limit. Repair it",
    errno.EMFILE: "This process may not open more files. Raise the limit, see `ulimit -n`",
    errno.ENFILE: "The system may not open more files. Raise the limit, see `sysctl fs.file-max`",
    errno.ENOMEM: "The memory is used up. Make room",
    errno.ESTALE: "The network's disk has changed meanwhile. Mount it again",
    errno.ETIMEDOUT: "The network's disk does not answer. Repair the connection",
    errno.ENOTCONN: "The disk is not connected. Mount it again",
    errno.EHOSTDOWN: "The network's disk does not answer. Repair the connection",
}
_SQLITE = {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
    "disk I/O error": errno.EIO,
}
"""Texts of ML Metadata for the same errors."""


def storage_remedy(error: Exception) -> str | None:
    """Returns what to do about an error that a disk caused; None for an error of another kind.

    TensorFlow, Beam workers and ML Metadata pass on only the text of the system's error, not its number.
    """
    text = str(error)
    found = [code for code in _REMEDIES if os.strerror(code) in text] or [
        code for words, code in _SQLITE.items() if words in text
    ]
    code = error.errno if isinstance(error, OSError) and error.errno in _REMEDIES else next(iter(found), None)
    return f"{_REMEDIES[code]}; then give the same command again: it continues from here." if code else None
