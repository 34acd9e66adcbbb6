"""The newest clips that are least like the earlier ones."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from components.drift.farthest import FARTHEST, farthest


def test_planted_outliers_come_first_at_the_distance_of_scikit_learn() -> None:
    generator = np.random.default_rng(0)
    reference, newest = generator.normal(0, [1, 5, 0], (80, 3)), generator.normal(0, [1, 5, 0], (30, 3))
    newest[[3, 17]] += [30, 0, 0]
    newest[17] += [10, 0, 0]
    names = np.array([f"clip {index}" for index in range(30)])
    found = farthest(names, np.array(["Folk"] * 30), newest, reference)
    assert len(found) == FARTHEST and [far.track_id for far in found[:2]] == ["clip 17", "clip 3"]
    scale = np.where(reference.std(axis=0) > 0, reference.std(axis=0), 1.0)
    near = NearestNeighbors().fit(reference / scale)
    usual = np.median(near.kneighbors(n_neighbors=1)[0])
    expected = near.kneighbors(newest / scale, n_neighbors=1)[0][:, 0] / usual
    assert [far.distance for far in found] == pytest.approx(sorted(expected, reverse=True)[:FARTHEST])
    assert found[0].distance > 10


def test_fewer_clips_are_all_named() -> None:
    found = farthest(np.array(["a"]), np.array(["Folk"]), np.ones((1, 2)), np.zeros((3, 2)))
    assert [far.track_id for far in found] == ["a"]
