"""`genre embed` and `genre similar` without a model: what is computed, kept and shown."""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import click
import numpy as np
import pytest

from components.audio.decoding import AudioError
from components.base.errors import UserError
from components.store import model_store
from pipeline.cli import cli

VECTORS = {"a": [1, 0, 0], "b": [0.9, 0.1, 0], "c": [0, 1, 0], "d": [0.1, 0.9, 0], "strange": [-1, -1, 5], "silent": []}
COMPUTED: list[str] = []


class Predictor:
    """Hears what `VECTORS` says about the name of a song."""

    def __init__(self, saved_model: object) -> None:
        pass

    def embed_all(self, songs: list[Path]) -> Iterator[np.ndarray | AudioError]:
        for song in songs:
            COMPUTED.append(song.stem)
            known = song.stem in VECTORS
            yield np.array(VECTORS[song.stem], np.float32) if known else AudioError("no audio")


@pytest.fixture
def songs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setitem(sys.modules, "components.store.predictor", SimpleNamespace(Predictor=Predictor))
    monkeypatch.setattr(model_store, "current_version", lambda store: 3)
    monkeypatch.chdir(tmp_path)
    COMPUTED.clear()
    Path("songs").mkdir()
    for name in VECTORS:
        Path("songs", f"{name}.wav").write_text(name)
    cli(["embed", "songs"], standalone_mode=False)
    return Path("songs")


def similar(capfd: Any, *arguments: str) -> list[tuple[str, ...]]:
    """The songs that are shown, and their similarity to two digits."""
    capfd.readouterr()
    cli(["similar", *arguments, "--json"], standalone_mode=False)
    rows = json.loads(capfd.readouterr().out)
    return [
        tuple(f"{cell:.2f}" if isinstance(cell, float) else Path(cell).stem for cell in row.values()) for row in rows
    ]


def test_only_what_is_new_is_computed(songs, capfd):
    assert sorted(COMPUTED) == sorted(VECTORS)
    (songs / "a.wav").write_text("changed")
    (songs / "broken.wav").touch()
    with pytest.raises(UserError, match=r"broken.wav: cannot be read: no audio"):
        cli(["embed", "songs"], standalone_mode=False)
    assert sorted(COMPUTED[len(VECTORS) :]) == ["a", "broken"]
    assert "5 songs have embeddings by version 3" in capfd.readouterr().out


def test_neighbours_of_a_song_that_is_known_and_of_one_that_is_not(songs, capfd):
    before = len(COMPUTED)
    assert similar(capfd, "songs/a.wav", "--count", "2") == [("0.99", "b"), ("0.11", "d")]
    assert len(COMPUTED) == before
    Path("c.wav").touch()
    assert similar(capfd, "c.wav", "--count", "2") == [("1.00", "c"), ("0.99", "d")]
    Path("silent.wav").touch()
    with pytest.raises(UserError, match="silent"):
        similar(capfd, "silent.wav")


def test_outliers_and_duplicates(songs, capfd):
    assert similar(capfd, "--outliers", "--count", "1")[0][1] == "strange"
    pairs = similar(capfd, "--duplicates", "--least", "0.9")
    assert {frozenset(pair[1:]) for pair in pairs} == {frozenset("ab"), frozenset("cd")}


def test_mistakes_are_named(songs, monkeypatch):
    with pytest.raises(click.UsageError, match="Name a song"):
        cli(["similar"], standalone_mode=False)
    monkeypatch.setattr(model_store, "current_version", lambda store: 4)
    with pytest.raises(UserError, match=r"no song has an embedding by version 4.*genre embed"):
        cli(["similar", "songs/a.wav"], standalone_mode=False)
