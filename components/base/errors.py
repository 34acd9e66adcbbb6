"""The one error that a person, not a programmer, is meant to read."""

import errno
import os


class UserError(Exception):
    """Something the user can mend. Its text says what is wrong, where, and what to do; no traceback is shown."""


_REMEDIES = {
    errno.ENOSPC: "The disk is full. Make room",
    errno.EDQUOT: "The quota of this user is used up. Make room",
    errno.EFBIG: "No file may become that large. Raise the limit, see `ulimit -f`",
    errno.EROFS: "It is read-only. Make it writable",
    errno.EACCES: "This user may not do that there. Give it the right to",
    errno.EPERM: "This user may not do that there. Give it the right to",
    errno.EIO: "The disk does not work, or has a limit. Mend that",
}
_SQLITE = {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EROFS,
    "unable to open database file": errno.EACCES,
    "disk I/O error": errno.EIO,
}
"""What ML Metadata says of the same."""


def storage_remedy(error: Exception) -> str | None:
    """What to do, in words, about an error that a disk is the cause of; None: it is of another kind.

    From TensorFlow, Beam workers and ML Metadata comes only the text of the system's error, not its number.
    """
    text = str(error)
    found = [code for code in _REMEDIES if os.strerror(code) in text] or [
        _SQLITE[said] for said in _SQLITE if said in text
    ]
    code = error.errno if isinstance(error, OSError) and error.errno in _REMEDIES else next(iter(found), None)
    return f"{_REMEDIES[code]}; the same command then goes on from here." if code else None
