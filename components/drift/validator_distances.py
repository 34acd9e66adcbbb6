"""The distances that TFX's DistributionValidator measures, for all permutations at once, and thresholds for them.

DistributionValidator compares a distance with a threshold that somebody must choose. Here the threshold is computed
from the clips themselves: the distances of both sides are measured again for every permutation of their groups, and at
most a given share of the permutations exceeds any of the thresholds.

The distances equal those of TensorFlow Data Validation (TFDV), its quirks included: each side's values first become a
histogram of ten buckets from the side's smallest to its largest value, by interpolation between 1,000 quantiles.
"""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from components.drift.permutations import Blocks

QUANTILES = 1000
"""Default of `tensorflow_data_validation.statistics.generators.basic_stats_generator`."""
BUCKETS = 10
_ROUNDING = 1e-9
"""Largest relative difference between this arithmetic and TFDV's."""


def _counts(values: NDArray, blocks: Blocks) -> tuple[NDArray, NDArray[np.int64], NDArray[np.int64]]:
    """Counts the clips of either side by value: the distinct values [V], and two counts [permutations + 1, V]."""
    distinct, which = np.unique(values, return_inverse=True)
    by_block = np.zeros((blocks.newest.shape[1], len(distinct)))
    np.add.at(by_block, (blocks.of_clip, which), 1.0)
    newest = np.rint(blocks.newest @ by_block).astype(np.int64)
    return distinct, newest, np.bincount(which) - newest


def l_infinity(values: NDArray[np.str_], blocks: Blocks) -> NDArray[np.float64]:
    """Returns the largest difference of any value's shares, [permutations + 1] in [0, 1].

    Args:
      values: [clips], the newest first.
      blocks: of the same clips.
    """
    _, newest, reference = _counts(values, blocks)
    shares = [counts / counts.sum(axis=1, keepdims=True) for counts in (newest, reference)]
    return np.abs(shares[0] - shares[1]).max(axis=1)


def jensen_shannon(values: NDArray[np.floating], blocks: Blocks) -> NDArray[np.float64]:
    """Returns the Jensen-Shannon divergence of the two sides' histograms in bits, [permutations + 1] in [0, 1].

    Args:
      values: [clips], finite, the newest first.
      blocks: of the same clips.
    """
    distinct, newest, reference = _counts(np.asarray(values, np.float64), blocks)
    sides = [_histogram(counts, distinct) for counts in (newest, reference)]
    bounds = np.sort(np.concatenate([edges for edges, _ in sides], axis=1), axis=1)
    p, q = (np.diff(_interpolated(bounds, *side), axis=1) for side in sides)
    middle = (p + q) / 2.0
    divergence = (_relative_entropy(p, middle) + _relative_entropy(q, middle)) / 2.0
    # A side whose values are all equal has a histogram without width, which overlaps with no other.
    low, high = (np.stack([edges[:, end] for edges, _ in sides]) for end in (0, -1))
    constant = low == high
    same = (low[0] == low[1]) & constant.all(axis=0)
    return np.where(constant.any(axis=0), np.where(same, 0.0, 1.0), np.minimum(divergence, 1.0))


def _histogram(counts: NDArray[np.int64], distinct: NDArray[np.float64]) -> tuple[NDArray, NDArray]:
    """Returns the edges of the buckets and the share of clips up to each, both [rows, BUCKETS + 1], as TFDV does.

    The quantiles that fall on one value take its weight in equal parts. The part of the first is spread over the
    interval from the value before; the others stay on the value.
    """
    total = counts.sum(axis=1, keepdims=True)
    upto = np.cumsum(counts, axis=1)
    # Quantile r of n clips is the clip of (0-based) rank floor(r n / QUANTILES). `below` counts those below a value.
    below = np.where(upto < total, -(-QUANTILES * upto // total), QUANTILES + 1)
    on = np.diff(below, axis=1, prepend=0)
    index = np.arange(len(distinct))
    last = np.maximum.accumulate(np.where(on > 0, index, -1), axis=1)  # the nearest value that has quantiles
    following = np.where(on > 0, index, len(distinct) - 1)
    following = np.minimum.accumulate(following[:, ::-1], axis=1)[:, ::-1]
    first = following[:, :1]

    low, high = distinct[first[:, 0]], distinct[last[:, -1]]
    width = np.where(high > low, high, low + 1.0)  # numpy rounds differently with width 0
    edges = np.linspace(low, width, BUCKETS + 1, axis=1)
    at = np.searchsorted(distinct, edges, side="right") - 1
    left = np.take_along_axis(last, at, axis=1)
    right = np.take_along_axis(following, np.minimum(at + 1, len(distinct) - 1), axis=1)
    mass_left, mass_right = (np.take_along_axis(upto, side, axis=1) for side in (left, right))
    gap = distinct[right] - distinct[left]
    part = np.where(gap > 0, (edges - distinct[left]) / np.where(gap > 0, gap, 1.0), 0.0)
    # Where the smallest value has only one quantile, its weight is spread over the interval to the next value.
    spreads = (left == first) & (np.take_along_axis(on, first, axis=1) == 1)
    quantiles = np.maximum(np.take_along_axis(on, right, axis=1), 1)
    mass = np.where(spreads, mass_left * part, mass_left) + (mass_right - mass_left) / quantiles * part
    mass[:, 0] = 0.0
    edges[:, -1] = high
    return edges, mass / total


def _interpolated(bounds: NDArray, edges: NDArray, mass: NDArray) -> NDArray[np.float64]:
    """Returns the share of the clips up to each of `bounds` [rows, n]."""
    low, high = edges[:, :1], edges[:, -1:]
    place = (bounds - low) / np.where(high > low, high - low, 1.0) * BUCKETS
    place = np.clip(place, 0.0, BUCKETS)
    bucket = np.minimum(place.astype(np.int64), BUCKETS - 1)
    start, end = (np.take_along_axis(mass, bucket + step, axis=1) for step in (0, 1))
    return start + (place - bucket) * (end - start)


def _relative_entropy(p: NDArray, q: NDArray) -> NDArray[np.float64]:
    both = (p > 0) & (q > 0)
    return np.sum(np.where(both, p * np.log2(np.where(both, p, 1.0) / np.where(both, q, 1.0)), 0.0), axis=1)


def calibrate(distances: Mapping[str, NDArray[np.float64]], rate: float) -> dict[str, float]:
    """Finds thresholds of all features, such that at most a share `rate` of the permutations exceeds any of them.

    Each distance is measured in standard deviations from its mean over the permutations, and in this unit the threshold
    is the same for all (Westfall & Young 1993, max-T). Ranks, as in min-P, would be too coarse: with a thousand
    permutations and many features, every feature is the largest in some permutation.

    Args:
      distances: by feature, [permutations + 1], as observed first.
      rate: in [0, 1].

    Returns:
      By feature; without those whose distance never changes.
    """
    varying = {name: values for name, values in distances.items() if np.ptp(values) > _ROUNDING}
    if not varying:
        return {}
    scaled = np.stack([(values - values.mean()) / values.std() for values in varying.values()])
    largest = np.sort(scaled.max(axis=0))[::-1]
    limit = largest[math.floor(rate * len(largest) + _ROUNDING)]
    return {name: float(values.mean() + limit * values.std()) * (1.0 + _ROUNDING) for name, values in varying.items()}
