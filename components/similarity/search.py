"""Finds neighbours, outliers and duplicates among embeddings, by the cosine of the angle between them.

Plain numpy, because an index such as HNSW takes a minute to build, answers approximately, and is one dependency more.
The vectors are turned such that their first values say most (principal components). Those of all songs are compared,
which is little to read, and then the whole vectors of the best of them. 100,000 songs answer in milliseconds.
"""

import itertools
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
"""Songs that are compared with as many others at a time: memory does not grow with the square of all."""


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
            block = unit[at : at + _BLOCK]
            nearest = np.full((len(block), of), -np.inf, np.float32)
            for other in range(0, len(unit), _BLOCK):
                near = block @ unit[other : other + _BLOCK].T
                if other == at:
                    np.fill_diagonal(near, -np.inf)
                nearest = np.partition(np.concatenate([nearest, near], axis=1), -of, axis=1)[:, -of:]
            means[at : at + _BLOCK] = nearest.mean(axis=1)
        return [Neighbour(int(place), float(means[place])) for place in np.argsort(means, kind="stable")[:count]]

    def duplicates(self, least: float, count: int) -> list[tuple[int, int, float]]:
        """Returns the `count` pairs of songs that are most similar, by `least` or more, the most similar first."""
        found: list[tuple[int, int, float]] = []
        # What the short vectors lack adds at most the product of what is missing of either.
        missing = np.sqrt(np.maximum(0.0, 1.0 - np.square(self._short).sum(axis=1)))
        blocks = [slice(at, at + _BLOCK) for at in range(0, len(self._short), _BLOCK)]
        for one, other in itertools.combinations_with_replacement(blocks, 2):
            bound = self._short[one] @ self._short[other].T + np.outer(missing[one], missing[other])
            if bound.max() < least - 1e-5:
                continue
            exact = self._vectors[one] @ self._vectors[other].T
            alike = np.flatnonzero(np.triu(exact >= least, k=1) if one == other else exact >= least)
            best = alike[np.argsort(-exact.ravel()[alike], kind="stable")[:count]]
            rows, columns = np.divmod(best, exact.shape[1])
            places = zip((one.start + rows).tolist(), (other.start + columns).tolist(), strict=True)
            found += [(*pair, float(value)) for pair, value in zip(places, exact.ravel()[best], strict=True)]
            found = sorted(found, key=lambda pair: (-pair[2], pair[0], pair[1]))[:count]
        return found
