"""`--resume`: an interrupted batch goes on where it was, and nothing else is touched."""

from collections.abc import Callable
from pathlib import Path

import pytest

from components.base.errors import UserError
from components.base.text import as_utf8
from components.store.answers import Segment, SongGenres
from pipeline.predicting import earlier
from pipeline.predicting.formats import TEXTS, Choice, Result
from pipeline.predicting.output import write_file

GENRES = {"=Rock": 0.5, "Folk, new": 0.375, "\u00dcnder\nground": 0.125}
SONG = SongGenres(GENRES, 2, (Segment(0.0, 5.0, GENRES), Segment(4.2, 9.2, {}), Segment(8.4, 12.0, {"Folk, new": 1.0})))
RESULTS = [
    Result("=a.mp3", 3, SONG),
    Result("Bj\udcf6rk\u2028.mp3", 3, SONG),
    Result("none.mp3", None, error="missing file"),
    Result("quiet.wav", 3, SongGenres({}, 0, (Segment(0.0, 5.0, {}),))),
]
ALL, OVER_TIME = Choice(None, 0.0, segments=False), Choice(2, 0.2, segments=True)


def asked(form: str, choice: Choice = ALL, hop: float | None = None, version: int = 3) -> earlier.Asked:
    return earlier.asked_for(form, choice, hop, version)


@pytest.fixture(params=earlier.RESUMABLE)
def form(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def written(form: str, tmp_path: Path) -> Path:
    write_file(RESULTS, form, ALL, tmp_path / "out", asked(form))
    return tmp_path / "out"


def refused(file: Path, form: str, told: str, choice: Choice = ALL, **others: object) -> None:
    before = file.read_bytes()
    with pytest.raises(UserError, match=told) as error:
        earlier.resume(file, choice, asked(form, choice, **others))  # type: ignore[arg-type]
    assert "Name another file, or leave out --resume" in str(error.value)
    assert file.read_bytes() == before


@pytest.mark.parametrize("choice", [ALL, OVER_TIME], ids=["songs", "segments"])
def test_a_batch_goes_on_wherever_it_was_cut(form: str, choice: Choice, tmp_path: Path) -> None:
    """At every byte: what is done is not done again, and the file is at last what it would have been."""
    results = [result for result in RESULTS if result.answer]
    whole = "".join(TEXTS[form](results, choice)).encode()
    file, seen = tmp_path / "out", set()
    earlier.note(tmp_path / "out", asked(form, choice))  # of no file that is there: nothing
    write_file([], form, choice, file, asked(form, choice))
    for cut in range(0, len(whole) + 1, 7):
        file.write_bytes(whole[:cut])
        done = earlier.resume(file, choice, asked(form, choice))
        seen.add(len(done))
        left = [result for result in results if as_utf8(result.path) not in done]
        write_file(left, form, choice, file, asked(form, choice), goes_on=True)
        assert file.read_bytes() == whole, cut
    assert seen >= {0, 1}


def test_what_failed_is_tried_again(form: str, written: Path, tmp_path: Path) -> None:
    assert "none.mp3" not in earlier.resume(written, ALL, asked(form))
    assert "missing file" not in written.read_text()
    assert earlier.resume(tmp_path / "no such file", ALL, asked(form)) == set()


@pytest.mark.parametrize(
    ("choice", "others", "told"),
    [
        (ALL, {"version": 4}, "written with version 3, and this is with version 4"),
        (ALL, {"hop": 0.5}, "with --hop not given, and this is with --hop 0.5"),
        (Choice(3, 0.0, False), {}, "with --top not given, and this is with --top 3"),
        (Choice(None, 0.5, False), {}, "with --min-confidence 0.0, and this is with --min-confidence 0.5"),
        (Choice(None, 0.0, True), {}, "with --segments not given, and this is with --segments given"),
    ],
)
def test_other_options_or_another_version_are_not_mixed(
    form: str, written: Path, choice: Choice, others: dict[str, object], told: str
) -> None:
    refused(written, form, told, choice, **others)
    refused(written, "csv" if form == "jsonl" else "jsonl", "with --format")


@pytest.mark.parametrize("content", ["Dear diary,\nnothing of this may be lost\n", "without a line end", "path\n"])
def test_what_is_not_from_here_is_left_alone(form: str, tmp_path: Path, content: str) -> None:
    (tmp_path / "other").write_text(content)
    refused(tmp_path / "other", form, "which says with what options it was written, is not beside it")


@pytest.mark.parametrize(
    ("form", "change", "told"),
    [
        ("csv", lambda text: text + "a,b,c,d,e,f,g,h\n", "more fields than the first"),
        ("csv", lambda text: text + "a,b\nc,d,1,3,\n", "fewer fields than the first line"),
        ("csv", lambda text: text + "a," + "x" * 200_000 + ",,,\n", "field larger than field limit"),
        ("csv", lambda text: text.replace("path", "file", 1), "its columns are file"),
        ("jsonl", lambda text: text + "{}\n", "no prediction"),
        ("jsonl", lambda text: text + '{"path": ["a"], "version": 3}\n', "no prediction"),
        ("jsonl", lambda text: text + "[" * 200_000 + "\n", "nested too deeply"),
        ("jsonl", lambda text: text + "{\n", "Expecting"),
    ],
    indirect=["form"],
)
def test_a_file_that_was_changed_is_refused_in_words(
    form: str, written: Path, change: Callable[[str], str], told: str
) -> None:
    written.write_text(change(written.read_text()))
    refused(written, form, told)


def test_bytes_that_are_no_text(form: str, written: Path) -> None:
    written.write_bytes(written.read_bytes() + b"\xff\n")
    refused(written, form, "can't decode byte")


def test_a_line_without_a_version_is_no_traceback(tmp_path: Path) -> None:
    write_file(RESULTS, "jsonl", ALL, tmp_path / "out", asked("jsonl"))
    (tmp_path / "out").write_text((tmp_path / "out").read_text().replace('"version": 3, ', ""))
    assert "=a.mp3" in earlier.resume(tmp_path / "out", ALL, asked("jsonl"))


@pytest.mark.parametrize("damage", ["", "{", "[]"])
def test_a_note_that_is_damaged(form: str, written: Path, damage: str) -> None:
    (written.parent / ".out.asked.json").write_text(damage)
    refused(written, form, "is not beside it")


def test_a_stream_is_written_and_not_continued(form: str, tmp_path: Path) -> None:
    write_file(RESULTS, form, ALL, Path("/dev/null"), asked(form))
    assert not Path("/dev/.null.asked.json").exists()
    with pytest.raises(UserError, match="no file that can be continued"):
        earlier.resume(Path("/dev/null"), ALL, asked(form))
    with pytest.raises(UserError, match="no file that can be continued"):
        earlier.resume(tmp_path, ALL, asked(form))
