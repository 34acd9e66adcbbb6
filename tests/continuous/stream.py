"""A stream of music: spans of the demo library, and what can go wrong with them."""

import csv
import wave
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from scipy.signal import butter, sosfilt

from components.datasets.demo import RATE, LibraryOptions, compose, generator, plan
from components.datasets.demo_genres import RECIPES

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


@dataclass(frozen=True)
class Delivery:
    """What a span is made of."""

    seed: int
    artists: Mapping[str, int] = field(default_factory=lambda: dict.fromkeys(GENRES, 5))
    """Per genre, each with one song."""
    recording: Recording = studio
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
            file.writeframes(delivery.recording(compose(piece, options), rng).astype("<i2").tobytes())
        rows.append((path.name, label, path.stem, piece.split))
    with (directory / "tracks.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "genre", "artist", "split"))
        writer.writerows(rows)
    return directory / "tracks.csv"
