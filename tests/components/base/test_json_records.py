"""Records that cannot be read end in an error that names the file and what to do."""

from pathlib import Path

import pytest
from etils import epath

from components.base.errors import UserError
from components.base.json_records import find_record, read_record
from components.base.section import Section


class Song(Section):
    title: str
    seconds: float


@pytest.fixture
def path(tmp_path: Path) -> epath.Path:
    return epath.Path(tmp_path / "song.json")


def test_a_record(path: epath.Path) -> None:
    assert find_record(path, Song, "Restore it.") is None
    path.write_text('{"title": "So What", "seconds": 545.0}')
    assert (
        read_record(path, Song, "Restore it.")
        == find_record(path, Song, "Restore it.")
        == Song(title="So What", seconds=545.0)
    )


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (None, "missing"),
        (b"", "damaged: Invalid JSON: EOF"),
        (b"\xff", "damaged: Invalid JSON"),
        (b'{"title": "So What"}', "damaged: seconds: missing"),
        (b'{"title": 1, "seconds": 1.0}', r"damaged: title: .* \(found 1\)"),
    ],
)
def test_a_file_that_is_no_record(path: epath.Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"song\.json: {problem}.*\. Restore it\."):
        read_record(path, Song, "Restore it.")


def test_a_record_that_cannot_be_read(path: epath.Path) -> None:
    path.mkdir()
    with pytest.raises(UserError, match=r"song\.json: cannot be read: EISDIR \(Is a directory\)"):
        find_record(path, Song, "Restore it.")
