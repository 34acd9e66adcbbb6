"""Instruments, how their notes are put in time, and the recording of the mix.

A sound is float64 [samples] at `RATE`, of no particular level until `master`.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import TypeVar

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray
from scipy import fft, signal

from components.demo.song import RATE, Artist, Song

Sound = NDArray[np.float64]
Events = Iterable[tuple[float, Sound]]
"""Sounds, each with the second at which it begins."""
Choice = TypeVar("Choice")


@dataclass(frozen=True)
class Timbre:
    """A pitched, periodic sound."""

    slope: float
    """Harmonic k has the level k ** -slope."""
    even: float = 1.0
    """Level of the even harmonics: 0 for a square wave or a clarinet."""
    formants: tuple[float, ...] = ()
    """Hz around which harmonics stand out, as in a voice."""
    attack: float = 0.01
    """Seconds."""
    decay: float = 0.0
    """Per second."""
    vibrato: float = 0.0
    """Cents."""


SAW = Timbre(1.0)
SQUARE = Timbre(1.0, even=0.05)
SINE = Timbre(6.0)
ORGAN = Timbre(0.9, even=0.6, formants=(300.0, 900.0, 1900.0), attack=0.02)
STRINGS = Timbre(1.1, formants=(500.0, 1200.0, 3000.0), attack=0.18, vibrato=12)
FIDDLE = Timbre(0.9, formants=(500.0, 1300.0, 3000.0), attack=0.05, vibrato=22)
FLUTE = Timbre(2.2, attack=0.06, vibrato=14)
REED = Timbre(0.55, even=0.5, formants=(1100.0, 2600.0), attack=0.03, vibrato=8)
BRASS = Timbre(0.8, formants=(800.0, 1600.0), attack=0.05)
PIANO = Timbre(1.5, attack=0.004, decay=2.2)
EPIANO = Timbre(2.0, even=0.5, attack=0.006, decay=2.5)
BELL = Timbre(1.3, even=0.15, attack=0.003, decay=5.0)
VOWELS = ((700.0, 1150.0, 2600.0), (400.0, 2000.0, 2700.0), (350.0, 800.0, 2500.0), (550.0, 1750.0, 2500.0))
VOICE = Timbre(1.1, formants=VOWELS[0], attack=0.04, vibrato=35)


def any_of(rng: Generator, *choices: Choice) -> Choice:
    """Draws one of `choices`."""
    return choices[rng.integers(len(choices))]


def played_by(song: Song, timbre: Timbre, rng: Generator) -> Timbre:
    """Changes `timbre` to the habits of this song's artist."""
    slope = max(0.4, timbre.slope + song.artist.dullness + rng.uniform(-0.15, 0.15))
    return replace(timbre, slope=slope, even=timbre.even * rng.uniform(0.7, 1.0))


def single_cycle(timbre: Timbre, hertz: float, cutoff: float) -> Sound:
    """Computes one period of `timbre` at `hertz` Hz, without harmonics that alias or lie well above `cutoff` Hz.

    Returns:
      Float [2048] with an RMS of 1.
    """
    harmonic = np.arange(1, max(2, min(80, int(0.45 * RATE / hertz))))
    level = harmonic**-timbre.slope
    level[1::2] *= timbre.even
    if timbre.formants:
        distance = (harmonic[:, None] * hertz - np.array(timbre.formants)) / 250.0
        level = level * (0.12 + np.exp(-0.5 * distance**2).sum(axis=1))
    level = level / np.sqrt(1.0 + (harmonic * hertz / cutoff) ** 6)
    spectrum = np.zeros(1025, complex)
    spectrum[harmonic] = level * np.exp(1j * harmonic**2)  # spread phases: no spike at the start of each period
    return normalised(fft.irfft(spectrum))


def envelope(samples: int, attack: float, decay: float, release: float = 0.03) -> Sound:
    """Computes a linear rise over `attack` s, exponential fall of `decay` per s, linear release of `release` s."""
    t = np.arange(samples) / RATE
    fade = np.minimum(1.0, np.minimum(t / attack, (samples / RATE - t) / release))
    return fade * np.exp(-decay * t) if decay else fade


def tone(hertz: float, seconds: float, timbre: Timbre, cutoff: float = 9000.0, slide: float = 0.0) -> Sound:
    """Plays a note; it slides in from `slide` semitones away over its first 80 ms."""
    samples = max(64, round(seconds * RATE))
    t = np.arange(samples) / RATE
    periods = hertz * t
    if slide or timbre.vibrato:
        vibrato = timbre.vibrato / 100 * np.sin(2 * np.pi * 5.6 * t) * np.minimum(1.0, t / 0.25)
        periods = np.cumsum(hertz * np.exp2((slide * np.exp(-t / 0.04) + vibrato) / 12)) / RATE
    cycle = single_cycle(timbre, hertz, cutoff)
    wave = cycle[(periods * len(cycle)).astype(np.int64) & (len(cycle) - 1)]  # its length is a power of two
    return wave * envelope(samples, timbre.attack, timbre.decay)


