"""`genre predict` without a model: which files it asks for, and what it prints of each."""

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.audio.decoding import AudioError
from components.base.errors import UserError
from components.store import model_store
from pipeline.cli import cli


class Predictor:
    """Takes every song for `Lo-Fi [/] Chill`, but for `broken.wav`."""

    def __init__(self, saved_model: object) -> None:
        pass

    def predict_all(self, songs: Iterable[Path]) -> Iterator[object]:
        for song in songs:
            broken = song.name == "broken.wav"
            yield AudioError("no audio") if broken else SimpleNamespace(probabilities={"Lo-Fi [/] Chill": 1.0}, clips=1)


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
        f"{name}: Lo-Fi [/] Chill 100%"
        for name in (r"songs/\x1b[31m\n[bold]x.wav", r"songs/Bj\xf6rk.wav", "songs/a.wav", "songs/album/c.wav")
    ]
    assert failed.splitlines() == [
        f"{song}: {'cannot be read: ' * (song == 'songs/broken.wav')}{reason}" for song, reason in FAILURES.items()
    ]
    assert "2 not audio" in shown.err


def test_as_json(songs: Path, capfd: pytest.CaptureFixture[str]) -> None:
    predict("--json")
    answers = {answer.pop("path"): answer for answer in json.loads(capfd.readouterr().out)}
    assert {path: answer["error"] for path, answer in answers.items() if "error" in answer} == FAILURES
    named = {path for path, answer in answers.items() if "genres" in answer}
    assert named == {"songs/\x1b[31m\n[bold]x.wav", r"songs/Bj\xf6rk.wav", "songs/a.wav", "songs/album/c.wav"}
