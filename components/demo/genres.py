"""The genres of the composed library: the scales, rhythm, harmony and melody of each.

Every layer is a function of the song and of random numbers alone that returns float64 [song.samples].
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
from numpy.random import Generator

from components.demo.instruments import (
    BELL,
    BRASS,
    EPIANO,
    FIDDLE,
    FLUTE,
    ORGAN,
    PIANO,
    REED,
    SAW,
    SINE,
    SQUARE,
    STRINGS,
    VOICE,
    VOWELS,
    Events,
    Sound,
    Timbre,
    any_of,
    bass_line,
    bell,
    clap,
    drummed,
    eighths,
    envelope,
    hand_drum,
    hat,
    hits,
    kick,
    overdrive,
    phrase,
    place,
    played_by,
    pluck,
    shaker,
    snare,
    sung,
    tone,
    triad,
)
from components.demo.song import RATE, Song

CROSSOVER = 0.1
"""Share of the songs that take one of their layers from another genre."""


# --- Rhythms ---


def four_on_the_floor(song: Song, rng: Generator) -> Sound:
    """Plays a kick on every beat, an open hat between them."""
    return drummed(
        song,
        hits(song, rng, kick(song), range(4)),
        hits(song, rng, 0.6 * hat(song, rng, 0.09), eighths()[1::2], chance=0.95),
        hits(song, rng, clap(rng), (1, 3), chance=float(rng.random() < 0.6)),
        hits(song, rng, 0.4 * hat(song, rng, 0.03), eighths(step=0.25), chance=song.density),
    )


def breakbeat(song: Song, rng: Generator) -> Sound:
    """Plays a swung, syncopated kick against a snare on two and four."""
    swing = rng.uniform(0.15, 0.34)
    kicks = any_of(rng, (0, 1.75, 2.5), (0, 0.75, 2.5), (0, 1.5, 2.25, 3.75), (0, 2.5, 2.75))
    return drummed(
        song,
        hits(song, rng, kick(song), kicks, chance=0.95),
        hits(song, rng, any_of(rng, snare(song, rng), clap(rng)), (1, 3)),
        hits(song, rng, 0.3 * snare(song, rng), (1.75, 3.25 + swing / 4), chance=0.3 * song.density),
        hits(song, rng, 0.5 * hat(song, rng), eighths(swing), chance=0.6 + 0.4 * song.density),
    )


def rock_beat(song: Song, rng: Generator) -> Sound:
    """Plays a loud backbeat under straight eighths, with a fill now and then."""
    kicks = any_of(rng, (0, 2), (0, 2, 2.5), (0, 0.5, 2), (0, 1.5, 2))
    ride = hat(song, rng, any_of(rng, 0.05, 0.16))
    fill = float(rng.random() < 0.5) * song.density
    return drummed(
        song,
        hits(song, rng, kick(song), kicks),
        hits(song, rng, 1.2 * snare(song, rng), (1, 3)),
        hits(song, rng, 0.6 * ride, eighths(), chance=0.97),
        hits(song, rng, 0.7 * snare(song, rng), (7, 7.25, 7.5, 7.75), bar=8, chance=fill),
        hits(song, rng, 0.7 * hat(song, rng, 0.4), (0,), bar=8, chance=0.6),
    )


def pop_beat(song: Song, rng: Generator) -> Sound:
    """Plays a light kick, claps on two and four, a shaker in sixteenths."""
    kicks = any_of(rng, (0, 2), (0, 1.5, 2), (0, 1, 2, 3), (0, 2, 3.5))
    return drummed(
        song,
        hits(song, rng, 0.8 * kick(song), kicks),
        hits(song, rng, clap(rng), (1, 3)),
        hits(song, rng, 0.5 * shaker(rng), eighths(step=0.25), chance=0.5 + 0.4 * song.density),
        hits(song, rng, 0.3 * hat(song, rng), eighths()[1::2], chance=0.7),
    )


def light_percussion(song: Song, rng: Generator) -> Sound:
    """Plays nothing or, less often, a foot on the floor or a shaker."""
    if rng.random() < 0.6:
        return np.zeros(song.samples)
    foot, box = 0.7 * hand_drum(song, rng, high=False), 0.5 * shaker(rng)
    return drummed(
        song,
        hits(song, rng, foot, (0, 2), chance=float(rng.random() < 0.7)),
        hits(song, rng, box, eighths(step=any_of(rng, 0.5, 1.0)), chance=0.8),
    )


def additive_metre(song: Song, rng: Generator) -> Sound:
    """Plays hand drums in bars of unequal beats, such as 2+2+3 eighths: low on the groups, high between."""
    groups = any_of(rng, (2, 2, 3), (3, 2, 2), (3, 3, 2), (2, 3), (3, 2, 2, 2), (3, 3, 2, 2))
    lows = [sum(groups[:i]) / 2 for i in range(len(groups))]
    bar = sum(groups) / 2
    highs = [beat for beat in np.arange(0, bar, 0.5) if beat not in lows]
    low, high = hand_drum(song, rng, high=False), hand_drum(song, rng, high=True)
    return drummed(
        song,
        hits(song, rng, low, lows, bar, chance=0.95),
        hits(song, rng, 0.7 * high, highs, bar, chance=0.55 + 0.4 * song.density),
        hits(song, rng, 0.35 * high, [beat + 0.25 for beat in highs], bar, chance=0.4 * song.density),
    )


def scattered(song: Song, rng: Generator) -> Sound:
    """Plays clicks, thuds and bursts at no regular time."""
    seconds = song.samples / RATE
    count = int(rng.poisson(seconds * (0.8 + 5 * song.density)))
    palette = (
        lambda: kick(song),
        lambda: hand_drum(song, rng, high=bool(rng.integers(2))),
        lambda: hat(song, rng, rng.uniform(0.01, 0.3)),
        lambda: hat(song, rng, rng.uniform(0.02, 0.2))[::-1],
        lambda: bell(rng.uniform(100, 3000), rng.uniform(0.05, 0.6), rng.uniform(0.3, 3.7), rng.uniform(1, 9)),
    )
    return place(
        song.samples, ((rng.uniform(0, seconds), rng.uniform(0.2, 1) * any_of(rng, *palette)()) for _ in range(count))
    )


# --- Harmonies ---


def held_chords(song: Song, timbre: Timbre, octave: int, cutoff: float = 9000.0, length: float = 4.0) -> Sound:
    """Plays the chord of each bar, held for `length` beats."""
    return place(
        song.samples,
        (
            (song.at(start), tone(song.hertz(degree, octave), 1.02 * length * song.beat, timbre, cutoff))
            for start, root in song.bars()
            for degree in triad(root)
        ),
    )


def pumping_chords(song: Song, rng: Generator) -> Sound:
    """Plays a pad and an off-beat bass that duck under every kick (sidechain compression)."""
    pad = held_chords(song, played_by(song, any_of(rng, SAW, SAW, SQUARE, STRINGS), rng), 0, rng.uniform(800, 4000))
    beats = any_of(rng, eighths()[1::2], eighths(step=0.25), eighths())
    bass = bass_line(song, rng, beats, played_by(song, any_of(rng, SAW, SQUARE), rng), rng.uniform(200, 900))
    since_kick = (np.arange(song.samples) / RATE / song.beat + song.upbeat) % 1.0
    return (rng.uniform(0.3, 0.7) * pad + 1.5 * bass) * (1.0 - rng.uniform(0.5, 0.95) * np.exp(-since_kick / 0.22))


def stabs_over_sub(song: Song, rng: Generator) -> Sound:
    """Plays one chord of a dusty record, struck now and then, over a sliding sub bass."""
    timbre = replace(played_by(song, any_of(rng, EPIANO, STRINGS, BRASS, PIANO, ORGAN), rng), attack=0.005, decay=5.0)
    cutoff = rng.uniform(1000, 4000)
    beats = any_of(rng, (0.5,), (0, 2.5), (1.5, 3.5), (0, 0.75), (0,))
    chops = place(
        song.samples,
        (
            (song.at(start + beat), tone(song.hertz(degree), rng.uniform(0.3, 0.6), timbre, cutoff))
            for start, root in song.bars()
            for beat in beats
            for degree in (*triad(root), root + 6)
        ),
    )
    sub_beats = any_of(rng, (0, 2.5), (0, 1.75), (0, 0.75, 2.5), (0,))
    sub = place(
        song.samples,
        (
            (song.at(start + beat), tone(song.hertz(root, -2), 1.2 * song.beat, Timbre(3.0, decay=1.5), slide=3.0))
            for start, root in song.bars()
            for beat in sub_beats
        ),
    )
    crackle = rng.standard_normal(song.samples) * (rng.random(song.samples) < 0.0008) * any_of(rng, 0, 0, 3)
    return chops + 2.0 * sub + crackle


def power_chords(song: Song, rng: Generator) -> Sound:
    """Plays root, fifth and octave of a guitar through an overdriven amplifier, in driving eighths."""
    drive = np.exp(rng.uniform(np.log(1.5), np.log(9)))
    timbre = replace(played_by(song, SAW, rng), decay=rng.uniform(0.5, 2))
    beats = any_of(rng, eighths(), (0, 1.5, 2, 3.5), (0, 2), (0, 0.5, 1, 2, 2.5, 3), (0, 1, 2, 3))
    lengths = np.diff([*beats, 4.0]) * rng.uniform(0.5, 1.0)
    guitar = place(
        song.samples,
        (
            (song.at(start + beat), tone(song.hertz(root, -1) * ratio, length * song.beat, timbre))
            for start, root in song.bars()
            for beat, length in zip(beats, lengths, strict=True)
            for ratio in (1.0, 1.5, 2.0)
        ),
    )
    bass = bass_line(song, rng, beats, played_by(song, SAW, rng), 500)
    return 1.4 * overdrive(guitar, drive) + 0.7 * bass


def pop_chords(song: Song, rng: Generator) -> Sound:
    """Plays full, clean chords, held or repeated, and a plain bass."""
    timbre = played_by(song, any_of(rng, PIANO, EPIANO, STRINGS, SAW, ORGAN), rng)
    repeat = any_of(rng, 4.0, 2.0, 1.0, 0.5)
    chords = place(
        song.samples,
        (
            (song.at(start + beat), tone(song.hertz(degree), repeat * song.beat, timbre, 5000))
            for start, root in song.bars()
            for beat in np.arange(0, 4, repeat)
            for degree in triad(root)
        ),
    )
    beats = any_of(rng, (0, 2), (0, 1.5, 2, 3.5), eighths())
    return chords + 1.3 * bass_line(song, rng, beats, played_by(song, any_of(rng, SINE, SAW, EPIANO), rng), 700)


def fingerpicking(song: Song, rng: Generator) -> Sound:
    """Plays a plucked guitar: an alternating bass on the beat, the upper strings between."""
    softness = rng.uniform(0.1, 1.0)
    step = any_of(rng, 0.5, 0.5, 0.25)
    order = rng.permutation([0, 2, 4, 7, 4, 2])

    def events() -> Events:
        for start, root in song.bars():
            for beat, degree in zip(range(4), (root, root + 4, root, root + 4), strict=True):
                yield song.at(start + beat), pluck(song.hertz(degree, -1), 1.2, rng, softness)
            for i, between in enumerate(np.arange(step, 4, step)):
                if rng.random() < 0.55 + 0.4 * song.density:
                    string = root + int(order[i % len(order)])
                    yield (
                        song.at(start + between) + rng.normal(0, 0.006),
                        0.8 * pluck(song.hertz(string), 0.9, rng, softness),
                    )

    return place(song.samples, events())


def sustained_harmony(song: Song, rng: Generator) -> Sound:
    """Plays slow chords of strings, organ or piano, sometimes broken."""
    timbre = played_by(song, any_of(rng, STRINGS, STRINGS, PIANO, FLUTE, ORGAN), rng)
    chords = held_chords(song, replace(timbre, decay=min(timbre.decay, 0.8)), any_of(rng, 0, -1))
    if rng.random() < 0.5:
        return chords
    step, keys = any_of(rng, 0.5, 1.0), played_by(song, any_of(rng, PIANO, EPIANO, BELL), rng)
    broken = place(
        song.samples,
        (
            (song.at(start + beat), tone(song.hertz(root + (0, 2, 4, 2)[i % 4]), 2 * song.beat, keys))
            for start, root in song.bars()
            for i, beat in enumerate(np.arange(0, 4, step))
        ),
    )
    return rng.uniform(0.4, 1) * chords + broken


def drone(song: Song, rng: Generator) -> Sound:
    """Plays tonic and fifth without change, on reeds or plucked strings."""
    seconds = song.samples / RATE
    timbre = replace(played_by(song, any_of(rng, REED, ORGAN, STRINGS), rng), attack=0.3, vibrato=0.0)
    held = reduce(np.add, (tone(song.hertz(0, -1) * ratio, seconds, timbre) for ratio in (1.0, 1.003, 1.5, 2.0)))
    if rng.random() < 0.4:
        return held
    beats, softness = any_of(rng, (0, 1, 2, 3), (0, 1.5, 3), (0, 2)), rng.uniform(0, 0.8)
    degrees = any_of(rng, (0, 0, 0, 0), (4, 0, 0, 0))
    strings = place(
        song.samples,
        (
            (song.at(start + beat), 2.5 * pluck(song.hertz(degrees[i], -1), 1.5, rng, softness))
            for start, _ in song.bars()
            for i, beat in enumerate(beats)
        ),
    )
    return rng.uniform(0.1, 0.6) * held + strings


def inharmonic_cloud(song: Song, rng: Generator) -> Sound:
    """Plays grains of noise and of frequency modulation, and long tones that belong to no chord."""
    seconds = song.samples / RATE
    hertz = song.hertz(0)

    def events() -> Events:
        for _ in range(int(rng.integers(2, 6))):
            yield (
                rng.uniform(-1, 0.7 * seconds),
                2 * bell(hertz * rng.uniform(0.3, 4), rng.uniform(1, 4), rng.uniform(0.2, 2.9), rng.uniform(0.5, 8)),
            )
        for _ in range(int(60 * song.density)):
            grain = np.hanning(int(rng.integers(300, 2500)))
            source = rng.standard_normal(len(grain))
            if rng.random() < 0.6:
                source = np.sin(2 * np.pi * hertz * rng.uniform(0.5, 9) * np.arange(len(grain)) / RATE)
            yield rng.uniform(0, seconds), rng.uniform(0.1, 1) * grain * source

    return place(song.samples, events())


# --- Melodies ---


def arpeggio(song: Song, rng: Generator) -> Sound:
    """Plays a sequencer in sixteenths through a filter that opens and closes."""
    timbre = replace(played_by(song, any_of(rng, SAW, SQUARE, SAW), rng), attack=0.004, decay=rng.uniform(2, 9))
    steps = rng.permutation([0, 2, 4, 7, 9, 11])[: rng.integers(3, 7)]
    step, period = any_of(rng, 0.25, 0.25, 0.5), rng.uniform(6, 16)
    low, high = rng.uniform(300, 900), rng.uniform(2500, 7000)

    def events() -> Events:
        for i, beat in enumerate(np.arange(0, song.beats, step)):
            opening = 0.5 - 0.5 * np.cos(2 * np.pi * beat / period)
            root = song.chords[int(beat // 4) % len(song.chords)]
            if rng.random() < 0.75 + 0.25 * song.density:
                yield (
                    song.at(beat),
                    tone(
                        song.hertz(root + int(steps[i % len(steps)])),
                        1.3 * step * song.beat,
                        timbre,
                        low * (high / low) ** opening,
                    ),
                )

    return place(song.samples, events())


def spoken(song: Song, rng: Generator) -> Sound:
    """Plays syllables in free sixteenths on nearly one pitch, or a sparse hook."""
    if rng.random() < 0.35:
        timbre = played_by(song, any_of(rng, BELL, FLUTE, EPIANO, SQUARE), rng)
        return sung(song, phrase(song, rng, (0.5, 1.0, 0.75), rest=0.45), timbre, 0)

    def events() -> Events:
        for beat in np.arange(0, song.beats, 0.25):
            if rng.random() < 0.45 + 0.35 * song.density:
                timbre = replace(VOICE, formants=any_of(rng, *VOWELS), attack=0.015, vibrato=0.0, decay=4.0)
                yield (
                    song.at(beat),
                    tone(song.hertz(0, -1) * 2 ** rng.normal(0, 0.1), 0.22 * song.beat + 0.05, timbre, slide=-1.5),
                )
                yield song.at(beat) - 0.03, 0.5 * shaker(rng)

    return place(song.samples, events())


def lead_guitar(song: Song, rng: Generator) -> Sound:
    """Plays bent notes through the same amplifier, or a strained voice."""
    if rng.random() < 0.4:
        timbre = replace(played_by(song, VOICE, rng), slope=0.7)
        return sung(song, phrase(song, rng, (0.5, 0.5, 1.0, 1.5), rest=0.25), timbre, 0, slide=-1.0)
    notes = phrase(song, rng, any_of(rng, (0.25, 0.5), (0.5, 1.0)), rest=0.15, leap=3)
    return overdrive(sung(song, notes, replace(SAW, vibrato=18), 0, slide=-2.0), rng.uniform(2, 8))


def vocal_line(song: Song, rng: Generator) -> Sound:
    """Plays a tune with vibrato, in short notes and longer ones."""
    timbre = played_by(song, any_of(rng, VOICE, VOICE, replace(SQUARE, vibrato=30), replace(SAW, vibrato=30)), rng)
    return sung(song, phrase(song, rng, (0.5, 0.5, 1.0, 1.5), rest=0.15), timbre, any_of(rng, 0, 1), slide=-0.5)


def folk_tune(song: Song, rng: Generator) -> Sound:
    """Plays a fiddle, a whistle or a voice in even notes; sometimes the guitar is alone."""
    if rng.random() < 0.3:
        return np.zeros(song.samples)
    timbre = played_by(song, any_of(rng, FIDDLE, FLUTE, replace(VOICE, vibrato=10)), rng)
    return sung(song, phrase(song, rng, any_of(rng, (0.5,), (0.5, 1.0), (1.0,)), rest=0.12), timbre, any_of(rng, 0, 1))


def slow_tune(song: Song, rng: Generator) -> Sound:
    """Plays long notes of a solo instrument."""
    timbre = played_by(song, any_of(rng, PIANO, PIANO, FIDDLE, STRINGS, FLUTE), rng)
    notes = phrase(song, rng, (1.0, 2.0, 3.0), rest=0.1)
    return sung(song, notes, replace(timbre, decay=min(timbre.decay, 1.2)), any_of(rng, 0, 1))


def ornamented_tune(song: Song, rng: Generator) -> Sound:
    """Plays short notes of a reed, a flute or a lute, approached from the neighbouring degree."""
    notes = [*phrase(song, rng, any_of(rng, (0.25, 0.5), (0.5, 0.5, 1.0), (0.25, 0.5, 1.5)), rest=0.12, leap=1)]
    if rng.random() < 0.4:
        softness = rng.uniform(0, 0.6)
        return place(
            song.samples,
            (
                (song.at(beat + i * 0.25), pluck(song.hertz(degree), 0.5, rng, softness))
                for beat, length, degree in notes
                for i in range(round(length / 0.25) if rng.random() < 0.4 else 1)
            ),
        )
    timbre = played_by(song, any_of(rng, REED, REED, FLUTE, FIDDLE), rng)
    graces = [(beat - 0.12, 0.14, degree + 1) for beat, _, degree in notes if rng.random() < 0.5]
    return sung(song, [*notes, *graces], timbre, 0, slide=rng.uniform(-2, 0))


def glissandi(song: Song, rng: Generator) -> Sound:
    """Plays lines that rise and fall without settling on a degree."""
    seconds = song.samples / RATE

    def events() -> Events:
        for _ in range(1 + int(5 * song.density)):
            samples = round(rng.uniform(0.4, 3) * RATE)
            start, end = song.hertz(0) * 2 ** rng.uniform(-1, 3, 2)
            phase = np.cumsum(np.geomspace(start, end, samples)) / RATE
            ring = np.sin(2 * np.pi * rng.uniform(2, 400) * np.arange(samples) / RATE)
            yield rng.uniform(-0.5, 0.9 * seconds), np.sin(2 * np.pi * phase) * ring * envelope(samples, 0.05, 0.0, 0.2)

    return place(song.samples, events())


# --- Genres ---

MAJOR = (0, 2, 4, 5, 7, 9, 11)
MINOR = (0, 2, 3, 5, 7, 8, 10)
DORIAN = (0, 2, 3, 5, 7, 9, 10)
MIXOLYDIAN = (0, 2, 4, 5, 7, 9, 10)
PHRYGIAN_DOMINANT = (0, 1, 4, 5, 7, 8, 10)
DOUBLE_HARMONIC = (0, 1, 4, 5, 7, 8, 11)
HIRAJOSHI = (0, 2, 3, 7, 8)
SLENDRO_LIKE = (0, 2, 5, 7, 10)
WHOLE_TONE = (0, 2, 4, 6, 8, 10)
CHROMATIC = tuple(range(12))

Layer = Callable[[Song, Generator], Sound]


@dataclass(frozen=True)
class Recipe:
    """Scales and layers of a genre."""

    scales: tuple[tuple[int, ...], ...]
    rhythm: Layer
    harmony: Layer
    melody: Layer


RECIPES: dict[str, Recipe] = {
    "Electronic": Recipe((MINOR, DORIAN, MAJOR), four_on_the_floor, pumping_chords, arpeggio),
    "Experimental": Recipe((CHROMATIC, WHOLE_TONE, MINOR), scattered, inharmonic_cloud, glissandi),
    "Folk": Recipe((MAJOR, MIXOLYDIAN, DORIAN), light_percussion, fingerpicking, folk_tune),
    "Hip-Hop": Recipe((MINOR, DORIAN), breakbeat, stabs_over_sub, spoken),
    "Instrumental": Recipe((MAJOR, MINOR, DORIAN), light_percussion, sustained_harmony, slow_tune),
    "International": Recipe(
        (PHRYGIAN_DOMINANT, DOUBLE_HARMONIC, HIRAJOSHI, SLENDRO_LIKE), additive_metre, drone, ornamented_tune
    ),
    "Pop": Recipe((MAJOR, MINOR), pop_beat, pop_chords, vocal_line),
    "Rock": Recipe((MINOR, MIXOLYDIAN, MAJOR), rock_beat, power_chords, lead_guitar),
}
"""The genres of FMA-small, in alphabetical order."""


def crossed_over(recipe: Recipe, rng: Generator) -> Recipe:
    """Returns `recipe`; in a share `CROSSOVER` of the songs, with one layer of another genre."""
    guest, layer = any_of(rng, *RECIPES.values()), any_of(rng, "rhythm", "harmony", "melody")
    return replace(recipe, **{layer: getattr(guest, layer)}) if rng.random() < CROSSOVER else recipe