def pluck(hertz: float, seconds: float, rng: Generator, softness: float = 0.5) -> Sound:
    """Plays a plucked string after Karplus and Strong: a burst of noise in a loop, averaged in each round."""
    samples = max(64, round(seconds * RATE))
    period = int(RATE / hertz)
    pick = round(1 + 12 * softness)
    burst = np.convolve(rng.uniform(-1, 1, period + pick), np.ones(pick) / pick, mode="valid")[:period]
    rounds = ceil(samples * hertz / RATE) + 2
    string = np.empty((rounds, period))
    string[0] = burst - burst.mean()
    for i in range(1, rounds):
        last = string[i - 1]
        string[i, 1:] = 0.498 * (last[1:] + last[:-1])
        string[i, 0] = 0.498 * (last[0] + string[max(i - 2, 0), -1])
    # A whole number of samples per period is out of tune; reading it at another speed is not.
    position = np.arange(samples) * ((period + 0.5) * hertz / RATE)
    position = position[position < string.size - 1]
    sound = np.interp(position, np.arange(string.size), string.ravel())
    return sound / (np.abs(sound).max() + 1e-9) * envelope(len(sound), 0.001, 0.8)


def bell(hertz: float, seconds: float, ratio: float, index: float) -> Sound:
    """Plays a tone of frequency modulation; with an irrational `ratio` the partials are inharmonic."""
    t = np.arange(round(seconds * RATE)) / RATE
    depth = index * np.exp(-2.0 * t / seconds)
    return np.sin(2 * np.pi * hertz * t + depth * np.sin(2 * np.pi * hertz * ratio * t)) * envelope(
        len(t), 0.02, 1.5 / seconds
    )


def overdrive(sound: Sound, drive: float) -> Sound:
    """Plays `sound` through a tube amplifier: a `drive` of 1 is nearly clean, of 10 fully distorted."""
    level = np.sqrt(np.mean(sound**2)) + 1e-9
    bright = np.tanh(drive * sound / level)
    return signal.lfilter(*signal.butter(2, [90, 4500], "bandpass", fs=RATE), bright)


def kick(song: Song) -> Sound:
    """Plays a bass drum."""
    t = np.arange(round(0.3 * RATE)) / RATE
    hertz = 48 * song.artist.drum_pitch * (1 + 3.5 * np.exp(-t / 0.02))
    return np.sin(2 * np.pi * np.cumsum(hertz) / RATE) * envelope(len(t), 0.001, 11 / song.artist.drum_decay) * 1.6


def snare(song: Song, rng: Generator) -> Sound:
    """Plays a snare drum: two modes of the skin and the rattle of the wires."""
    t = np.arange(round(0.25 * RATE)) / RATE
    hertz = 185 * song.artist.drum_pitch
    skin = np.sin(2 * np.pi * hertz * t) + 0.6 * np.sin(2 * np.pi * 1.6 * hertz * t)
    wires = np.diff(rng.standard_normal(len(t) + 1))
    return 0.7 * skin * np.exp(-24 * t) + 0.6 * wires * np.exp(-16 / song.artist.drum_decay * t)


def clap(rng: Generator) -> Sound:
    """Plays several claps, not quite together."""
    t = np.arange(round(0.22 * RATE)) / RATE
    hands = sum(
        np.where(t >= late, np.exp(-(t - late) * fall), 0.0) for late, fall in ((0, 150), (0.011, 150), (0.024, 22))
    )
    return (
        1.6 * hands * signal.lfilter(*signal.butter(1, [700, 3200], "bandpass", fs=RATE), rng.standard_normal(len(t)))
    )


def hat(song: Song, rng: Generator, seconds: float = 0.05) -> Sound:
    """Plays a hi-hat: short when closed, long when open."""
    samples = round(4 * seconds * RATE)
    return 0.25 * np.diff(rng.standard_normal(samples + 2), 2) * envelope(samples, 0.001, 1 / seconds)


def shaker(rng: Generator) -> Sound:
    """Plays a shaker: a softer onset than a hat."""
    samples = round(0.1 * RATE)
    return 0.35 * np.diff(rng.standard_normal(samples + 1)) * envelope(samples, 0.035, 12, 0.05)


def hand_drum(song: Song, rng: Generator, high: bool) -> Sound:
    """Plays a skin that is struck in the middle (low) or at the rim (high)."""
    t = np.arange(round((0.18 if high else 0.35) * RATE)) / RATE
    hertz = (310 if high else 88) * song.artist.drum_pitch
    modes = sum(
        level * np.sin(2 * np.pi * ratio * hertz * t)
        for ratio, level in ((1, 1), (1.59, 0.6), (2.14, 0.4), (2.65, 0.2))
    )
    slap = rng.standard_normal(len(t)) * np.exp(-t * (120 if high else 250))
    return modes * np.exp(-t * (28 if high else 12) / song.artist.drum_decay) + 0.5 * slap


# --- Notes and hits in time ---


def place(samples: int, events: Events) -> Sound:
    """Sums `events`, cut to [0, samples)."""
    out = np.zeros(samples)
    for second, sound in events:
        start = round(second * RATE)
        sound = sound[max(0, -start) : max(0, samples - start)]
        out[max(0, start) : max(0, start) + len(sound)] += sound
    return out


