"""A picture of a song: its spectrogram, and the genres over time beneath."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from etils import epath
from matplotlib.figure import Figure

from components.audio.config import AudioConfig
from components.base.files import replacing
from components.base.text import one_line
from components.store.answers import Segment, SongGenres
from pipeline.predicting.picture import BANDS, band_of, draw

if TYPE_CHECKING:
    from components.store.predictor import Song

MOST_GENRES = 8
"""Genres that are shown: those that are the most probable anywhere in the song."""


def draw_timeline(song: "Song", name: str, answer: SongGenres, audio: AudioConfig, picture: Path) -> None:
    """Draws a song whose segments are known, as PNG.

    Args:
      song: is decoded once more, piece by piece.
      name: what it is called in the picture.
      answer: with at least one segment.
      audio: the rate at which the model hears it.

    Raises:
      AudioError, OSError: the song cannot be read any more, or the picture cannot be written.
    """
    drawn, segments = draw(song, audio), answer.segments
    figure = Figure(figsize=(12.0, 5.0 + 0.2 * min(MOST_GENRES, len(answer.probabilities))), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    best = ", ".join(f"{genre} {share:.0%}" for genre, share in itertools.islice(answer.probabilities.items(), 3))
    above.set_title(f"{one_line(name)}: {one_line(best) or 'silent'}", parse_math=False, loc="left")
    extent = (0.0, drawn.seconds, -0.5, BANDS - 0.5)
    above.imshow(drawn.mel.T, origin="lower", extent=extent, aspect="auto", cmap="magma", vmin=0, vmax=255)
    ticks = [hz for hz in (250, 500, 1000, 2000, 4000, 8000, 16000) if hz <= audio.sample_rate / 2]
    above.set_yticks(band_of(ticks, audio.sample_rate), [f"{hz / 1000:g}" for hz in ticks])
    above.set_ylim(-0.5, BANDS - 0.5)
    above.set_ylabel("kHz")

    genres = _shown(segments)
    shown = [[segment.probabilities.get(genre, np.nan) for genre in genres] for segment in segments]
    none = [np.nan] * len(genres)  # between a segment and the next: of no length where they follow each other
    shares = [row for each in shown for row in (each, none)][:-1]
    below.set_facecolor("lightgrey")
    bands = below.pcolormesh(
        np.ravel(_stretches(segments)),
        np.arange(len(genres) + 1),
        np.reshape(shares, (len(shares), len(genres))).T,
        cmap="Blues",
        vmin=0.0,
        vmax=1.0,
    )
    below.set_yticks(np.arange(len(genres)) + 0.5, [one_line(genre) for genre in genres])
    for label in below.get_yticklabels():
        label.set_parse_math(False)
    below.invert_yaxis()
    below.set_xlim(0.0, drawn.seconds)
    below.xaxis.set_major_formatter(lambda time, _: f"{int(time) // 60}:{time % 60:04.1f}".removesuffix(".0"))
    below.set_xlabel("minutes and seconds; grey: silent, or not asked")
    figure.colorbar(bands, ax=below, label="probability", pad=0.01)
    with replacing(epath.Path(picture)) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _stretches(segments: Sequence[Segment]) -> list[tuple[float, float]]:
    """Returns from when to when each segment is shown: of two that overlap, up to the middle between their middles."""
    stretches = [(segment.start, segment.end) for segment in segments]
    for number, (before, after) in enumerate(itertools.pairwise(segments)):
        if after.start < before.end:
            between = (before.start + before.end + after.start + after.end) / 4.0
            stretches[number] = stretches[number][0], between
            stretches[number + 1] = between, stretches[number + 1][1]
    return stretches


def _shown(segments: Sequence[Segment]) -> list[str]:
    """Returns the genres to show, those that lead first."""
    highest: dict[str, float] = {}
    for segment in segments:
        for genre, share in segment.probabilities.items():
            highest[genre] = max(share, highest.get(genre, 0.0))
    return sorted(highest, key=lambda genre: -highest[genre])[:MOST_GENRES]
