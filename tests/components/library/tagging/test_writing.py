"""Genres that are written into songs: whole or not at all, and undone to the byte."""

import itertools
import os
import signal
import sys
from collections.abc import Callable

import numpy as np
import pytest

from components.base.errors import UserError
from components.library.tagging.song_tags import TagError, read_song_tags
from components.library.tagging.writing import UndoFile, tag_copy, tag_in_place, undo_change

FORMATS = (".mp3", ".flac", ".ogg", ".opus", ".m4a", ".wma", ".wav", ".aiff")
NOISE = np.random.default_rng(1).uniform(-0.3, 0.3, 10 * 48000)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("tags", [{}, {"genre": "Old", "title": "Kept"}])
def test_what_was_written_is_undone_to_the_byte(tmp_path, ffmpeg, name, tags):
    song = ffmpeg.encode(tmp_path / f"a{name}", NOISE, **tags)
    before, heard, time = song.read_bytes(), ffmpeg.sound(song), song.stat().st_mtime_ns
    song.chmod(0o640)
    undo = UndoFile(tmp_path / "new" / "undo.jsonl")
    for genre in ("Folk, " * 40, "Rock"):
        tag_in_place(song, genre, undo)
        assert ffmpeg.tags(song)["genre"] == genre
        assert read_song_tags(song).genres[0].strip(", ") == genre.strip(", ")
        assert ffmpeg.sound(song) == heard
    assert song.stat().st_mode & 0o777 == 0o640
    assert undo.file.stat().st_size < len(before) / 10
    assert [undo_change(change) for change in undo.changes()] == [True, True]
    assert song.read_bytes() == before
    assert (song.stat().st_mtime_ns, song.stat().st_mode & 0o777) == (time, 0o640)
    assert undo_change(list(undo.changes())[1]) is False
    assert sorted(path.name for path in tmp_path.iterdir()) == [song.name, "new"]


def test_a_song_that_has_changed_since_is_left_as_it_is(tmp_path, ffmpeg):
    song = ffmpeg.encode(tmp_path / "a.flac")
    undo = UndoFile(tmp_path / "undo.jsonl")
    tag_in_place(song, "Rock", undo)
    tag_in_place(song, "Jazz", UndoFile(tmp_path / "other.jsonl"))
    (change,) = undo.changes()
    with pytest.raises(TagError, match="changed since"):
        undo_change(change)
    assert read_song_tags(song).genres == ("Jazz",)
    song.unlink()
    with pytest.raises(TagError, match="not there any more"):
        undo_change(change)


def test_a_song_that_changes_meanwhile_is_left_as_it_is(tmp_path, ffmpeg, monkeypatch):
    song = ffmpeg.encode(tmp_path / "a.flac")
    undo = UndoFile(tmp_path / "undo.jsonl")
    add = UndoFile.add

    def meanwhile(self, change):
        add(self, change)
        song.write_bytes(b"another program's")

    monkeypatch.setattr(UndoFile, "add", meanwhile)
    with pytest.raises(TagError, match="another program"):
        tag_in_place(song, "Rock", undo)
    assert song.read_bytes() == b"another program's"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.flac", "undo.jsonl"]


def test_a_link_stays_one(tmp_path, ffmpeg):
    song = ffmpeg.encode(tmp_path / "there" / "a.mp3")
    (tmp_path / "link.mp3").symlink_to(song)
    tag_in_place(tmp_path / "link.mp3", "Rock", UndoFile(tmp_path / "undo.jsonl"))
    assert (tmp_path / "link.mp3").is_symlink()
    assert read_song_tags(song).genres == ("Rock",)


def test_a_copy_never_replaces_anything(tmp_path, ffmpeg):
    song = ffmpeg.encode(tmp_path / "a.ogg")
    before = song.read_bytes()
    tag_copy(song, "Rock", tmp_path / "copies" / "x" / "a.ogg")
    assert read_song_tags(tmp_path / "copies" / "x" / "a.ogg").genres == ("Rock",)
    with pytest.raises(TagError, match="exists"):
        tag_copy(song, "Jazz", tmp_path / "copies" / "x" / "a.ogg")
    with pytest.raises(TagError, match="exists"):
        tag_copy(song, "Jazz", song)
    assert song.read_bytes() == before


def test_a_file_that_takes_no_tags_is_left_as_it_is(tmp_path):
    song = tmp_path / "a.mp3"
    song.write_bytes(b"no music")
    with pytest.raises(TagError):
        tag_in_place(song, "Rock", UndoFile(tmp_path / "undo.jsonl"))
    assert song.read_bytes() == b"no music"
    assert list(tmp_path.iterdir()) == [song]


@pytest.mark.parametrize("text", ["no json\n", '{"path": 1}\n', "[]\n"])
def test_files_that_undo_nothing(tmp_path, text):
    with pytest.raises(UserError, match="cannot be read"):
        list(UndoFile(tmp_path / "none").changes())
    (tmp_path / "undo.jsonl").write_text(text)
    with pytest.raises(UserError, match="no undo file"):
        list(UndoFile(tmp_path / "undo.jsonl").changes())


def test_a_damaged_line_changes_nothing(tmp_path, ffmpeg):
    song = ffmpeg.encode(tmp_path / "a.flac")
    undo = UndoFile(tmp_path / "undo.jsonl")
    tag_in_place(song, "Rock", undo)
    tagged = song.read_bytes()
    text = undo.file.read_text()
    place = text.index('"difference": "') + 25
    undo.file.write_text(text[:place] + ("A" if text[place] != "A" else "B") + text[place + 1 :])
    (change,) = undo.changes()
    with pytest.raises(TagError, match="damaged"):
        undo_change(change)
    assert song.read_bytes() == tagged


OPERATIONS = ("open", "os.rename", "os.remove", "os.chmod", "os.chown", "os.utime", "shutil.copyfile")


def killed(number: int, work: Callable[[], object]) -> bool:
    """Does work in a process that is killed at its operation on files of this number; returns whether it got there."""
    child = os.fork()
    if child == 0:
        seen = itertools.count(1)
        sys.addaudithook(
            lambda event, _: (
                os.kill(os.getpid(), signal.SIGKILL) if event in OPERATIONS and next(seen) == number else None
            )
        )
        work()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL)
    return status != 0


@pytest.mark.parametrize("what", ["tag", "undo"])
def test_a_kill_at_any_operation_leaves_the_song_whole(tmp_path, ffmpeg, what):
    """Of 1, 2, 3 ... operations on files until none is left that a process could be killed at."""
    song = ffmpeg.encode(tmp_path / "songs" / "a.mp3", NOISE, title="Kept")
    before = song.read_bytes()
    undo = UndoFile(tmp_path / "undo.jsonl")
    tag_in_place(song, "Rock", UndoFile(tmp_path / "first.jsonl"))
    after = song.read_bytes()
    outcomes = []
    for number in itertools.count(1):
        undo.file.unlink(missing_ok=True)
        song.write_bytes(before)
        if what == "undo":
            tag_in_place(song, "Rock", undo)
        came_so_far = killed(
            number,
            (lambda: tag_in_place(song, "Rock", undo))
            if what == "tag"
            else (lambda: [undo_change(change) for change in undo.changes()]),
        )
        assert song.read_bytes() in (before, after), number
        outcomes.append(song.read_bytes() == after)
        if undo.file.exists():
            assert [undo_change(change) for change in undo.changes()] in ([outcomes[-1]], [])
        assert song.read_bytes() == before
        if not came_so_far:
            break
    assert len(outcomes) > 5
    assert set(outcomes) == {True, False}
