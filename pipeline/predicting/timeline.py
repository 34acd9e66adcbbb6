"""A picture of a song: its spectrogram, and the genres over time beneath."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from etils import epath
from matplotlib.figure import Figure
from matplotlib.mlab import specgram
from numpy.typing import NDArray

from components.audio.config import AudioConfig
from components.audio.decoding import clips_at
from components.base.files import replacing
from components.base.text import one_line
from components.store.answers import Segment, SongGenres

if TYPE_CHECKING:
    from components.store.predictor import Song

MOST_GENRES = 8
"""Genres that are shown: those that are the most probable anywhere in the song."""
_COLUMNS = 1600
_FRAME, _OVERLAP = 1024, 512
"""Of the spectrogram, in samples."""
_PIECE_SECONDS = 10.0
_RANGE_DB = 80.0
_LINEAR_HZ = 1000.0
"""Pitch is heard linearly below, and logarithmically above."""


def draw_timeline(song: "Song", name: str, answer: SongGenres, audio: AudioConfig, picture: Path) -> None:
    """Draws a song whose segments are known, as PNG.

    Args:
      song: is decoded once more, piece by piece.
      name: what it is called in the picture.
      answer: with at least one segment.
      audio: the rate at which the model hears it.

    Raises:
      OSError: the picture cannot be written.
    """
    segments, seconds = answer.segments, answer.segments[-1].end
    figure = Figure(figsize=(12.0, 5.0 + 0.2 * min(MOST_GENRES, len(answer.probabilities))), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    best = ", ".join(f"{genre} {share:.0%}" for genre, share in itertools.islice(answer.probabilities.items(), 3))
    above.set_title(f"{one_line(name)}: {one_line(best) or 'silent'}", parse_math=False, loc="left")
    levels, hertz = _levels(song, audio, seconds)
    times = np.linspace(0.0, seconds, levels.shape[1])
    above.pcolormesh(times, hertz, levels, cmap="magma", vmin=-_RANGE_DB, vmax=0.0, shading="nearest", rasterized=True)
    above.set_yscale("symlog", linthresh=_LINEAR_HZ)
    above.set_ylim(0.0, hertz[-1])
    ticks = [hz for hz in (250, 500, 1000, 2000, 4000, 8000, 16000) if hz <= hertz[-1]]
    above.set_yticks(ticks, [f"{hz / 1000:g}" for hz in ticks])
    above.minorticks_off()
    above.set_ylabel("kHz")

    genres = _shown(segments)
    shares = [[segment.probabilities.get(genre, np.nan) for segment in segments] for genre in genres]
    edges = [*(segment.start for segment in segments), seconds]
    below.set_facecolor("lightgrey")
    bands = below.pcolormesh(
        edges,
        np.arange(len(genres) + 1),
        np.reshape(shares, (len(genres), len(segments))),
        cmap="Blues",
        vmin=0.0,
        vmax=1.0,
    )
    below.set_yticks(np.arange(len(genres)) + 0.5, [one_line(genre) for genre in genres])
    for label in below.get_yticklabels():
        label.set_parse_math(False)
    below.invert_yaxis()
    below.set_xlim(0.0, seconds)
    below.xaxis.set_major_formatter(lambda time, _: f"{int(time) // 60}:{time % 60:04.1f}".removesuffix(".0"))
    below.set_xlabel("minutes and seconds; grey: silent")
    figure.colorbar(bands, ax=below, label="probability", pad=0.01)
    with replacing(epath.Path(picture)) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def _shown(segments: Sequence[Segment]) -> list[str]:
    """Returns the genres to show, those that lead first."""
    highest: dict[str, float] = {}
    for segment in segments:
        for genre, share in segment.probabilities.items():
            highest[genre] = max(share, highest.get(genre, 0.0))
    return sorted(highest, key=lambda genre: -highest[genre])[:MOST_GENRES]


def _levels(song: "Song", audio: AudioConfig, seconds: float) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Computes the spectrogram in at most about `_COLUMNS` columns.

    Returns:
      dB below the loudest point, [bins, columns]; and the frequencies of the bins, in Hz.
    """
    pieces = audio.model_copy(update={"clip_seconds": _PIECE_SECONDS})
    columns, hertz = [], np.zeros(0)
    for clip in clips_at(song, pieces, (number * _PIECE_SECONDS for number in itertools.count())):
        samples = clip.pcm[: max(_FRAME, round(clip.duration_seconds * audio.sample_rate))] / 32768.0
        power, hertz, _ = map(np.asarray, specgram(samples, _FRAME, audio.sample_rate, noverlap=_OVERLAP))
        wanted = max(1, min(power.shape[1], round(_COLUMNS * clip.duration_seconds / max(seconds, _PIECE_SECONDS))))
        columns += [block.max(axis=1) for block in np.array_split(power, wanted, axis=1)]
    levels = 10.0 * np.log10(np.maximum(np.stack(columns, axis=1), 1e-20))
    return np.maximum(levels - levels.max(), -_RANGE_DB), hertz