def hits(
    song: Song, rng: Generator, sound: Sound, beats: Iterable[float], bar: float = 4.0, chance: float = 1.0
) -> Events:
    """Places `sound` on these `beats` of every bar, each with probability `chance`, as evenly as a person plays."""
    for start, _ in song.bars(bar):
        for beat in beats:
            if rng.random() < chance:
                yield song.at(start + beat) + rng.normal(0, 0.004), sound * rng.uniform(0.75, 1.0)


def drummed(song: Song, *parts: Events) -> Sound:
    """Joins several parts of one rhythm."""
    return place(song.samples, (event for part in parts for event in part))


def eighths(swing: float = 0.0, step: float = 0.5) -> list[float]:
    """Lists the beats of a 4/4 bar every `step`; the off-beats come late by `swing` of a step."""
    return [beat + (swing * step if i % 2 else 0.0) for i, beat in enumerate(np.arange(0.0, 4.0, step))]


def phrase(
    song: Song, rng: Generator, lengths: Sequence[float], rest: float, leap: int = 2
) -> Iterator[tuple[float, float, int]]:
    """Draws a melody as (beat, length in beats, scale degree): a walk that returns to the middle, with rests."""
    beat, degree = float(any_of(rng, 0.0, 0.5, 1.0)), int(rng.integers(0, 5))
    while beat < song.beats:
        length = float(any_of(rng, *lengths))
        if rng.random() >= rest:
            yield beat, length, degree
        degree += int(rng.integers(-leap, leap + 1)) - (degree > 8) + (degree < -1)
        beat += length


def sung(
    song: Song, notes: Iterable[tuple[float, float, int]], timbre: Timbre, octave: int, slide: float = 0.0
) -> Sound:
    """Plays a melody on one instrument."""
    return place(
        song.samples,
        (
            (song.at(beat), tone(song.hertz(degree, octave), 0.95 * length * song.beat, timbre, slide=slide))
            for beat, length, degree in notes
        ),
    )


def bass_line(song: Song, rng: Generator, beats: Sequence[float], timbre: Timbre, cutoff: float) -> Sound:
    """Plays the root of each chord on these `beats` of every bar."""
    length = 0.9 * min(np.diff([*beats, 4.0])) * song.beat
    return place(
        song.samples,
        (
            (song.at(start + beat), tone(song.hertz(root, -2), length, timbre, cutoff))
            for start, root in song.bars()
            for beat in beats
        ),
    )


def triad(root: int) -> tuple[int, int, int]:
    """Returns the scale degrees of the chord on `root`."""
    return root, root + 2, root + 4


# --- The recording ---


def normalised(sound: Sound) -> Sound:
    """Scales `sound` to an RMS of 1; silence stays silence."""
    level = np.sqrt(np.mean(sound**2))
    return sound / level if level > 1e-6 else sound


def tilt_towards(magnitude: Sound, hertz: Sound, centroid: float) -> float:
    """Finds the exponent a for which magnitude * hertz ** a has the `centroid` in Hz, within +-12 dB per octave."""
    low, high = -2.0, 2.0
    for _ in range(20):
        middle = (low + high) / 2
        weight = magnitude * hertz**middle
        low, high = (low, middle) if (weight @ hertz) > centroid * weight.sum() else (middle, high)
    return (low + high) / 2


def master(mix: Sound, artist: Artist, rng: Generator) -> NDArray[np.int16]:
    """Records `mix` as int16 [samples]; room, noise, brightness and loudness are the artist's."""
    tail = np.arange(round(artist.reverb * RATE)) / RATE
    room = artist.wetness * 0.05 * rng.standard_normal(len(tail)) * np.exp(-6.9 * tail / artist.reverb)
    room[0] += 1.0
    noisy = normalised(mix) + 10 ** (artist.noise / 20) * rng.standard_normal(len(mix))

    size = fft.next_fast_len(len(mix) + len(room), real=True)
    spectrum = fft.rfft(noisy, size) * fft.rfft(room, size)
    hertz = np.maximum(fft.rfftfreq(size, 1 / RATE), 60.0)
    spectrum /= np.sqrt(1.0 + (hertz / artist.bandwidth) ** 8)
    bands = len(hertz) // 256 * 256
    magnitude = np.sqrt(np.mean(np.abs(spectrum[:bands]).reshape(256, -1) ** 2, axis=1))
    centroid = artist.brightness * np.exp(rng.normal(0, 0.15))
    spectrum *= (hertz / 1000.0) ** tilt_towards(magnitude, hertz[:bands].reshape(256, -1).mean(axis=1), centroid)

    level = 10 ** ((artist.loudness + rng.normal(0, 1.5)) / 20)
    sound = level * normalised(fft.irfft(spectrum, size)[: len(mix)])
    limited = np.where(
        np.abs(sound) < 0.5, sound, np.sign(sound) * (0.5 + 0.45 * np.tanh((np.abs(sound) - 0.5) / 0.45))
    )
    return np.round(limited * 32767).astype(np.int16)
