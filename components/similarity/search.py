"""Finds neighbours, outliers and duplicates among embeddings, by the cosine of the angle between them.

Plain numpy, because an index such as HNSW takes a minute to build, answers approximately, and is one dependency more.
The vectors are turned such that their first values say most (principal components). Those of all songs are compared,
which is little to read, and then the whole vectors of the best of them. 100,000 songs answer in milliseconds.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_SHORT = 64
"""Principal components that all songs are compared by."""
_FOR_AXES = 20_000
"""Songs that the components are found from, at most."""
_LONGLIST = 20
"""Songs that are compared in full, for each that is asked for; and at least as many as 20 are asked for."""
_BLOCK = 1024


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A song by its place in the embeddings, and its similarity to another, from -1 to 1."""

    place: int
    similarity: float


class Search:
    """Answers questions about embeddings."""

    def __init__(self, vectors: NDArray[np.float32]) -> None:
        """Takes embeddings of unit length, float32 [n, E]."""
        self._vectors = vectors
        step = max(1, len(vectors) // _FOR_AXES)
        sample = np.asarray(vectors[::step], np.float32)
        # Without centring: it is the cosine that must stay, and not the variance.
        _, axes = np.linalg.eigh(sample.T @ sample)
        self._axes = np.ascontiguousarray(axes[:, ::-1][:, :_SHORT].astype(np.float32))
        self._short = np.concatenate([vectors[at : at + _BLOCK] @ self._axes for at in range(0, len(vectors), _BLOCK)])

    def neighbours(self, vector: NDArray[np.float32], count: int) -> list[Neighbour]:
        """Returns the `count` songs that are most similar to an embedding [E], the most similar first."""
        unit = np.asarray(vector, np.float32) / np.linalg.norm(vector)
        rough = self._short @ (unit @ self._axes)
        longlist = min(len(rough), _LONGLIST * max(count, 20))
        best = np.argpartition(-rough, longlist - 1)[:longlist]
        exact = self._vectors[np.sort(best)] @ unit
        order = np.argsort(-exact, kind="stable")[:count]
        return [Neighbour(int(np.sort(best)[at]), float(exact[at])) for at in order]

    def outliers(self, count: int, of: int = 5) -> list[Neighbour]:
        """Returns the `count` songs that are least similar to the `of` songs next to them, the least similar first.

        Their similarity is the mean of those `of`.
        """
        of = min(of, len(self._short) - 1)
        if of < 1:
            return []
        length = np.linalg.norm(self._short, axis=1, keepdims=True)
        unit = self._short / np.maximum(length, np.finfo(np.float32).tiny)
        means = np.empty(len(unit), np.float32)
        for at in range(0, len(unit), _BLOCK):
            near = unit[at : at + _BLOCK] @ unit.T
            near[np.arange(len(near)), at + np.arange(len(near))] = -np.inf
            means[at : at + _BLOCK] = np.partition(near, -of, axis=1)[:, -of:].mean(axis=1)
        return [Neighbour(int(place), float(means[place])) for place in np.argsort(means, kind="stable")[:count]]

    def duplicates(self, least: float) -> list[tuple[int, int, float]]:
        """Returns the pairs of songs that are similar by `least` or more, the most similar first."""
        found = []
        for at in range(0, len(self._short), _BLOCK):
            # What the short vectors lack adds at most the product of what is missing of either.
            missing = np.sqrt(np.maximum(0.0, 1.0 - np.square(self._short).sum(axis=1)))
            bound = self._short[at : at + _BLOCK] @ self._short.T + np.outer(missing[at : at + _BLOCK], missing)
            one, other = np.nonzero(np.triu(bound >= least - 1e-5, k=at + 1))
            exact = np.einsum("ij,ij->i", self._vectors[at + one], self._vectors[other])
            found += [(int(at + a), int(b), float(c)) for a, b, c in zip(one, other, exact, strict=True) if c >= least]
        return sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))
