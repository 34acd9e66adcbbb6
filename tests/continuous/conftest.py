"""Drives the loop as its operator does, by commands."""

import csv
import json
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from scipy.signal import butter, sosfilt

from components.demo.genres import RECIPES
from components.demo.library import RATE, LibraryOptions, compose, generator, plan

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 3.0
SETTINGS = {
    "audio": {"clip_seconds": SECONDS},
    "beam": {"mode": "in_memory"},
    "model": {"kind": "logistic_regression", "window_seconds": SECONDS},
    "window": 3,
    "gate": {"min_accuracy": 0.3},
}


GENRES = tuple(RECIPES)
Recording = Callable[[np.ndarray, np.random.Generator], np.ndarray]


def studio(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """As it was composed."""
    return samples


def cassette(samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A worn tape: nothing above 3 kHz, hiss, and half as loud."""
    dull = sosfilt(butter(4, 3000.0, fs=RATE, output="sos"), samples.astype(float))
    hiss = rng.normal(0.0, 150.0, len(samples))
    return np.clip(0.5 * dull + hiss, -32768, 32767).astype(np.int16)


RECORDINGS = {"studio": studio, "cassette": cassette}


@dataclass(frozen=True)
class Delivery:
    """What a span is made of."""

    seed: int
    artists: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(GENRES, 5))
    """Per genre, each with one song."""
    recording: str = "studio"
    shuffled: bool = False
    """Whether the labels are, so that they say nothing."""


def write(directory: Path, delivery: Delivery, seconds: float) -> Path:
    """Writes the songs of a delivery; returns the list of them, for `genre ingest csv`."""
    options = LibraryOptions(artists=max(3, *delivery.artists.values()), songs=1, seconds=seconds, seed=delivery.seed)
    # As many of each split as the artists of a genre allow: `plan` orders them by split.
    pieces = []
    for genre, count in delivery.artists.items():
        if count:
            own = LibraryOptions(artists=max(3, count), songs=1, seconds=seconds, seed=delivery.seed)
            pieces += [piece for piece in plan(own) if piece.genre == genre]
    labels = [piece.genre for piece in pieces]
    rng = generator("stream", delivery.seed)
    if delivery.shuffled:
        labels = list(rng.permutation(labels))
    rows = []
    for piece, label in zip(pieces, labels, strict=True):
        path = directory / f"{delivery.seed}-{piece.artist}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        with wave.open(str(path), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(RATE)
            file.writeframes(RECORDINGS[delivery.recording](compose(piece, options), rng).astype("<i2").tobytes())
        rows.append((path.name, label, path.stem, piece.split))
    with (directory / "tracks.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "genre", "artist", "split"))
        writer.writerows(rows)
    return directory / "tracks.csv"


@dataclass
class Loop:
    """A library that grows, and a workspace that keeps up with it."""

    root: Path
    zygote: Any
    config: Path

    @property
    def workspace(self) -> Path:
        return self.root / "workspace"

    @property
    def data(self) -> Path:
        return self.root / "data"

    def genre(self, *arguments: object, **how: Any) -> tuple[int, str]:
        """Runs a command; returns its exit code and what it said."""
        done = self.zygote.run("genre", *arguments, **how)
        return done.returncode, done.stdout + done.stderr

    def deliver(self, seed: int, **what: Any) -> None:
        """Ingests the next span; see `Delivery`."""
        delivery = Delivery(seed, **what)
        songs = self.root / f"songs-{delivery.seed}"
        tracks = write(songs, delivery, SECONDS)
        places = ("--audio-root", songs, "--group-column", "artist", "--split-column", "split")
        code, said = self.genre("ingest", "csv", tracks, *places, "--config", self.config)
        assert code == 0, said

    def retrain(self, *arguments: object, **how: Any) -> tuple[int, str]:
        """`genre retrain`; returns its exit code and what it said."""
        return self.genre("retrain", "--config", self.config, *arguments, **how)

    def history(self) -> list[dict[str, Any]]:
        """The records, the oldest first."""
        records = [json.loads(path.read_text()) for path in (self.workspace / "history").glob("*.json")]
        return sorted(records, key=lambda record: record["span"])

    def served(self) -> int | None:
        """The version that the pointer names."""
        pointer = self.workspace / "models" / "current.json"
        return json.loads(pointer.read_text())["version"] if pointer.exists() else None

    def verdict(self, version: int) -> dict[str, Any]:
        """What the gate said of a version."""
        return json.loads((self.workspace / "models" / str(version) / "assets.extra" / "verdict.json").read_text())

    def lineage(self, version: int) -> dict[str, Any]:
        """Where a version came from."""
        return json.loads((self.workspace / "models" / str(version) / "assets.extra" / "lineage.json").read_text())

    def answers(self) -> bool:
        """Whether the served model loads and says something of a song."""
        song = next(self.root.glob("songs-*/*.wav"))
        return self.genre("predict", song, "--workspace", self.workspace)[0] == 0


@pytest.fixture(scope="module")
def new_loop(zygote: Any, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Loop]:
    """Makes a loop with nothing in it yet, and the given settings."""

    def make(**settings: Any) -> Loop:
        root = tmp_path_factory.mktemp("loop")
        config = root / "config.yaml"
        places = {"data": str(root / "data"), "workspace": str(root / "workspace")}
        config.write_text(yaml.safe_dump(SETTINGS | places | settings))
        return Loop(root, zygote, config)

    return make
