"""The map of clips, against scikit-learn's principal components."""

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from components.evaluation.predictions import ScoredClips, predictions
from components.reporting.song_map import MAP, song_map

GENRES = ("Folk", "Rock")


def test_the_places_are_those_of_the_principal_components() -> None:
    generator = np.random.default_rng(0)
    truth = np.arange(40) % 2
    names = [f"{index:02d}" for index in range(41)]
    rows = predictions(GENRES, ScoredClips(names, np.append(truth, 0), np.eye(2)[np.append(truth, 0)]))
    values = generator.normal(0, 1, (40, 6)) + 3.0 * truth[:, np.newaxis]
    values[:, 5] = 1.0  # the same for all
    found = song_map(GENRES, rows, dict(zip(names[:40], values, strict=True)))
    assert found is not None and len(found.places) == 40, "a clip without an embedding is not on it"
    pca = PCA(2).fit(StandardScaler().fit_transform(values[:, :5]))
    points = pca.transform(StandardScaler().fit_transform(values[:, :5]))
    assert found.share == pytest.approx(pca.explained_variance_ratio_.sum())
    for axis, places in ((0, [place.x for place in found.places]), (1, [place.y for place in found.places])):
        assert abs(np.corrcoef(points[:, axis], places)[0, 1]) == pytest.approx(1.0, abs=1e-3)
    assert all(MAP.left <= place.x <= MAP.right and MAP.top <= place.y <= MAP.bottom for place in found.places)
    assert found == song_map(GENRES, rows, dict(zip(names[:40], values, strict=True)))


def test_too_few_or_equal_clips_have_no_map() -> None:
    rows = predictions(GENRES, ScoredClips(["a", "b", "c"], np.array([0, 1, 0]), np.eye(2)[[0, 1, 0]]))
    assert song_map(GENRES, rows, {}) is None
    assert song_map(GENRES, rows, dict.fromkeys(("a", "b", "c"), np.ones(4))) is None
