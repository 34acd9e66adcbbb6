"""Whether the newest clips are still like those that the served model was measured on. No TensorFlow, no TFX.

Four families of figures are compared: audio health, descriptors, the model's predictions and its embeddings. The
statistic is the energy distance (Székely & Rizzo 2013, "Energy statistics"), which is zero between equal distributions
alone. How large it may get by chance is not guessed: the two sides are exchanged at random. Clips of one artist are
alike, so they move together, as a block; a permutation of single clips would take every new artist for drift.

All families see the same permutations, and their p-values are adjusted for the best of four by the distribution of the
smallest one (Westfall & Young 1993, min-P): however the families depend on one another, they raise a false alarm
together no more often than stated.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.base.section import Section
from components.drift.config import DriftConfig

NAMED_COLUMNS = 3
"""Columns that the words about a family name."""
OUTLIER = 10.0
"""Standard deviations beyond which a value counts as this far away: a single clip must not outweigh all others."""
_SEED = 0
"""Of the permutations: the same clips must give the same report."""
_QUARTILES = 1.349
"""Between the quartiles of a normal distribution, in standard deviations."""
_ROUNDING = 1e-9


class DriftReport(Section):
    """What was found, in figures and in words."""

    drifted: bool
    false_alarm_rate: float
    """Of everything that may set `drifted`."""
    p_value: float | None
    """The smallest of `p_values`; null: nothing was tested."""
    p_values: dict[str, float] = {}  # noqa: RUF012 (pydantic copies it)
    """By family, each adjusted for all of them: it drifted where that is at most half of `false_alarm_rate`."""
    findings: tuple[str, ...] = ()
    """What differs."""
    notes: tuple[str, ...] = ()
    """What does not, or why it was not tested."""
    newest_clips: int = 0
    reference_clips: int = 0


@dataclass(frozen=True)
class Family:
    """Figures of one kind, with a row per clip."""

    name: str
    columns: tuple[str, ...]
    newest: NDArray[np.floating]
    """[clips, columns]"""
    reference: NDArray[np.floating]
    """[other clips, columns]"""


@dataclass(frozen=True)
class Blocks:
    """The clips of both sides as blocks, one per group and side, and how the blocks might be dealt to the sides."""

    of_clip: NDArray[np.int64]
    """[clips]: the block of each clip, those of the newest first."""
    newest: NDArray[np.float64]
    """[permutations + 1, blocks]: 1 for blocks that are taken for the newest; first as they are, then at random."""

    @property
    def membership(self) -> NDArray[np.float64]:
        """[blocks, clips]: 1 where a clip is of a block."""
        return (np.arange(self.newest.shape[1])[:, np.newaxis] == self.of_clip).astype(np.float64)


def deal(newest_groups: Sequence[str], reference_groups: Sequence[str], permutations: int) -> Blocks:
    """The blocks of clips of these groups; always the same permutations of the same groups."""
    blocks = [np.unique(np.asarray(groups), return_inverse=True) for groups in (newest_groups, reference_groups)]
    (new_names, new_blocks), (old_names, old_blocks) = blocks
    observed = np.repeat([1.0, 0.0], [len(new_names), len(old_names)])
    generator = np.random.default_rng(_SEED)
    shuffled = generator.permuted(np.tile(observed, (permutations, 1)), axis=1)
    return Blocks(np.concatenate([new_blocks, len(new_names) + old_blocks]), np.vstack([observed, shuffled]))


def standardise(values: NDArray[np.floating]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Columns to a median of 0 and a deviation of 1, without much regard to outliers.

    The deviation is that of a normal distribution with these quartiles; where those coincide, as they do for what is
    mostly zero, the standard deviation.

    Args:
      values: [clips, columns] of both sides.

    Returns:
      Those columns that are not constant, at most `OUTLIER` from 0; and which they are, [columns].
    """
    values = np.asarray(values, np.float64)
    low, median, high = np.percentile(values, [25.0, 50.0, 75.0], axis=0)
    spread = (high - low) / _QUARTILES
    magnitude = np.abs(values).max(axis=0)
    scale = np.where(spread > _ROUNDING * magnitude, spread, values.std(axis=0))
    kept = np.ptp(values, axis=0) > _ROUNDING * magnitude
    return np.clip((values - median)[:, kept] / scale[kept], -OUTLIER, OUTLIER), kept


