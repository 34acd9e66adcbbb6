"""Which songs are asked for; folders are walked as in tests/components/library/sources."""

import io
import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from components.base.errors import UserError
from pipeline.predicting.songs import find_songs, read_list


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_a_list_of_files(separator: str, tmp_path: Path) -> None:
    names = [b"a.mp3", b" b .mp3", b"Bj\xf6rk.mp3", b"-"]
    (tmp_path / "list").write_bytes(separator.encode().join([*names, b""]))
    assert [os.fsencode(path) for path in read_list(tmp_path / "list")] == names


def test_a_list_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"one\ntwo.wav\0three.wav\0")))
    assert read_list(Path("-")) == [Path("one\ntwo.wav"), Path("three.wav")]


def test_a_list_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        read_list(tmp_path / "none")


def test_audio_on_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"RIFF")))
    ((song,), left_out) = find_songs([Path("-")])
    assert song.audio is not None
    assert song.audio.seekable()
    assert song.audio.seek(0) == 0
    assert song.audio.read() == b"RIFF"
    assert (song.name, song.problem, left_out) == ("standard input", "", {})
