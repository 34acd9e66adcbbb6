"""The facts that the parts of one composed song share: its artist's habits, its tempo, key, scale and chords.

Everything here is drawn from the same ranges for every genre, so that none of it reveals the genre. Beats are counted
from the first bar line, which lies up to a bar before the first sample, as in a clip cut from a longer recording.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.random import Generator

RATE = 22050
"""Samples per second of every song."""


@dataclass(frozen=True)
class Artist:
    """Habits that an artist's songs share, drawn alike for every genre."""

    tempo: float
    """Beats per minute."""
    register: float
    """Semitones added to the tonic."""
    dullness: float
    """Added to the slope of every timbre."""
    drum_pitch: float
    drum_decay: float
    loudness: float
    """RMS in dBFS."""
    brightness: float
    """Spectral centroid in Hz."""
    noise: float
    """Noise floor in dB relative to the music."""
    reverb: float
    """Decay time in seconds."""
    wetness: float
    bandwidth: float
    """Corner of the recording's lowpass in Hz."""


def draw_artist(rng: Generator) -> Artist:
    """Draws an artist's habits."""
    return Artist(
        tempo=np.exp(rng.uniform(np.log(85), np.log(145))),
        register=rng.uniform(-4, 4),
        dullness=rng.uniform(-0.25, 0.45),
        drum_pitch=np.exp(rng.uniform(-0.3, 0.3)),
        drum_decay=np.exp(rng.uniform(-0.4, 0.4)),
        loudness=rng.uniform(-27, -17),
        brightness=np.exp(rng.uniform(np.log(1100), np.log(2300))),
        noise=rng.uniform(-60, -32),
        reverb=np.exp(rng.uniform(np.log(0.1), np.log(1.2))),
        wetness=rng.uniform(0.05, 0.5),
        bandwidth=rng.uniform(5000, 10500),
    )


@dataclass(frozen=True)
class Song:
    """The facts that the layers of one song share."""

    artist: Artist
    samples: int
    beat: float
    """Seconds per beat."""
    upbeat: float
    """Beats between the first bar line and the first sample."""
    tonic: float
    """MIDI note number."""
    scale: tuple[int, ...]
    """Semitones above the tonic."""
    chords: tuple[int, ...]
    """Scale degree on which the chord of each bar is built, in turn."""
    density: float
    """0: sparse, 1: busy."""

    @property
    def beats(self) -> int:
        """Beats from the first bar line to the end."""
        return ceil(self.samples / RATE / self.beat + self.upbeat)

    def at(self, beat: float) -> float:
        """Returns the time of `beat`, in seconds."""
        return (beat - self.upbeat) * self.beat

    def hertz(self, degree: int, octave: int = 0) -> float:
        """Returns the pitch of a scale degree in Hz; degrees beyond the scale continue in the next octave."""
        octaves, step = divmod(degree, len(self.scale))
        note = self.tonic + self.scale[step] + 12 * (octaves + octave)
        return 440.0 * 2 ** ((note - 69) / 12)

    def bars(self, length: float = 4.0) -> Iterator[tuple[float, int]]:
        """Yields the first beat of every bar, and the root of its chord."""
        for number, start in enumerate(np.arange(0.0, self.beats, length)):
            yield start, self.chords[number % len(self.chords)]


PROGRESSIONS = ((0, 4, 5, 3), (0, 5, 3, 4), (0, 3, 0, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 0, 3, 4), (0, 5, 1, 4))


def draw_song(artist: Artist, scales: Sequence[tuple[int, ...]], samples: int, rng: Generator) -> Song:
    """Draws a song of `samples` samples by `artist` in one of `scales`."""
    return Song(
        artist=artist,
        samples=samples,
        beat=60.0 / (artist.tempo * np.exp(rng.normal(0, 0.07))),
        upbeat=rng.uniform(0, 4),
        tonic=57 + artist.register + int(rng.integers(-6, 6)),
        scale=scales[int(rng.integers(len(scales)))],
        chords=PROGRESSIONS[rng.integers(len(PROGRESSIONS))],
        density=rng.uniform(0, 1),
    )
