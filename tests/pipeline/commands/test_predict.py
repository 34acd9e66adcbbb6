"""`genre predict` without a model: which files it asks for, and what it prints of each."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from components.audio.decoding import AudioError
from components.base.errors import UserError
from components.store import model_store
from components.store.answers import Segment, SongGenres
from pipeline.cli import cli


class Predictor:
    """Takes every song for `Lo-Fi [/] Chill`, but for `broken.wav`."""

    answers_windows = True

    def __init__(self, saved_model: object) -> None:
        pass

    def predict_all(self, songs: Iterable[Path], segments: bool, hop: float | None) -> Iterator[object]:
        for song in songs:
            genres = {"Lo-Fi [/] Chill": 0.75, "Folk": 0.25}
            parts = (Segment(0.0, hop or 5.0, genres),) if segments else ()
            broken = getattr(song, "name", "") == "broken.wav"
            yield AudioError("no audio") if broken else SongGenres(genres, 1, parts)


@pytest.fixture
def songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Names that lead nowhere, names that are no text, and what is no song, in a folder and linked to it."""
    monkeypatch.setitem(sys.modules, "components.store.predictor", SimpleNamespace(Predictor=Predictor))
    monkeypatch.setattr(model_store, "current_version", lambda store: 3)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "songs" / ".Trash-1000").mkdir(parents=True)
    names = [b"songs/a.wav", b"songs/broken.wav", b"songs/.Trash-1000/b.wav", b"elsewhere/c.wav", b"songs/cover.jpg"]
    for name in (*names, b"songs/Bj\xf6rk.wav", b"songs/\x1b[31m\n[bold]x.wav"):
        with open(name, "w"):
            pass
    os.mkfifo("songs/pipe.wav")
    os.symlink("self.wav", "songs/self.wav")
    os.symlink("../elsewhere", "songs/album")
    os.symlink("..", "songs/album/up")
    return Path("songs")


FAILURES = {
    "songs/broken.wav": "no audio",
    "songs/pipe.wav": "unreadable: a named pipe, not a regular file",
    "songs/self.wav": "unreadable: a link in a circle",
    "none.wav": "missing file",
}


def predict(*arguments: str) -> str:
    with pytest.raises(UserError) as failed:
        cli(["predict", "songs", "none.wav", *arguments], standalone_mode=False)
    return str(failed.value)


