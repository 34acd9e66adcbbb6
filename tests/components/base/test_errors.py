import errno
import os

import pytest

from components.base.errors import named, reason, storage_remedy


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OSError(errno.ENOSPC, "whatever"),
            "The disk is full. Make room; then give the same command again: it continues from here.",
        ),
        (RuntimeError(f"{os.strerror(errno.ENOSPC)} [while running 'Write']"), "The disk is full"),
        (RuntimeError("query: COMMIT; database or disk is full"), "The disk is full"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/models"), "It is read-only"),
        (RuntimeError("attempt to write a readonly database"), "It is read-only"),
        (PermissionError(errno.EACCES, os.strerror(errno.EACCES)), "This user has no permission there"),
    ],
)
def test_what_to_do_about_a_disk(error: Exception, words: str) -> None:
    assert storage_remedy(error).startswith(words)


@pytest.mark.parametrize("error", [FileNotFoundError(errno.ENOENT, "No such file"), ValueError("full"), OSError()])
def test_other_errors_are_none_of_its_business(error: Exception) -> None:
    assert storage_remedy(error) is None


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (FileNotFoundError(errno.ENOENT, "No such file", "a.mp3"), "No such file"),
        (OSError("not a mount point"), "not a mount point"),  # of a library: it has no number
        (OSError(), "OSError"),
        (OSError(0, "missing file"), "missing file"),
        (ValueError("line 3"), "line 3"),
    ],
)
def test_every_error_has_a_reason(error: Exception, words: str) -> None:
    assert reason(error) == words
    assert not isinstance(error, OSError) or words in named(error) or os.strerror(error.errno or 0) in named(error)
