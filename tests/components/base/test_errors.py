import errno
import os

import pytest

from components.base.errors import storage_remedy


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
