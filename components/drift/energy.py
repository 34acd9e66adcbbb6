"""The energy distance of two sets of clips (Székely & Rizzo 2013, "Energy statistics"), and the scaling before it.

The distance is zero between equal distributions alone.
"""

import numpy as np
from numpy.typing import NDArray

from components.drift.permutations import Blocks

OUTLIER = 10.0
"""Largest distance from the median, in standard deviations: a single clip must not outweigh all others."""
_QUARTILES = 1.349
"""Between the quartiles of a normal distribution, in standard deviations."""
_ROUNDING = 1e-9


def standardise(values: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Scales columns to a median of 0 and a deviation of 1, which outliers hardly change.

    The deviation is that of a normal distribution with these quartiles. Where the quartiles coincide, as in a column
    that is mostly zero, it is the standard deviation.

    Args:
      values: [clips, columns] of both sides.

    Returns:
      The columns that are not constant, at most `OUTLIER` from 0; and a mask of these columns, [columns].
    """
    values = np.asarray(values, np.float64)
    low, median, high = np.percentile(values, [25.0, 50.0, 75.0], axis=0)
    spread = (high - low) / _QUARTILES
    magnitude = np.abs(values).max(axis=0)
    scale = np.where(spread > _ROUNDING * magnitude, spread, values.std(axis=0))
    kept = np.ptp(values, axis=0) > _ROUNDING * magnitude
    return np.clip((values - median)[:, kept] / scale[kept], -OUTLIER, OUTLIER), kept


def shifts(newest: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns how far the mean of each column moved, in deviations as of `standardise`: 0 for a constant column."""
    values, kept = standardise(np.concatenate([newest, reference]))
    moved = np.zeros(len(kept))
    moved[kept] = values[: len(newest)].mean(axis=0) - values[len(newest) :].mean(axis=0)
    return moved


def energy(values: NDArray[np.floating], blocks: Blocks) -> NDArray[np.float64]:
    """Returns the energy distance of the two sides, for every exchange of the blocks.

    Args:
      values: [clips, columns], the newest first.
      blocks: of the same clips.

    Returns:
      [permutations + 1]: mn / (m + n) (2 E|X - Y| - E|X - X'| - E|Y - Y'|) for m and n clips. Without the factor,
      which blocks of different sizes change from one permutation to the next, a small side would look far away.
    """
    squares = np.sum(values**2, axis=1)
    distances = np.sqrt(np.maximum(squares[:, np.newaxis] + squares - 2.0 * (values @ values.T), 0.0))
    np.fill_diagonal(distances, 0.0)  # which rounding may have missed
    membership = blocks.membership
    between = membership @ distances @ membership.T  # [blocks, blocks]: summed over the clips of both
    within_new = np.einsum("pb,pb->p", blocks.newest @ between, blocks.newest)
    across = blocks.newest @ between.sum(axis=1) - within_new
    within_old = between.sum() - 2.0 * across - within_new
    m = blocks.newest @ membership.sum(axis=1)
    n = len(values) - m
    return m * n / (m + n) * (2.0 * across / (m * n) - within_new / m**2 - within_old / n**2)
