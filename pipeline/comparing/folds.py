"""Divides the clips of a span into those to train on, to validate with and to test on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from components.base.errors import UserError
from components.library.layout import SPLITS


@dataclass(frozen=True)
class Fold:
    """One division of the clips."""

    name: str
    parts: dict[str, np.ndarray]
    """Indices of clips, int64, by split."""


def make_folds(tracks: Sequence[dict[str, str]], column: str | None) -> list[Fold]:
    """Divides clips for cross-validation.

    Args:
      tracks: rows of tracks.csv.
      column: each of its values becomes the test of one fold, the value before it the validation, in sorted order.
        None: one fold, the library's own split.

    Raises:
      UserError: there is no such column, or it has fewer than three values.
    """
    if column is None:
        given = np.array([row["split"] for row in tracks])
        return [Fold("test", {split: np.flatnonzero(given == split) for split in SPLITS})]
    if column not in tracks[0]:
        raise UserError(f"--folds {column}: no such column in tracks.csv; there are {', '.join(tracks[0])}")
    given = np.array([row[column] for row in tracks])
    values = sorted(set(given) - {""})
    if len(values) < 3:
        raise UserError(
            f"--folds {column}: {len(values)} values, where three or more are needed to train, validate and test"
        )
    folds = []
    for index, value in enumerate(values):
        test, validation = given == value, given == values[index - 1]
        parts = {"train": ~(test | validation) & (given != ""), "eval": validation, "test": test}
        folds.append(Fold(value, {split: np.flatnonzero(mask) for split, mask in parts.items()}))
    return folds
