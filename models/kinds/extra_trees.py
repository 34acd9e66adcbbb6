"""Extremely randomised trees on descriptors."""

import math
from functools import partial
from typing import TYPE_CHECKING, Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from models.fitting.classical import LEAST_SHARE, Candidate, Examples, Fitted, Front, choose, export, regardless

if TYPE_CHECKING:
    import keras
    from sklearn.ensemble import ExtraTreesClassifier

LARGEST = 45e6
"""Bytes that the nodes of all trees may take in the exported graph."""
FEWEST = 100
"""Trees that must fit: leaves grow with the number of clips until they do."""


class Options(Front):
    """Settings of `extra_trees`."""

    trees: int = Field(
        300, ge=1, description="number of trees; fewer of many clips, so that the exported graph stays below 50 MB"
    )
    leaf: tuple[Annotated[int, Field(ge=1)], ...] = Field(
        (1, 2, 4),
        min_length=1,
        description="smallest numbers of clips in a leaf, of which the one with the lowest log loss in inner "
        "cross-validation is chosen; larger ones of many clips",
    )


def fit(options: Options, examples: Examples, classes: int, seed: int) -> Fitted:
    """Fits `sklearn.ensemble.ExtraTreesClassifier`; the mean of its trees' shares is its `predict_proba`.

    Args:
      examples: see `classical.choose`; of equally good leaves the largest is taken.
      classes: number of genres.
      seed: see `classical.choose`; the trees are grown by it, too.

    Returns:
      The model. Its logits are the log of the shares, at least of `LEAST_SHARE`. Its record has the number of `trees`.

    Raises:
      UserError: see `classical.choose`.
    """
    # A tree has at most 2 / leaf nodes per clip, each a row of float64 in both tables.
    of_tree = 2.0 * max(1, len(examples.x)) * 8 * (4 + classes)
    least = math.ceil(min(FEWEST, options.trees) * of_tree / LARGEST)
    candidates = []
    for leaf in sorted({max(leaf, least) for leaf in options.leaf}, reverse=True):
        trees = min(options.trees, int(LARGEST * leaf / of_tree))
        candidates.append(
            Candidate({"leaf": leaf, "trees": trees}, partial(regardless, partial(_trees, trees, seed), leaf))
        )
    chosen = choose(options, examples, classes, candidates, seed)
    return Fitted(
        export(chosen.front, _scores(chosen.classifier, classes), "extra_trees"), chosen.record, chosen.logits
    )


def _trees(count: int, seed: int, leaf: float) -> "ExtraTreesClassifier":
    from sklearn.ensemble import ExtraTreesClassifier

    return ExtraTreesClassifier(count, min_samples_leaf=int(leaf), random_state=seed)


def _scores(forest: "ExtraTreesClassifier", classes: int) -> "partial[keras.KerasTensor]":
    """Returns the function from the front's output [batch, features] to log shares [batch, classes].

    All trees are walked at once, a level at a time. A leaf is its own children.
    """
    trees = [estimator.tree_ for estimator in forest.estimators_]
    roots = np.cumsum([0, *(tree.node_count for tree in trees)])[:-1]
    nodes, shares = [], []
    for root, tree in zip(roots, trees, strict=True):
        here, leaf = np.arange(tree.node_count), tree.children_left < 0
        children = (root + np.where(leaf, here, child) for child in (tree.children_left, tree.children_right))
        nodes.append(np.stack([np.where(leaf, 0, tree.feature), tree.threshold, *children], axis=1))
        counts = tree.value[:, 0]
        shares.append(np.zeros((tree.node_count, classes)))
        shares[-1][:, forest.classes_] = counts / counts.sum(axis=1, keepdims=True)
    depth = max(tree.max_depth for tree in trees)
    return partial(
        _walk, _table(np.concatenate(nodes), "nodes"), _table(np.concatenate(shares), "shares"), roots, depth
    )


def _table(rows: NDArray[np.float64], name: str) -> "keras.layers.Layer":
    """Makes a layer that looks up rows by their number."""
    import keras

    table = keras.layers.Embedding(*rows.shape, trainable=False, dtype="float64", name=name)
    table.build(None)
    table.set_weights([rows])
    return table


def _walk(
    nodes: "keras.layers.Layer",
    shares: "keras.layers.Layer",
    roots: NDArray[np.int64],
    depth: int,
    x: "keras.KerasTensor",
) -> "keras.KerasTensor":
    from keras import ops

    seen = ops.cast(ops.cast(x, "float32"), "float64")  # scikit-learn's trees compare float32
    node = ops.cast(ops.zeros_like(x[:, :1]), "int32") + ops.convert_to_tensor(roots[np.newaxis], "int32")
    for _ in range(depth):
        feature, threshold, left, right = ops.unstack(nodes(node), axis=-1)  # each [batch, trees]
        value = ops.take_along_axis(seen, ops.cast(feature, "int32"), axis=1)
        node = ops.cast(ops.where(value > threshold, right, left), "int32")
    return ops.log(ops.maximum(ops.mean(shares(node), axis=1), LEAST_SHARE))
