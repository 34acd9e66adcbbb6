"""Folds for cross-validation: no artist is on both sides, and every genre is learned where it can be."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray


def grouped_folds(
    labels: NDArray[np.integer], groups: NDArray, folds: int, seed: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yields the indices of the examples to fit on, and of those held out, fold by fold.

    The groups of each genre are dealt to the folds that have the fewest of it. scikit-learn's StratifiedGroupKFold can
    put the only two groups of a genre into one fold. Examples of a genre that a fold does not fit on are not held out
    there.

    Args:
      labels: int [n], index of each example's genre.
      groups: [n], names or numbers, such as of artists.
      folds: at most; there are no more than groups, and none where two genres cannot be learned.
      seed: of the order of the groups.
    """
    names = np.unique(groups)
    folds = min(folds, len(names))
    order = np.random.default_rng(seed).permutation(names)
    fold_of: dict[object, int] = {}
    sizes: Counter[int] = Counter()
    for genre in np.unique(labels):
        members = order[np.isin(order, groups[labels == genre])].tolist()
        of_genre = Counter(fold_of[group] for group in members if group in fold_of)  # with those of several genres
        for group in members:
            if group not in fold_of:
                fold = fold_of[group] = min(range(folds), key=lambda each: (of_genre[each], sizes[each]))
                of_genre[fold] += 1
                sizes[fold] += 1
    of_example = np.array([fold_of[group] for group in groups.tolist()])
    for fold in range(folds):
        fitted_on, held_out = np.flatnonzero(of_example != fold), np.flatnonzero(of_example == fold)
        known = np.unique(labels[fitted_on])
        held_out = held_out[np.isin(labels[held_out], known)]
        if len(known) > 1 and len(held_out):
            yield fitted_on, held_out