def test_every_song_has_an_answer_or_a_reason(songs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    failed = predict()
    shown = capfd.readouterr()
    assert shown.out.splitlines() == [
        f"{name}: Lo-Fi [/] Chill 75%  Folk 25%"
        for name in (r"songs/\x1b[31m\n[bold]x.wav", r"songs/Bj\xf6rk.wav", "songs/a.wav", "songs/album/c.wav")
    ]
    assert failed.splitlines() == [
        f"{song}: {'cannot be read: ' * (song == 'songs/broken.wav')}{reason}" for song, reason in FAILURES.items()
    ]
    assert "2 not audio" in shown.err
    predict("--quiet")
    assert capfd.readouterr() == (shown.out, "")


def test_as_json(songs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    predict("--json")
    answers = {answer.pop("path"): answer for answer in json.loads(capfd.readouterr().out)}
    assert {path: answer["error"] for path, answer in answers.items() if "error" in answer} == FAILURES
    named = {path for path, answer in answers.items() if "genres" in answer}
    assert named == {"songs/\x1b[31m\n[bold]x.wav", r"songs/Bj\xf6rk.wav", "songs/a.wav", "songs/album/c.wav"}


def test_nothing_before_a_formats_own_file_is_whole_but_lines_are_there_at_once(songs: Path) -> None:
    """What an interrupted batch leaves: rows of the songs that are done, and no file that is cut off."""

    class Stopped(Predictor):
        def predict_all(self, *arguments: object) -> Iterator[object]:
            yield SongGenres({"Folk": 1.0}, 1)
            raise KeyboardInterrupt

    sys.modules["components.store.predictor"].Predictor = Stopped  # type: ignore[attr-defined]
    for form in ("jsonl", "csv", "json", "parquet", "table"):
        with pytest.raises((KeyboardInterrupt, click.Abort)):
            cli(["predict", "songs", "--format", form, "-o", f"out.{form}"], standalone_mode=False)
    left = ["out.csv", "out.jsonl"]
    assert sorted(path.name for path in Path().glob("*out.*")) == [*(f".{name}.asked.json" for name in left), *left]
    assert len(Path("out.jsonl").read_text().splitlines()) == 1
    sys.modules["components.store.predictor"].Predictor = Predictor  # type: ignore[attr-defined]
    failed = predict("--format", "jsonl", "-o", "out.jsonl", "--resume")
    assert len(failed.splitlines()) == len(FAILURES)
    answers = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert next(answer["genres"] for answer in answers if "genres" in answer) == {"Folk": 1.0}
    assert len({answer["path"] for answer in answers}) == len(answers) == 4 + len(FAILURES)
    before = Path("out.jsonl").read_bytes()
    assert "with --top not given, and this is with --top 1" in predict(
        *("--format", "jsonl", "-o", "out.jsonl", "--resume", "--top", "1")
    )
    assert Path("out.jsonl").read_bytes() == before


def test_segments_and_label_tracks(songs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    cli(["predict", "songs/a.wav", "--hop", "2"], standalone_mode=False)
    assert capfd.readouterr().out.splitlines()[1] == "   0:00.0 to  0:02.0  Lo-Fi [/] Chill 75%  Folk 25%"
    cli(["predict", "songs/a.wav", "--format", "audacity"], standalone_mode=False)
    assert capfd.readouterr().out == "0.000000\t5.000000\tLo-Fi [/] Chill 0.75\n"
    predict("--format", "audacity", "-o", "tracks")
    assert len(os.listdir(b"tracks")) == 4
    assert b"Bj\xf6rk.wav.txt" in os.listdir(b"tracks")


def test_who_reads_may_stop(songs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As `genre predict ... | head -n 1` does."""
    reader, writer = os.pipe()
    os.close(reader)
    saved = os.dup(1)
    os.dup2(writer, 1)
    try:
        cli(["predict", "songs/a.wav", "elsewhere/c.wav", "--format", "jsonl"], standalone_mode=False)
    finally:
        os.dup2(saved, 1)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "Name songs or folders"),
        (("a.wav", "--resume"), "--resume goes with --format jsonl or csv, and -o FILE"),
        (("a.wav", "--resume", "--format", "json", "-o", "x"), "--resume goes with"),
        (("a.wav", "--format", "parquet"), "name a file with -o"),
        (("songs", "--format", "audacity"), "name a folder with -o"),
        (("songs", "--timeline", "one.png"), "Name a folder"),
        (("a.wav", "--hop", "0"), "range"),
        (("a.wav", "--min-confidence", "7"), "range"),
    ],
)
def test_options_that_do_not_go_together(songs: Path, arguments: tuple[str, ...], told: str) -> None:
    with pytest.raises((click.UsageError, UserError)) as failed:
        cli(["predict", *arguments], standalone_mode=False)
    assert told in str(failed.value)


def test_a_model_of_an_earlier_release_says_that_its_segments_are_clips(
    songs: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Predictor, "answers_windows", False)
    cli(["predict", "songs/a.wav", "--segments"], standalone_mode=False)
    assert "its segments are clips" in capfd.readouterr().err
    cli(["predict", "songs/a.wav", "--segments", "-q"], standalone_mode=False)
    assert capfd.readouterr().err == ""
    cli(["predict", "songs/a.wav"], standalone_mode=False)
    assert "its segments are clips" not in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--beam",), "--beam goes with --input"),
        (("--beam", "--input", "songs"), "--beam goes with --input"),
        (("songs", "--beam", "--input", "songs", "-o", "out"), "With --beam there are"),
        (
            ("--beam", "--input", "songs", "-o", "out", "--format", "csv"),
            "With --beam there are",
        ),
        (("songs", "--embed"), "go with --beam"),
        (("songs", "--input", "songs"), "go with --beam"),
    ],
)
def test_beam_takes_options_of_its_own(arguments: tuple[str, ...], words: str) -> None:
    with pytest.raises(click.UsageError, match=words):
        cli(["predict", *arguments], standalone_mode=False)


def test_places_in_buckets_stay_as_they_are(songs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def name_songs(pattern: str, output: str, *_: object) -> SimpleNamespace:
        asked.extend((pattern, output))
        return SimpleNamespace(songs=1, rejects=0)

    stand_in = SimpleNamespace(SHARDS=256, Asked=SimpleNamespace, name_songs=name_songs)
    monkeypatch.setitem(sys.modules, "pipeline.predicting.on_beam", stand_in)
    cli(["predict", "--beam", "--input", "gs://music/**", "-o", "gs://genres/out"], standalone_mode=False)
    assert asked == ["gs://music/**", "gs://genres/out"]
