"""`genre tag` without a model: which songs get a genre, where, and how it is undone."""

import hashlib
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace

import click
import pytest

from components.audio.decoding import AudioError
from components.base.errors import UserError
from components.store import model_store
from pipeline.cli import cli

CONFIDENCE = {"sure": 0.9, "edge": 0.6, "unsure": 0.5, "tagged": 0.9}


class Predictor:
    """Takes every song for Rock, with a confidence by its name; hears nothing in `silent`, and fails at `broken`."""

    def __init__(self, saved_model: object) -> None:
        pass

    def predict_all(self, songs: Iterable[Path]) -> Iterator[object]:
        for song in songs:
            confidence = CONFIDENCE.get(song.stem)
            if song.stem == "broken":
                yield AudioError("no audio")
            else:
                yield SimpleNamespace(probabilities={"Rock": confidence, "Jazz": 0.1} if confidence else {}, clips=1)


@pytest.fixture
def songs(tmp_path: Path, ffmpeg, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "components.store.predictor", SimpleNamespace(Predictor=Predictor))
    monkeypatch.setattr(model_store, "current_version", lambda store: 3)
    monkeypatch.chdir(tmp_path)
    for name in ("a/sure.mp3", "a/edge.flac", "b/unsure.ogg", "b/silent.m4a", "b/broken.flac"):
        ffmpeg.encode(Path("songs") / name)
    ffmpeg.encode(Path("songs/b/tagged.flac"), genre="Polka")
    return Path("songs")


def content(folder: Path) -> dict[str, str]:
    return {str(file): hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.rglob("*") if file.is_file()}


def tag(*arguments: str) -> str:
    """The error at the end, which is that of the broken song."""
    with pytest.raises(UserError) as failed:
        cli(["tag", *arguments], standalone_mode=False)
    return str(failed.value)


def test_nothing_is_written_unless_that_is_asked_for(songs, capfd):
    before = content(Path())
    assert tag("songs") == "songs/b/broken.flac: no audio"
    assert content(Path()) == before
    assert capfd.readouterr().out.splitlines() == [
        "songs/b/tagged.flac: Polka, has a genre",
        "songs/a/edge.flac: Rock 60%, to tag",
        "songs/a/sure.mp3: Rock 90%, to tag",
        "songs/b/silent.m4a: silent",
        "songs/b/unsure.ogg: Rock 50%, not sure",
        "1 has a genre, 1 not sure, 1 silent, 2 to tag",
        "Nothing was written. --write writes into the songs, and --copies DIR into copies.",
    ]


def test_songs_are_tagged_and_made_again_what_they_were(songs, ffmpeg, capfd):
    before = content(songs)
    tag("songs", "--write", "--min-confidence", "0.7")
    changed = {file for file, digest in content(songs).items() if digest != before[file]}
    assert changed == {"songs/a/sure.mp3"}
    assert ffmpeg.tags(songs / "a/sure.mp3")["genre"] == "Rock"
    *_, last = capfd.readouterr().out.splitlines()
    assert last.startswith("to undo it: `genre tag --undo ") and last.endswith(".jsonl`")
    undo = last.removesuffix("`").split()[-1]
    for outcome in ("as it was", "was so already"):
        cli(["tag", "--undo", undo], standalone_mode=False)
        assert content(songs) == before
        assert capfd.readouterr().out.splitlines()[-1] == f"1 {outcome}"


def test_a_genre_that_is_there_is_replaced_if_that_is_asked_for(songs, ffmpeg):
    tag("songs", "--write", "--overwrite")
    assert ffmpeg.tags(songs / "b/tagged.flac")["genre"] == "Rock"
    assert "genre" not in ffmpeg.tags(songs / "b/unsure.ogg")


def test_copies_leave_the_songs_as_they_are(songs, ffmpeg):
    before = content(songs)
    tag("songs", "--copies", "tagged")
    assert content(songs) == before
    assert set(content(Path("tagged"))) == {"tagged/a/sure.mp3", "tagged/a/edge.flac"}
    assert ffmpeg.tags(Path("tagged/a/edge.flac"))["genre"] == "Rock"
    assert "songs/a/sure.mp3: tagged/a/sure.mp3 exists" in tag("songs", "--copies", "tagged")


def test_mistakes_are_named(songs):
    assert "Give one of them" in tag("songs", "--write", "--copies", "x")
    assert "stands alone" in tag("songs", "--undo", "x")
    assert "cannot be read" in tag("--undo", "nowhere.jsonl")
    with pytest.raises(click.UsageError, match="Missing argument"):
        cli(["tag"], standalone_mode=False)
