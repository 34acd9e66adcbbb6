"""Songs that are planted in two splits as other encodings, cuts and levels, which the hash of the PCM does not see."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from etils import epath

from components.audio.config import AudioConfig
from components.beam.config import BeamConfig
from components.beam.options import beam_args
from components.library.config import IngestConfig
from components.library.ingest import Ingested, ingest
from components.library.layout import verify
from components.library.sources.folder import read_folder

RATE = 22050
AUDIO = AudioConfig(sample_rate=RATE, clip_seconds=8.0)
SPLIT_OF = {"a": "train", "b": "eval", "c": "test"}


def song(seed: int) -> np.ndarray:
    """Twelve seconds of random notes."""
    rng = np.random.default_rng(seed)
    samples = np.zeros(12 * RATE)
    for at in np.arange(0.0, 11.0, 0.21):
        axis = np.arange(int(rng.uniform(0.2, 0.8) * RATE)) / RATE
        pitch = 110.0 * 2 ** (rng.integers(0, 36) / 12)
        note = sum(np.sin(2 * np.pi * pitch * n * axis) / n for n in range(1, 5)) * np.exp(-4 * axis)
        samples[int(at * RATE) :][: len(note)] += 0.1 * note
    return samples


@pytest.fixture(scope="module")
def songs(tmp_path_factory: pytest.TempPathFactory, ffmpeg) -> Path:
    root = tmp_path_factory.mktemp("songs")
    for number in range(12):
        file = root / ("rock", "jazz")[number % 2] / f"{'abc'[number % 3]}{number}" / f"{number}.flac"
        ffmpeg.encode(file, song(number), RATE)
    # Of a song to train on, in the test and in the validation.
    ffmpeg.encode(root / "rock" / "c12" / "copy.mp3", 0.3 * song(0)[RATE // 2 :], RATE, 64000)
    ffmpeg.encode(root / "rock" / "b13" / "copy.m4a", song(6)[: -RATE // 3], RATE, 96000)
    return root


def ingested(songs: Path, root: Path, **config: str) -> Ingested:
    tracks = [replace(track, split=SPLIT_OF[track.group[0]]) for track in read_folder(songs)]
    rules = IngestConfig(max_reject_share=0.5, **config)
    args = beam_args(BeamConfig(mode="in_memory", workers=1))
    return ingest(tracks, songs, "test", root, AUDIO, rules, beam_args=args)


def listed(result: Ingested, name: str) -> list[dict[str, str]]:
    with (result.directory / name).open(newline="") as file:
        return list(csv.DictReader(file))


def test_they_are_listed_or_left_out(songs, tmp_path):
    reported = ingested(songs, tmp_path / "reported")
    pairs = [
        (row["track_id"], row["split"], row["other"], row["other_split"])
        for row in listed(reported, "near-duplicates.csv")
    ]
    assert pairs == [
        ("rock/b13/copy.m4a", "eval", "rock/a6/6.flac", "train"),
        ("rock/c12/copy.mp3", "test", "rock/a0/0.flac", "train"),
    ]
    assert reported.near_duplicates == 2 and reported.manifest.rejects == {}
    assert verify(epath.Path(tmp_path / "reported"), 1) == []

    without = ingested(songs, tmp_path / "without", near_duplicates="reject")
    assert without.manifest.rejects == {"near-duplicate": 2}
    assert {row["path"]: row["reason"] for row in listed(without, "rejects.csv")} == {
        "rock/b13/copy.m4a": "near-duplicate of rock/a6/6.flac (in split train)",
        "rock/c12/copy.mp3": "near-duplicate of rock/a0/0.flac (in split train)",
    }
    assert without.manifest.splits["test"].clips == reported.manifest.splits["test"].clips - 1


def test_those_of_earlier_spans_are_found_too(songs, tmp_path, ffmpeg):
    ingested(songs, tmp_path / "data")
    for number, artist in ((2, "a20"), (20, "a21"), (21, "b22"), (22, "c23")):
        ffmpeg.encode(tmp_path / "more" / "rock" / artist / f"{number}.ogg", song(number), RATE)
    again = ingested(tmp_path / "more", tmp_path / "data", near_duplicates="reject")
    assert [row["reason"] for row in listed(again, "rejects.csv")] == [
        "near-duplicate of rock/c2/2.flac (in split test of span 1)"
    ]
