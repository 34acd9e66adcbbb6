"""Files that a reader finds whole or not at all, on a disk or in a bucket."""

import uuid

from etils import epath


def write_atomically(path: epath.Path, text: str) -> None:
    """Writes `text` beside `path`, then moves it there; makes the directory if it is missing.

    If that fails, what was there is still there, and nothing else.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex}"
    try:
        temporary.write_text(text)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
