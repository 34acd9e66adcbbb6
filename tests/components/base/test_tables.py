"""CSV files: what spreadsheets would run, and tables that people made."""

import csv
import io
from pathlib import Path

import pytest

from components.base.errors import UserError
from components.base.tables import read_rows, read_table, write_table

HOSTILE = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "\rx", "'=x", "''-", "'quoted'", "rock", "", 'a,b\n"c']


def test_formulas_are_text_to_a_spreadsheet_and_the_same_to_us() -> None:
    out = io.StringIO(newline="")
    write_table(out, ["genre", "level"], ((label, -1.5) for label in HOSTILE))
    out.seek(0)
    cells = [row["genre"] for row in csv.DictReader(out)]
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)
    out.seek(0)
    assert [(row["genre"], row["level"]) for row in read_table(out)] == [(label, "-1.5") for label in HOSTILE]


def test_names_that_are_not_utf8() -> None:
    out = io.StringIO(newline="")
    write_table(out, ["path"], [["caf\udce9.wav"]])
    assert out.getvalue().encode() == b"path\ncaf\\xe9.wav\n"


def rows(tmp_path: Path, content: bytes, delimiter: str = ",") -> list[tuple[int, list[str]]]:
    file = tmp_path / "songs.csv"
    file.write_bytes(content)
    return list(read_rows(file, delimiter))


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_marks_line_ends_and_long_fields(tmp_path: Path, mark: bytes, end: bytes) -> None:
    limit = csv.field_size_limit()
    content = mark + end.join([b"path,words", b"a," + b"la " * 100_000, b"", b'b,"x', b'y"', b"c,'=z", b""])
    assert rows(tmp_path, content) == [
        (1, ["path", "words"]),
        (2, ["a", "la " * 100_000]),
        (4, ["b", f"x{end.decode()}y"]),
        (6, ["c", "=z"]),
    ]
    assert csv.field_size_limit() == limit


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        ("path,genre\na,rock\n".encode("utf-16"), "UTF-16"),
        ("path,genre\na,rock\n".encode("utf-16-be"), "line 1: NUL bytes"),
        (b"path,genre\na,rock\0\n", "line 2: NUL bytes"),
        (b"path,genre\na,caf\xe9\n", "line 2: not UTF-8"),
        (b'path,genre\na,"rock\nb,jazz\nc,folk\n', "line 2: not readable as CSV"),
        (b'path,genre\na,rock\nb,"ja"zz\n', "line 3: not readable as CSV"),
    ],
)
def test_mistakes_are_named_by_their_line(tmp_path: Path, content: bytes, wrong: str) -> None:
    with pytest.raises(UserError, match=f"songs.csv.*{wrong}"):
        rows(tmp_path, content)
