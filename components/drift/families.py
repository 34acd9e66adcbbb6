"""The test whether the newest clips are like those that the served model was measured on. No TensorFlow, no TFX.

Four families of figures are compared: audio health, descriptors, the model's predictions and its embeddings. How large
the energy distance of the two sides gets by chance is computed from permutations, see `components.drift.permutations`.

All families see the same permutations, and their p-values are adjusted for the best of four by the distribution of the
smallest one (Westfall & Young 1993, min-P). However the families depend on one another, together they raise no more
false alarms than configured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.drift.energy import energy, shifts, standardise
from components.drift.permutations import Blocks
from components.drift.report import DriftReport, Moved

NAMED_COLUMNS = 3
"""Columns of a family that a finding names, those that moved most."""
FEWEST_SHOWN, MOST_SHOWN = 2, 20
"""Columns that a report has histograms of, where no family differs and where any does."""
EMBEDDINGS = "embeddings"
"""The family whose columns have no meaning of their own."""
_BUCKETS = 20
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Family:
    """Figures of one kind, with a row per clip."""

    name: str
    columns: tuple[str, ...]
    newest: NDArray[np.floating]
    """[clips, columns]"""
    reference: NDArray[np.floating]
    """[other clips, columns]"""


def measure_drift(families: Sequence[Family], blocks: Blocks, false_alarm_rate: float) -> DriftReport:
    """Tests whether any family of figures drifted.

    Half of the rate is spent here; the other half is for TFX's DistributionValidator, see
    `components.drift.validator_distances`.

    Args:
      families: of the same clips.
      blocks: of the clips of both sides.
      false_alarm_rate: of everything that may report drift.
    """
    statistics: dict[str, NDArray[np.float64]] = {}
    for family in families:
        values, kept = standardise(np.concatenate([family.newest, family.reference]))
        if kept.any():
            statistics[family.name] = energy(values, blocks)
    found = adjusted_p_values(np.stack(list(statistics.values()))).tolist() if statistics else []
    p_values: dict[str, float] = dict(zip(statistics, found, strict=True))
    findings, notes = [], []
    for family in families:
        p = p_values.get(family.name)
        if p is None:
            notes.append(f"{family.name}: the same for all clips of both sides")
        elif p <= false_alarm_rate / 2.0:
            findings.append(f"{family.name}: differs (p = {p:.2g}): {_named(family)}")
        else:
            notes.append(f"{family.name}: does not differ (p = {p:.2g}): {_named(family)}")
    return DriftReport(
        drifted=bool(findings),
        false_alarm_rate=false_alarm_rate,
        p_value=min(p_values.values(), default=None),
        p_values=p_values,
        findings=tuple(findings),
        notes=tuple(notes),
        moved=_moved(families, blocks, p_values, false_alarm_rate / 2.0),
        newest_clips=len(families[0].newest),
        reference_clips=len(families[0].reference),
    )


def adjusted_p_values(statistics: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the p-values of several tests, each adjusted for all of them by single-step min-P.

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


def _named(family: Family) -> str:
    """Names the columns whose means moved most, with the shift in standard deviations (sd)."""
    moved = shifts(family.newest, family.reference)
    first = np.argsort(-np.abs(moved), kind="stable")[:NAMED_COLUMNS]
    named = [f"{family.columns[column]} {moved[column]:+.1f} sd" for column in first if abs(moved[column]) >= 0.1]
    return ", ".join(named) or "not in the mean of any column"


def _moved(families: Sequence[Family], blocks: Blocks, p_values: Mapping[str, float], rate: float) -> tuple[Moved, ...]:
    """Returns the columns that moved and have names of their own, with histograms, those that moved most first.

    In a family that differs, a column moved if the shift of its mean is larger than the largest of the family's columns
    is by chance, in the share `rate` of the permutations at most (max-T, Westfall & Young 1993). The columns that a
    finding names are there in any case; where no family differs, those that moved most of all.
    """
    found: list[tuple[float, Family, int]] = []
    for family in families:
        if family.name != EMBEDDINGS and p_values.get(family.name, 1.0) <= rate:
            moved = _by_shift([family])
            by_chance = float(np.quantile(_largest_shifts(family, blocks), 1.0 - rate, method="higher"))
            count = sum(abs(shift) >= by_chance for shift, *_ in moved)
            found += moved[: max(count, NAMED_COLUMNS)]
    if not found:
        found = _by_shift([family for family in families if family.name != EMBEDDINGS])[:FEWEST_SHOWN]
    return tuple(_with_histograms(*each) for each in sorted(found, key=lambda each: -abs(each[0]))[:MOST_SHOWN])


def _by_shift(families: Sequence[Family]) -> list[tuple[float, Family, int]]:
    """Returns the shift of every column that is not 0, with its family and index, the largest first."""
    found = [
        (float(shift), family, column)
        for family in families
        for column, shift in enumerate(shifts(family.newest, family.reference))
        if shift
    ]
    return sorted(found, key=lambda each: -abs(each[0]))


def _with_histograms(shift: float, family: Family, column: int) -> Moved:
    sides = [values[:, column].astype(np.float64) for values in (family.newest, family.reference)]
    edges = np.histogram_bin_edges(np.concatenate(sides), _BUCKETS)
    newest, reference = (tuple(np.histogram(side, edges)[0].tolist()) for side in sides)
    return Moved(
        family=family.name,
        figure=family.columns[column],
        shift=shift,
        edges=tuple(edges.tolist()),
        newest=newest,
        reference=reference,
    )


def _largest_shifts(family: Family, blocks: Blocks) -> NDArray[np.float64]:
    """Returns the largest shift of any column, as `shifts` has it, for every exchange of the blocks."""
    values, _ = standardise(np.concatenate([family.newest, family.reference]))
    if not values.shape[1]:
        return np.zeros(len(blocks.newest))
    sums = blocks.membership @ values  # [blocks, columns]
    clips = blocks.newest @ blocks.membership.sum(axis=1)  # [permutations + 1]
    ours = blocks.newest @ sums  # [permutations + 1, columns]
    theirs = sums.sum(axis=0) - ours
    return np.abs(ours / clips[:, np.newaxis] - theirs / (len(values) - clips)[:, np.newaxis]).max(axis=1)


def log_probabilities(probabilities: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns natural logarithms of probabilities, which are first raised to at least 1e-6.

    In logarithms, a change from 0.01 to 0.02 is as large as one from 0.4 to 0.8.
    """
    return np.log(np.maximum(np.asarray(probabilities, np.float64), 1e-6))