def energy(values: NDArray[np.floating], blocks: Blocks) -> NDArray[np.float64]:
    """Energy distance of the two sides, for every way in which the blocks are dealt.

    Args:
      values: [clips, columns], the newest first.

    Returns:
      [permutations + 1]: mn / (m + n) (2 E|X - Y| - E|X - X'| - E|Y - Y'|) for m and n clips. Without the factor,
      which blocks of different sizes change from one permutation to the next, a small side would look far away.
    """
    squares = np.sum(values**2, axis=1)
    distances = np.sqrt(np.maximum(squares[:, np.newaxis] + squares - 2.0 * (values @ values.T), 0.0))
    np.fill_diagonal(distances, 0.0)  # but for rounding
    membership = blocks.membership
    between = membership @ distances @ membership.T  # [blocks, blocks]: summed over the clips of both
    within_new = np.einsum("pb,pb->p", blocks.newest @ between, blocks.newest)
    across = blocks.newest @ between.sum(axis=1) - within_new
    within_old = between.sum() - 2.0 * across - within_new
    m = blocks.newest @ membership.sum(axis=1)
    n = len(values) - m
    return m * n / (m + n) * (2.0 * across / (m * n) - within_new / m**2 - within_old / n**2)


def adjusted_p_values(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """p-values of several tests, each adjusted for all of them by single-step min-P.

    Args:
      statistics: [tests, permutations + 1], as observed first; the larger, the less likely by chance.

    Returns:
      [tests], in steps of 1 / (permutations + 1).
    """
    ordered = np.sort(statistics, axis=1)
    count = statistics.shape[1]
    raw = np.empty_like(statistics)
    for row, (values, rising) in enumerate(zip(statistics, ordered, strict=True)):
        ties = _ROUNDING * max(abs(rising[0]), abs(rising[-1]))  # equal, computed in another order
        raw[row] = (count - np.searchsorted(rising, values - ties, side="left")) / count
    smallest = np.sort(raw.min(axis=0))
    return np.searchsorted(smallest, raw[:, 0] + 0.5 / count, side="right") / count


def shifts(newest: NDArray[np.floating], reference: NDArray[np.floating]) -> NDArray[np.float64]:
    """How far the mean of each column moved, in deviations: 0 for a constant one."""
    values, kept = standardise(np.concatenate([newest, reference]))
    moved = np.zeros(len(kept))
    moved[kept] = values[: len(newest)].mean(axis=0) - values[len(newest) :].mean(axis=0)
    return moved


def not_tested(reason: str, config: DriftConfig, newest_clips: int = 0, reference_clips: int = 0) -> DriftReport:
    """The report where there is nothing to compare, or too little."""
    return DriftReport(
        drifted=False,
        false_alarm_rate=config.false_alarm_rate,
        p_value=None,
        p_values={},
        findings=(),
        notes=(f"drift was not tested: {reason}",),
        newest_clips=newest_clips,
        reference_clips=reference_clips,
    )


def too_few(newest_groups: Sequence[str], reference_groups: Sequence[str], config: DriftConfig) -> str:
    """Why clips of these groups cannot be compared, in words; empty if they can."""
    words = [
        f"the {name} clips are of {len(set(groups))} groups (artists, recordings)"
        for name, groups in (("newest", newest_groups), ("reference", reference_groups))
        if len(set(groups)) < config.min_groups
    ]
    return f"{' and '.join(words)}; drift.min_groups is {config.min_groups}" if words else ""


def compare(families: Sequence[Family], blocks: Blocks, config: DriftConfig) -> DriftReport:
    """Tests whether any family of figures drifted.

    Half of the alarm budget is spent here; the other half is for TFX's DistributionValidator, see
    `components.drift.distances`.

    Args:
      blocks: of the clips of both sides.
    """
    statistics: dict[str, NDArray[np.float64]] = {}
    for family in families:
        values, kept = standardise(np.concatenate([family.newest, family.reference]))
        if kept.any():
            statistics[family.name] = energy(values, blocks)
    found = adjusted_p_values(np.stack(list(statistics.values()))) if statistics else ()
    p_values = dict(zip(statistics, map(float, found), strict=True))
    findings, notes = [], []
    for family in families:
        p = p_values.get(family.name)
        if p is None:
            notes.append(f"{family.name}: the same for all clips of both sides")
        elif p <= config.false_alarm_rate / 2.0:
            findings.append(f"{family.name}: differs (p = {p:.2g}): {_most_moved(family)}")
        else:
            notes.append(f"{family.name}: does not differ (p = {p:.2g})")
    return DriftReport(
        drifted=bool(findings),
        false_alarm_rate=config.false_alarm_rate,
        p_value=min(p_values.values(), default=None),
        p_values=p_values,
        findings=tuple(findings),
        notes=tuple(notes),
        newest_clips=len(families[0].newest),
        reference_clips=len(families[0].reference),
    )


def _most_moved(family: Family) -> str:
    moved = shifts(family.newest, family.reference)
    first = np.argsort(-np.abs(moved), kind="stable")[:NAMED_COLUMNS]
    words = [f"{family.columns[column]} {moved[column]:+.1f} sd" for column in first if abs(moved[column]) >= 0.1]
    return ", ".join(words) or "not in the mean of any column"


def log_probabilities(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Natural logarithms, for which a change from 0.01 to 0.02 is as large as one from 0.4 to 0.8; at least 1e-6."""
    return np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-6))
