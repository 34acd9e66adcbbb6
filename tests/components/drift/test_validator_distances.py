"""Our distances against those that TensorFlow Data Validation measures, and thresholds against their stated rate."""

import numpy as np
import pandas as pd
import pytest
import tfx.types  # noqa: F401 (TFDV cannot be imported before TFX)
from numpy.typing import NDArray
from scipy.stats import binom
from tensorflow_data_validation import generate_statistics_from_dataframe, infer_schema, validate_statistics

from components.drift.permutations import Blocks, permute_blocks
from components.drift.validator_distances import calibrate, jensen_shannon, l_infinity


def pairs() -> dict[str, tuple[NDArray, NDArray]]:
    """What TFDV treats in different ways: newest and reference."""
    draw = np.random.default_rng(0)
    return {
        "continuous": (draw.normal(size=500), draw.normal(0.3, 1.0, 450)),
        "few": (draw.normal(size=9), draw.normal(size=13)),
        "mostly the least": (np.maximum(0.0, draw.normal(-1.0, 1.0, 300)), np.maximum(0.0, draw.normal(-1, 1, 200))),
        "mostly the most": (np.minimum(0.0, draw.normal(1.0, 1.0, 300)), np.minimum(0.0, draw.normal(1.2, 1, 200))),
        "rates": (draw.choice([44100, 48000], 300), draw.choice([22050, 44100, 48000], 300, p=[0.05, 0.9, 0.05])),
        "rounded": (draw.normal(size=333).round(1), draw.normal(size=400).round(1)),
        "on the edges": (draw.integers(0, 11, 200) / 10.0, draw.integers(0, 11, 100) / 10.0),
        "outliers": (draw.standard_cauchy(size=1000), draw.standard_cauchy(size=1000)),
        "more than the quantiles": (draw.normal(size=1700), draw.normal(size=2500).round(2)),
        "one side constant": (np.full(100, 2), draw.choice([1, 2], 100)),
        "both constant": (np.full(100, 2), np.full(70, 2)),
        "both constant, not equal": (np.full(100, 2.0), np.full(70, 3.0)),
        "disjoint": (draw.normal(size=50), draw.normal(100.0, 1.0, 50)),
        "names": (draw.choice(np.array(["a", "b", "c"], object), 90), draw.choice(np.array(["a", "d"], object), 60)),
    }


def of_tfdv(newest: NDArray, reference: NDArray) -> float:
    """As `validate_statistics` measures it."""
    statistics = [generate_statistics_from_dataframe(pd.DataFrame({"f": values})) for values in (newest, reference)]
    schema = infer_schema(statistics[1])
    comparator = schema.feature[0].drift_comparator
    (comparator.infinity_norm if newest.dtype == object else comparator.jensen_shannon_divergence).threshold = 0.0
    anomalies = validate_statistics(statistics[0], schema, previous_statistics=statistics[1])
    [measurement] = anomalies.drift_skew_info[0].drift_measurements
    return measurement.value


def distances(values: NDArray, blocks: Blocks) -> NDArray[np.float64]:
    return l_infinity(values.astype(str), blocks) if values.dtype == object else jensen_shannon(values, blocks)


@pytest.mark.parametrize("kind", pairs())
def test_distances_are_tfdvs(kind: str) -> None:
    """As observed, and for every permutation."""
    newest, reference = pairs()[kind]
    sides = [[str(clip // 3) for clip in range(len(side))] for side in (newest, reference)]
    blocks = permute_blocks(*sides, 2)
    values = np.concatenate([newest, reference])
    of_clip = blocks.newest[:, blocks.of_clip].astype(bool)
    expected = [of_tfdv(values[side], values[~side]) for side in of_clip]
    np.testing.assert_allclose(distances(values, blocks), expected, rtol=1e-9, atol=1e-12)


def test_thresholds_are_exceeded_as_often_as_stated() -> None:
    runs, rate, groups, clips = 300, 0.1, 12, 5
    generator = np.random.default_rng(1)
    sides = [[f"{side} {group}" for group in range(groups) for _ in range(clips)] for side in ("new", "old")]
    blocks = permute_blocks(*sides, 99)
    alarms = 0
    for _ in range(runs):
        level = generator.normal(size=(2 * groups, 1)) + 0.2 * generator.normal(size=(2 * groups, clips))
        genre = np.repeat(generator.choice(list("abc"), 2 * groups), clips)
        found = {
            "rms_dbfs": jensen_shannon(level.ravel(), blocks),
            "silence_ratio": jensen_shannon(np.maximum(level.ravel() - 1.0, 0.0), blocks),
            "genre": l_infinity(genre, blocks),
            "source_rate": jensen_shannon(np.full(level.size, 44100.0), blocks),
        }
        limits = calibrate(found, rate)
        assert {"rms_dbfs", "genre"} <= set(limits) <= set(found) - {"source_rate"}  # what never varies has none
        alarms += any(found[name][0] > limit for name, limit in limits.items())
    least, most = binom.interval(0.999, runs, rate)
    assert least <= alarms <= most


def test_a_share_of_the_permutations_exceeds_a_threshold() -> None:
    generator = np.random.default_rng(2)
    found = {"a": generator.exponential(size=1000), "b": generator.normal(size=1000)}
    found["c"] = 2.0 * found["a"] + 1.0  # tells nothing new
    limits = calibrate(found, 0.05)
    above = np.stack([found[name] > limit for name, limit in limits.items()])
    assert above.any(axis=0).sum() == 50
    assert np.array_equal(above[0], above[2])
    assert calibrate({"a": np.ones(10)}, 0.05) == {}
