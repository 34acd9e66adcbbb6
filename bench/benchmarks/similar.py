"""`genre similar`: the nearest of 100,000 songs, against scikit-learn's exact search; both have all in memory."""

from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from bench.harness.result import Measured
from bench.harness.setting import Setting
from bench.harness.timing import Sample, interleave, ratio, spread, walls
from bench.harness.timing import in_this_process as timed
from components.similarity.search import Search

_SONGS, _VALUES, _QUESTIONS, _NEAREST = 100_000, 1024, 10, 10


def measure(setting: Setting) -> Measured:
    """Times some questions for ten neighbours, and counts those that the exact search names, too."""
    vectors = embeddings()
    questions = vectors[:: _SONGS // _QUESTIONS]
    search = Search(vectors)
    exact = NearestNeighbors(n_neighbors=_NEAREST, metric="cosine", algorithm="brute").fit(vectors)
    found: list[list[int]] = []
    expected: list[list[int]] = []

    def ours() -> Sample:
        found.clear()
        return timed(lambda: found.extend([near.place for near in search.neighbours(each, 10)] for each in questions))

    def sklearn() -> Sample:
        expected.clear()
        ask = (exact.kneighbors(each[np.newaxis], return_distance=False)[0].tolist() for each in questions)
        return timed(lambda: expected.extend(ask))

    samples = interleave({"ours": partial(ours), "scikit-learn": partial(sklearn)}, setting.repeats, setting.report)
    same = [len(set(one) & set(other)) / _NEAREST for one, other in zip(found, expected, strict=True)]
    each = [1000 * seconds / _QUESTIONS for seconds in walls(samples["ours"])]
    return Measured(
        samples,
        {
            "question": spread(each),
            "scikit-learn": ratio(walls(samples["scikit-learn"]), walls(samples["ours"])),
            "same": spread([100.0 * float(np.mean(same))]),
        },
    )


def embeddings() -> NDArray[np.float32]:
    """Makes embeddings of unit length: a thousand kinds on a hundred directions, with noise on all, as of music."""
    rng = np.random.default_rng(0)
    directions = np.abs(rng.standard_normal((100, _VALUES), np.float32))
    kinds = rng.gamma(0.3, size=(1000, 100)).astype(np.float32)
    mixed = kinds[rng.integers(1000, size=_SONGS)] + 0.1 * rng.standard_gamma(1.0, (_SONGS, 100), np.float32)
    vectors = mixed @ directions
    vectors += 0.05 * vectors.mean() * rng.standard_normal((_SONGS, _VALUES), np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
