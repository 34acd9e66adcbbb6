"""Clips that a reader can hear: which ones, and what a player shows of each. Pure functions."""

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from components.evaluation.predictions import Prediction
from components.reporting.charts import Frame, Tick, linear, tick_values, ticks
from components.reporting.spectrograms import SpectrogramScale, picture

MOST_PLAYERS = 80
"""Clips with sound; a report has fewer where they would make it too large."""
FIRST_MISTAKES = 25
"""Mistakes that go before the right clips of the genres."""
HEARD_SECONDS = 10.0
"""Of a clip, from its middle."""
_COLUMNS, _ROWS = 240, 48
"""Pixels of a picture at most."""
_TOP = 3
_LEFT, _RIGHT, _STRIP = 118, 470, 22
"""Places of the time axis, and height of the row of a genre."""


@dataclass(frozen=True)
class Window:
    """What the model says about a part of a clip."""

    start: float
    """Seconds in the clip."""
    end: float
    probabilities: Mapping[str, float]
    """By genre."""


@dataclass(frozen=True)
class Heard:
    """A clip as the model hears it, and as a person does."""

    log_mel: NDArray[np.floating]
    """[frames, mels], dB from -80 to 0."""
    seconds: float
    """Length of the clip."""
    sound: bytes
    """Opus in WebM: up to HEARD_SECONDS from the middle of the clip."""
    windows: tuple[Window, ...]
    """Those with sound; empty where the model answers only whole clips."""

    def without_windows(self) -> "Heard":
        """Returns the clip without what the model says about it."""
        return replace(self, windows=())

    def mean(self) -> dict[str, float]:
        """Returns the mean of the windows, which is what the model says about the whole clip; empty without windows."""
        genres = self.windows[0].probabilities if self.windows else ()
        return {genre: sum(each.probabilities[genre] for each in self.windows) / len(self.windows) for genre in genres}


@dataclass(frozen=True)
class Row:
    """What the model says about one genre over the time of a clip."""

    genre: str
    name: str
    """The genre, as far as there is room for it."""
    top: float
    probability: float
    """Of the whole clip."""
    true: bool
    bars: tuple[tuple[float, float, float, str], ...]
    """x, width, height, and label."""


@dataclass(frozen=True)
class Player:
    """The sound and the picture of a clip."""

    frame: Frame
    sound: str
    """Data URI."""
    image: str
    starts: float
    """Second of the clip at which the sound begins."""
    seconds: float
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    picture_bottom: int
    rows: tuple[Row, ...]


def clips_to_hear(rows: Sequence[Prediction], genres: Sequence[str], others: Iterable[str] = ()) -> list[str]:
    """Chooses clips by track id: mistakes, the most confident first, a right clip of every genre, and `others`."""
    mistakes = [row.track_id for row in most_confident(rows) if not row.correct]
    right: dict[str, str] = {}
    for row in most_confident(rows):
        if row.correct:
            right.setdefault(row.genre, row.track_id)
    chosen = (
        *mistakes[:FIRST_MISTAKES],
        *(right[genre] for genre in genres if genre in right),
        *others,
        *mistakes[FIRST_MISTAKES:],
    )
    return list(dict.fromkeys(chosen))[:MOST_PLAYERS]


def most_confident(rows: Iterable[Prediction]) -> list[Prediction]:
    """Sorts predictions by the probability of the predicted genre, the highest first."""
    return sorted(rows, key=lambda row: (-row.probabilities[row.predicted], row.track_id))


def excerpt_start(seconds: float) -> float:
    """Returns the second of a clip at which the part that is heard begins."""
    return max(0.0, (seconds - HEARD_SECONDS) / 2.0)


def player(heard: Heard, probabilities: Mapping[str, float], genre: str, scale: SpectrogramScale) -> Player:
    """Lays out a clip: its spectrogram, and below it the most probable genres and the true one over time.

    Args:
      heard: the clip.
      probabilities: of the whole clip, by genre.
      genre: the true one; empty if it is not known.
      scale: of the spectrogram.
    """
    shown = sorted(probabilities, key=lambda each: -probabilities[each])[:_TOP]
    if genre in probabilities and genre not in shown:
        shown.append(genre)
    top, bottom = 6, 96
    axis = bottom + 6 + _STRIP * len(shown)
    frame = Frame(width=520, height=axis + 22, left=_LEFT, right=_RIGHT, top=top, bottom=axis)
    to_x = linear(0.0, heard.seconds, _LEFT, _RIGHT)
    windows = heard.windows or (Window(0.0, heard.seconds, probabilities),)
    rows = []
    for index, each in enumerate(shown):
        bars = []
        for at, window in enumerate(windows):
            # Windows may overlap: each is drawn up to the next one.
            end = windows[at + 1].start if at + 1 < len(windows) else window.end
            p = window.probabilities[each]
            label = f"{each}, {window.start:.1f} to {window.end:.1f} s: {100 * p:.0f} %"
            width = round(max(to_x(max(end, window.start)) - to_x(window.start) - 1.0, 0.5), 1)
            bars.append((to_x(window.start), width, round(p * (_STRIP - 6), 1), label))
        name = each if len(each) <= 14 else f"{each[:13]}…"
        rows.append(Row(each, name, bottom + 6 + _STRIP * index, probabilities[each], each == genre, tuple(bars)))
    return Player(
        frame=frame,
        sound="data:audio/webm;base64," + base64.b64encode(heard.sound).decode("ascii"),
        image=picture(heard.log_mel, _COLUMNS, _ROWS),
        starts=excerpt_start(heard.seconds),
        seconds=heard.seconds,
        x_ticks=ticks(tick_values(0.0, heard.seconds), 0.0, heard.seconds, to_x),
        y_ticks=scale.ticks(heard.log_mel.shape[1], bottom, top),
        picture_bottom=bottom,
        rows=tuple(rows),
    )
