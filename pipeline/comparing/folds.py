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
      UserError: there is no such column, it has fewer than three values, or a split has no clips.
    """
    if column is None:
        given = np.array([row["split"] for row in tracks])
        if missing := [split for split in SPLITS if split not in given]:
            raise UserError(
                f"the spans of the window have no {' and no '.join(missing)} clips to compare on. Ingest more songs, "
                "from more artists; or use earlier spans too, by exclude or `genre spans --restore`."
            )
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


def limited(fold: Fold, labels: np.ndarray, clips_per_genre: int) -> Fold:
    """Returns a fold with at most `clips_per_genre` clips of each genre to learn from, and the same test clips.

    They are taken from training and validation by their shares, at least one from each. Of two numbers, the smaller
    one's clips are among the larger one's.

    Args:
      labels: index of each clip's genre, int64 [clips].
    """
    generator = np.random.default_rng(len(fold.parts["train"]))
    train, validation = (generator.permutation(fold.parts[split]) for split in ("train", "eval"))
    kept: dict[str, list[np.ndarray]] = {"train": [], "eval": []}
    for genre in np.unique(labels[train]):
        first, second = train[labels[train] == genre], validation[labels[validation] == genre]
        held_out = max(1, round(clips_per_genre * len(second) / (len(first) + len(second))))
        kept["eval"].append(second[:held_out])
        kept["train"].append(first[: max(1, clips_per_genre - held_out)])
    return Fold(fold.name, {**fold.parts, **{split: np.sort(np.concatenate(part)) for split, part in kept.items()}})
