"""Reliability, precision and recall, and slices, against scikit-learn, statsmodels' formula and counts by hand."""

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score

from components.evaluation.curves import calibration_error_by_chance, precision_recall, reliability, slices
from components.evaluation.metrics import expected_calibration_error
from components.evaluation.predictions import Prediction, ScoredClips, predictions

GENRES = ("Folk", "Pop", "Rock")


@pytest.fixture(scope="module")
def rows() -> tuple[Prediction, ...]:
    generator = np.random.default_rng(0)
    truth = generator.integers(0, 3, 300)
    said = generator.dirichlet(np.full(3, 0.7), 300) * 0.7 + 0.3 * np.eye(3)[truth]
    return predictions(GENRES, ScoredClips([f"{index:03d}" for index in range(300)], truth, said))


def test_the_reliability_is_that_of_scikit_learn(rows: tuple[Prediction, ...]) -> None:
    confidence = np.array([row.probabilities[row.predicted] for row in rows])
    accuracy, mean = calibration_curve([row.correct for row in rows], confidence, n_bins=10)
    bins = reliability(rows)
    assert [each.accuracy for each in bins] == pytest.approx(accuracy)
    assert [each.confidence for each in bins] == pytest.approx(mean)
    assert sum(each.clips for each in bins) == 300


def test_the_average_precision_of_each_genre(rows: tuple[Prediction, ...]) -> None:
    for curve in precision_recall(GENRES, rows):
        truth = [row.genre == curve.genre for row in rows]
        expected = average_precision_score(truth, [row.probabilities[curve.genre] for row in rows])
        assert curve.average_precision == pytest.approx(expected)
        area = -np.sum(np.diff(curve.recall) * curve.precision[:-1])
        assert area == pytest.approx(expected)
    assert [curve.genre for curve in precision_recall(("Jazz", *GENRES), [replaced(row) for row in rows])] == list(
        GENRES
    )


def replaced(row: Prediction) -> Prediction:
    return row.model_copy(update={"probabilities": {**row.probabilities, "Jazz": 0.0}})


def test_slices_count_every_clip_once_and_mark_the_weak_ones(rows: tuple[Prediction, ...]) -> None:
    def fact(row: Prediction, index: int) -> dict[str, str]:
        return {
            "path": f"a.b/{index}.{'MP3' if row.correct else 'flac'}",
            "artist": f"artist {index // 10}",
            "duration_seconds": str(60 + index),
            "rms_dbfs": "nan",
            "source_rate": "8000" if index < 20 else "44100",
            "source_channels": "2",
        }

    facts = {row.track_id: fact(row, index) for index, row in enumerate(rows)}
    found = slices(rows, facts)
    by = {name: [each for each in found if each.dimension == name] for name in {each.dimension for each in found}}
    assert set(by) == {"artist", "length", "source rate", "kind of file"}, "of what is the same for all, there are none"
    for name in ("length", "source rate", "kind of file"):
        assert sum(each.clips for each in by[name]) == 300
        assert sum(each.right for each in by[name]) == sum(row.correct for row in rows)
    assert [each.name for each in by["source rate"]] == ["8000 Hz", "44100 Hz"]
    assert [each.name.split()[0] for each in by["length"]] == ["below", "159.7", "above"]
    assert [(each.name, each.accuracy, each.weak) for each in by["kind of file"]] == [
        ("flac", 0, True),
        ("mp3", 1, False),
    ]
    assert len(by["artist"]) == 8
    assert [each.accuracy for each in by["artist"]] == sorted(each.accuracy for each in by["artist"])
    each = by["artist"][0]
    z = norm.ppf(0.975)
    centre = (each.right + z**2 / 2) / (each.clips + z**2)
    half = z / (each.clips + z**2) * np.sqrt(each.right * (each.clips - each.right) / each.clips + z**2 / 4)
    assert each.interval == pytest.approx((centre - half, centre + half))


def test_unknown_clips_are_in_no_slice(rows: tuple[Prediction, ...]) -> None:
    assert slices(rows, {}) == []
    assert slices(rows[:2], {rows[0].track_id: {"path": "x.mp3"}}) == []


@pytest.mark.parametrize("clips", [12, 96, 1000])
def test_chance_is_what_a_model_reaches_whose_confidence_is_right(clips: int) -> None:
    generator = np.random.default_rng(5)
    confidence = generator.uniform(0.5, 1.0, clips)
    probabilities = np.stack([confidence, 1.0 - confidence], axis=1)
    truth = generator.binomial(1, 1.0 - confidence, (1000, clips))
    errors = np.array([expected_calibration_error(each, probabilities) for each in truth])
    assert np.mean(errors <= calibration_error_by_chance(confidence)) == pytest.approx(0.95, abs=0.03)
