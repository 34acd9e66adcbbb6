"""What is written of an answer, read back by what others read it with."""

import csv
import io
import json
import re
from pathlib import Path

import pandas as pd
import pytest

from components.base.errors import UserError
from components.store.answers import Segment, SongGenres
from pipeline.predicting.formats import TEXTS, Choice, Result
from pipeline.predicting.output import FileForEach, write_file
from pipeline.predicting.songs import Found

GENRES = {"=Rock": 0.5, "Folk, new": 0.375, "Ünder\nground": 0.125}
SONG = SongGenres(GENRES, 2, (Segment(0.0, 5.0, GENRES), Segment(4.2, 9.2, {}), Segment(8.4, 12.0, {"Folk, new": 1.0})))
RESULTS = [
    Result("a.mp3", 3, SONG),
    Result("Bj\udcf6rk\u2028.mp3", 3, SONG),
    Result("none.mp3", None, error="missing file"),
    Result("quiet.wav", 3, SongGenres({}, 0, (Segment(0.0, 5.0, {}),))),
]
ALL, OVER_TIME = Choice(None, 0.0, segments=False), Choice(2, 0.2, segments=True)
BJORK = "Bj\\xf6rk\u2028.mp3"


def text(form: str, choice: Choice, results: list[Result] = RESULTS) -> str:
    return "".join(TEXTS[form](results, choice))


def test_a_table_is_a_line_for_each_song() -> None:
    assert text("table", ALL, [RESULTS[0], *RESULTS[2:]]).splitlines() == [
        r"a.mp3: =Rock 50%  Folk, new 38%  Ünder\nground 12%",
        "quiet.wav: silent",
    ]
    assert text("table", OVER_TIME, RESULTS[:1]).splitlines() == [
        "a.mp3: =Rock 50%  Folk, new 38%",
        "   0:00.0 to  0:05.0  =Rock 50%  Folk, new 38%",
        "   0:04.2 to  0:09.2  silent",
        "   0:08.4 to  0:12.0  Folk, new 100%",
    ]
    assert text("table", Choice(3, 0.9, False), RESULTS[:1]) == "a.mp3: nothing above 90%\n"


def test_json_and_lines_of_json_say_the_same() -> None:
    for choice in (ALL, OVER_TIME):
        lines = text("jsonl", choice).removesuffix("\n").split("\n")
        records = [json.loads(line) for line in lines]
        assert json.loads(text("json", choice)) == records
    assert [record["path"] for record in records] == ["a.mp3", BJORK, "none.mp3", "quiet.wav"]
    assert records[0] == {
        "path": "a.mp3",
        "version": 3,
        "clips": 2,
        "genres": {"=Rock": 0.5, "Folk, new": 0.375},
        "segments": [
            {"start": 0.0, "end": 5.0, "genres": {"=Rock": 0.5, "Folk, new": 0.375}},
            {"start": 4.2, "end": 9.2, "genres": {}},
            {"start": 8.4, "end": 12.0, "genres": {"Folk, new": 1.0}},
        ],
    }
    assert records[2] == {"path": "none.mp3", "error": "missing file"}
    assert records[3]["reason"] == "silent"
    assert json.loads(text("json", ALL, [])) == []
    assert text("jsonl", ALL, []) == ""


def test_csv_has_a_row_for_each_genre_and_no_formula() -> None:
    rows = list(csv.DictReader(io.StringIO(text("csv", OVER_TIME), newline="")))
    assert [(row["path"], row["start"], row["genre"], row["error"]) for row in rows] == [
        *((path, *row, "") for path in ("a.mp3", BJORK) for row in (
            ("0.0", "'=Rock"), ("0.0", "Folk, new"), ("4.2", ""), ("8.4", "Folk, new")
        )),
        ("none.mp3", "", "", "missing file"),
        ("quiet.wav", "0.0", "", ""),
    ]  # fmt: skip
    assert text("csv", ALL, []) == "path,genre,probability,version,error\n"
    assert {row["version"] for row in rows} == {"3", ""}


def test_parquet_holds_the_rows_of_the_csv(tmp_path: Path) -> None:
    for choice in (ALL, OVER_TIME):
        write_file(RESULTS, "parquet", choice, tmp_path / "new" / "out.parquet")
        found = pd.read_parquet(tmp_path / "new" / "out.parquet")
        expected = pd.read_csv(io.StringIO(text("csv", choice), newline=""))
        expected["genre"] = expected["genre"].str.removeprefix("'")
        pd.testing.assert_frame_equal(found.astype(object).fillna(""), expected.astype(object).fillna(""))
    assert list(tmp_path.glob("new/.*")) == []


def test_audacity_reads_start_end_and_label() -> None:
    """Its format of label tracks: two numbers and a text, with tabs between."""
    lines = [line.split("\t") for line in text("audacity", Choice(1, 0.4, True), RESULTS[:1]).splitlines()]
    assert lines == [["0.000000", "5.000000", "=Rock 0.50"], ["8.400000", "12.000000", "Folk, new 1.00"]]


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for form in ("csv", "parquet", "json"):
        with pytest.raises(UserError, match="file/out: cannot be written"):
            write_file(RESULTS, form, ALL, tmp_path / "file" / "out")


def test_each_song_gets_a_file_of_its_own_which_stays_the_same(tmp_path: Path) -> None:
    songs = [Found(Path(name)) for name in ("a/x.mp3", "b/x.mp3", "x.ogg", "a/x.mp3")]
    tracks = FileForEach(tmp_path / "tracks", ".txt", songs)
    files = [tracks.of(song).name for song in songs]
    assert files[2] == "x.ogg.txt"
    assert files[0] == files[3] != files[1]
    assert all(re.fullmatch(r"x\.mp3-[0-9a-f]{8}\.txt", name) for name in files[:2])
    again = FileForEach(tmp_path / "tracks", ".txt", [Found(Path("new/x.mp3")), *reversed(songs)])
    assert again.of(songs[1]).name == files[1]  # as after an interruption, of which the first song is done
    assert FileForEach(tmp_path / "one.txt", ".txt", songs[:1]).of(songs[0]) == tmp_path / "one.txt"
    with pytest.raises(UserError, match="Name a folder"):
        FileForEach(tmp_path / "one.png", ".png", songs)
