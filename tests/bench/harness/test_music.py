import csv
import hashlib
from pathlib import Path

import pytest

from bench.harness import music
from components.audio.config import AudioConfig
from components.audio.decoding import decode_clip
from components.base.errors import UserError

SECONDS = 2.0


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("scratch")


def rows(table: Path) -> list[dict[str, str]]:
    with table.open(newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.long
def test_no_two_clips_are_alike_and_each_is_long_enough(scratch: Path) -> None:
    files = music.songs(music.library(scratch, 36, SECONDS))
    clips = [decode_clip(file, AudioConfig(clip_seconds=SECONDS)) for file in files]
    assert len({hashlib.sha256(clip.pcm).hexdigest() for clip in clips}) == len(files) == 36
    for clip in clips:
        assert SECONDS <= clip.duration_seconds < SECONDS + 0.1
        assert (clip.source_rate, clip.source_channels) == (44100, 2)
        assert clip.peak_dbfs > -40


def test_every_split_has_every_genre_and_no_artist_is_in_two(scratch: Path) -> None:
    listed = rows(music.library(scratch, 12, SECONDS))
    assert len(listed) == 12
    assert {(row["split"], row["genre"]) for row in listed} == {
        (split, genre) for split in ("train", "eval", "test") for genre in {row["genre"] for row in listed}
    }
    assert len({row["genre"] for row in listed}) == 2
    assert len({(row["artist"], row["split"]) for row in listed}) == len({row["artist"] for row in listed})


def test_half_of_the_clips_may_be_for_the_test(scratch: Path) -> None:
    listed = rows(music.library(scratch, 24, SECONDS, music.HALF_TEST))
    assert sum(row["split"] == "test" for row in listed) == 12


def test_what_was_made_is_used_again(scratch: Path) -> None:
    table = music.library(scratch, 24, SECONDS)
    before = {file: file.stat().st_mtime_ns for file in music.songs(table)}
    again = music.library(scratch, 36, SECONDS)
    assert set(before) <= set(music.songs(again))
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert list(scratch.rglob("*.partial")) == []


def test_frames_add_up_to_the_file(scratch: Path) -> None:
    data = music.songs(music.library(scratch, 12, SECONDS))[0].read_bytes()
    frames = music.mp3_frames(data)
    assert b"".join(frames) == data
    assert {len(frame) for frame in frames} == {835, 836}  # 256 kbit/s at 44.1 kHz, with and without padding
    with pytest.raises(ValueError, match="at byte 836"):
        music.mp3_frames(frames[0] + b"\0" * 100 if len(frames[0]) == 836 else frames[0] + b"\0" * 101)


def test_too_few_clips_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--clips 11: too few songs; at least 12"):
        music.library(tmp_path, 11, SECONDS)
