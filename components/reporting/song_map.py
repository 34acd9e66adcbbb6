"""A map of clips: those that a model finds alike lie close together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.evaluation.predictions import Prediction
from components.reporting.charts import Frame, linear

MAP = Frame(width=720, height=460, left=16, right=704, top=16, bottom=444)
SHAPES = (
    "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0",
    "M-4.5-4.5h9v9h-9z",
    "M0-6L6 5H-6z",
    "M-6 0L0-6L6 0L0 6z",
    "M-6-5H6L0 6z",
)
"""SVG paths around 0: with the colours, they tell genres apart."""
COLOURS = 8
"""That `page.css` has, as `.c0` and so on."""


@dataclass(frozen=True)
class Place:
    """A clip on the map."""

    x: float
    y: float
    genre: int
    prediction: Prediction


@dataclass(frozen=True)
class SongMap:
    """The clips, and the share of their variance that the two directions of the map hold."""

    frame: Frame
    places: tuple[Place, ...]
    share: float


def song_map(
    genres: Sequence[str], rows: Sequence[Prediction], embeddings: Mapping[str, NDArray[np.floating]]
) -> SongMap | None:
    """Lays clips out along the two directions in which their embeddings differ most (principal components).

    Args:
      genres: in order.
      rows: predictions of the clips.
      embeddings: [E] each, by track id; clips without are left out.

    Returns:
      None where fewer than three clips are known, or all are alike.
    """
    known = [row for row in rows if row.track_id in embeddings]
    if len(known) < 3:
        return None
    values = np.stack([embeddings[row.track_id] for row in known]).astype(np.float64)  # [n, E]
    deviation = values.std(axis=0)
    values = (values - values.mean(axis=0))[:, deviation > 0] / deviation[deviation > 0]
    if values.shape[1] < 2:
        return None
    left, strengths, right = np.linalg.svd(values, full_matrices=False)
    # The sign of a component means nothing: the largest weight is made positive, so that the map is always the same.
    signs = np.sign(right[np.arange(2), np.abs(right[:2]).argmax(axis=1)])
    points = left[:, :2] * strengths[:2] * signs
    to_x, to_y = (
        linear(float(axis.min()), float(axis.max()), start, stop)
        for axis, start, stop in ((points[:, 0], MAP.left, MAP.right), (points[:, 1], MAP.bottom, MAP.top))
    )
    return SongMap(
        frame=MAP,
        places=tuple(
            Place(to_x(float(x)), to_y(float(y)), genres.index(row.genre), row)
            for row, (x, y) in zip(known, points, strict=True)
        ),
        share=float((strengths[:2] ** 2).sum() / (strengths**2).sum()),
    )
