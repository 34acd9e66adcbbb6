"""Drift: no more false alarms than stated, however alike an artist's clips are, and alarms where there is cause."""

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError
from scipy.stats import binom, energy_distance

from components.drift.config import PERMUTATIONS, DriftConfig
from components.drift.energy import OUTLIER, energy, shifts, standardise
from components.drift.families import Family, adjusted_p_values, measure_drift
from components.drift.permutations import permute_blocks, too_few
from components.drift.report import DriftReport, not_tested

RATE = 0.2
NAMES = {"audio health": 2, "descriptors": 6, "predictions": 3, "embeddings": 4}
"""Columns by family."""
GROUPS, CLIPS = 12, 6


def groups_of(side: str, groups: int = GROUPS, clips: int = CLIPS) -> list[str]:
    """The group of every clip."""
    return [f"{side} {group}" for group in range(groups) for _ in range(clips)]


def figures(generator: np.random.Generator, columns: int, groups: int = GROUPS, clips: int = CLIPS) -> NDArray:
    """[groups * clips, columns]: clips differ little from one another, and groups much."""
    centres = generator.normal(size=(groups, 1, columns))
    return (centres + 0.3 * generator.normal(size=(groups, clips, columns))).reshape(-1, columns)


def families(generator: np.random.Generator, shift: float = 0.0) -> list[Family]:
    """Four families that depend on one another; `shift` moves the descriptors, the first most."""
    sides = [figures(generator, 6), figures(generator, 6)]
    found = []
    for name, count in NAMES.items():
        mixing = generator.normal(size=(6, count))
        newest, reference = (side if name == "descriptors" else np.tanh(side @ mixing) for side in sides)
        moved = newest + shift / (1.0 + np.arange(count)) * (name == "descriptors")
        found.append(Family(name, tuple(f"{name} {column}" for column in range(count)), moved, reference))
    return found


def test_energy_is_the_textbooks() -> None:
    """Against scipy, whose distance is a square root, in one dimension; against the definition in several."""
    generator = np.random.default_rng(0)
    m, n = 20, 30
    blocks = permute_blocks(groups_of("new", 5, 4), groups_of("old", 6, 5), 40)
    line = generator.normal(size=(m + n, 1))
    of_clip = blocks.newest[:, blocks.of_clip].astype(bool)
    expected = [
        side.sum() * (~side).sum() / (m + n) * energy_distance(line[side, 0], line[~side, 0]) ** 2 for side in of_clip
    ]
    np.testing.assert_allclose(energy(line, blocks), expected, rtol=1e-9)

    space = generator.normal(size=(m + n, 3))
    distances = np.linalg.norm(space[:, np.newaxis] - space, axis=2)
    expected = []
    for side in of_clip:
        x, y = np.flatnonzero(side), np.flatnonzero(~side)
        between, new, old = (distances[np.ix_(*pair)].mean() for pair in ((x, y), (x, x), (y, y)))
        expected.append(len(x) * len(y) / (m + n) * (2 * between - new - old))
    np.testing.assert_allclose(energy(space, blocks), expected, rtol=1e-9)


def test_blocks_are_exchanged_whole() -> None:
    """An artist on both sides is two blocks; the first row is what was seen; every row has as many newest blocks."""
    blocks = permute_blocks(["a", "a", "b"], ["c", "a", "d", "c"], 200)
    assert blocks.of_clip.tolist() == [0, 0, 1, 3, 2, 4, 3]
    assert blocks.newest[0].tolist() == [1, 1, 0, 0, 0]
    assert (blocks.newest.sum(axis=1) == 2).all()
    assert len(np.unique(blocks.newest, axis=0)) == 10  # of five blocks, two: all of the ways
    assert np.array_equal(blocks.newest, permute_blocks(["b", "a", "a"], ["d", "a", "c", "c"], 200).newest)


def test_p_values_are_adjusted_as_by_counting() -> None:
    generator = np.random.default_rng(1)
    statistics = np.round(generator.normal(size=(4, 60)), 1)  # with ties
    statistics[2, 0] = 3.0
    tests, count = statistics.shape

    def p(test: int, permutation: int) -> float:
        return sum(statistics[test, other] >= statistics[test, permutation] for other in range(count)) / count

    smallest = [min(p(test, permutation) for test in range(tests)) for permutation in range(count)]
    expected = [sum(least <= p(test, 0) for least in smallest) / count for test in range(tests)]
    assert adjusted_p_values(statistics).tolist() == expected
    assert expected[2] < 0.1 < min(expected[0], expected[1], expected[3])


def test_false_alarms_are_as_frequent_as_stated() -> None:
    """And would be far too frequent if clips were exchanged one by one, as if an artist's did not belong together."""
    runs, few = 200, 30
    generator = np.random.default_rng(2)
    blocks = permute_blocks(groups_of("new"), groups_of("old"), 99)
    alarms = sum(measure_drift(families(generator), blocks, RATE).drifted for _ in range(runs))
    least, most = binom.interval(0.999, runs, RATE / 2)
    assert least <= alarms <= most
    alone = permute_blocks(groups_of("new", GROUPS * CLIPS, 1), groups_of("old", GROUPS * CLIPS, 1), 99)
    alarms = sum(measure_drift(families(generator), alone, RATE).drifted for _ in range(few))
    assert alarms > 2 * binom.ppf(0.999, few, RATE / 2)


def test_everything_that_moved_has_histograms_and_nothing_else() -> None:
    generator = np.random.default_rng(6)
    names = tuple(f"column {index}" for index in range(30))
    blocks = permute_blocks(groups_of("new", 40, 2), groups_of("old", 40, 2), 199)

    def shown(moved: slice, by: float) -> list[str]:
        newest, reference = (figures(generator, 30, 40, 2) for _ in range(2))
        newest[:, moved] += by
        still = Family("audio health", ("level",), figures(generator, 1, 40, 2), figures(generator, 1, 40, 2))
        report = measure_drift([still, Family("descriptors", names, newest, reference)], blocks, 0.1)
        sizes = [abs(each.shift) for each in report.moved]
        assert sizes == sorted(sizes, reverse=True)
        assert report.drifted == bool(by)
        return [each.figure for each in report.moved]

    assert set(shown(slice(5), 4.0)) == set(names[:5])
    assert len(shown(slice(30), 4.0)) == 20
    few = shown(slice(1), 4.0)
    assert few[0] == names[0] and len(few) == 3, "those that the finding names"
    assert len(shown(slice(0), 0.0)) == 2


def test_an_artist_on_both_sides_raises_no_false_alarms() -> None:
    runs = 100
    generator = np.random.default_rng(3)
    alarms = 0
    for _ in range(runs):
        centres = generator.normal(size=(GROUPS, 1, 4))
        sides = [
            (centres + 0.3 * generator.normal(size=(GROUPS, CLIPS, 4))).reshape(-1, 4) for _ in ("newest", "reference")
        ]
        family = Family("descriptors", tuple("abcd"), *sides)
        alarms += measure_drift([family], permute_blocks(groups_of("same"), groups_of("same"), 99), RATE).drifted
    assert alarms <= binom.ppf(0.999, runs, RATE / 2)


def test_a_shift_is_found_and_named() -> None:
    report = measure_drift(
        families(np.random.default_rng(4), shift=4.0), permute_blocks(groups_of("new"), groups_of("old"), 99), RATE
    )
    assert report.drifted
    assert report.p_value == report.p_values["descriptors"] == 0.04  # each of four families tops one permutation
    [finding] = report.findings
    assert finding.startswith("descriptors: differs (p = 0.04): descriptors 0 +")
    assert [note.split(":")[0] for note in report.notes] == [name for name in NAMES if name != "descriptors"]
    assert all("does not differ (p = " in note for note in report.notes)
    assert (report.newest_clips, report.reference_clips) == (GROUPS * CLIPS, GROUPS * CLIPS)
    assert report.account == (report.headline, finding, *report.notes)
    first, second, *_ = report.moved
    assert (first.family, first.figure, second.family) == ("descriptors", "descriptors 0", "descriptors")
    assert f"{first.shift:+.1f} sd" in finding and abs(first.shift) >= abs(second.shift)
    assert sum(first.newest) == sum(first.reference) == GROUPS * CLIPS
    means = [
        np.average(np.add(first.edges[1:], first.edges[:-1]) / 2, weights=side)
        for side in (first.newest, first.reference)
    ]
    assert means[0] - means[1] == pytest.approx(4.0, abs=1.5), "the histograms show the shift"
    assert DriftReport.model_validate_json(report.model_dump_json()) == report


@pytest.mark.parametrize("kind", ["spread", "mixture", "outliers"])
def test_more_than_means_may_differ(kind: str) -> None:
    generator = np.random.default_rng(5)
    newest, reference = (figures(generator, 3, 40, 3) for _ in range(2))
    if kind == "spread":
        newest *= 3.0
    elif kind == "mixture":
        newest += np.repeat(np.where(np.arange(40) % 2, 3.0, -3.0), 3)[:, np.newaxis]
    else:
        reference[0] = 1e9  # which must not hide that everything else has moved
        newest += 2.0
    family = Family("descriptors", tuple("abc"), newest, reference)
    blocks = permute_blocks(groups_of("new", 40, 3), groups_of("old", 40, 3), 999)
    report = measure_drift([family], blocks, DriftConfig().false_alarm_rate)
    [finding] = report.findings
    assert finding.startswith("descriptors: differs (p = 0.001): ")
    if kind == "outliers":
        assert all(f"{column} +1" in finding or f"{column} +2" in finding for column in "abc")


def test_a_difference_that_is_in_no_mean_says_so() -> None:
    line = np.linspace(-1.0, 1.0, 40)[:, np.newaxis]
    report = measure_drift(
        [Family("embeddings", ("a",), 5.0 * line, line)],
        permute_blocks(groups_of("n", 40, 1), groups_of("o", 40, 1), 99),
        RATE,
    )
    assert report.findings == ("embeddings: differs (p = 0.01): not in the mean of any column",)


def test_the_order_of_the_clips_does_not_matter() -> None:
    generator = np.random.default_rng(6)
    found, names = families(generator, 1.0), (groups_of("new"), groups_of("old"))
    orders = [generator.permutation(GROUPS * CLIPS) for _ in names]
    shuffled = [
        Family(family.name, family.columns, family.newest[orders[0]], family.reference[orders[1]]) for family in found
    ]
    mixed = [[groups[index] for index in order] for groups, order in zip(names, orders, strict=True)]
    assert measure_drift(found, permute_blocks(*names, 99), RATE) == measure_drift(
        shuffled, permute_blocks(*mixed, 99), RATE
    )


def test_columns_become_comparable() -> None:
    generator = np.random.default_rng(7)
    rows = 1000
    values = np.stack(
        [
            generator.normal(-20.0, 5.0, rows),
            np.where(np.arange(rows) % 10, 0.0, 0.3),  # whose quartiles coincide
            np.full(rows, 22050.0),
            np.append(generator.normal(size=rows - 1), 1e6),
        ],
        axis=1,
    )
    found, kept = standardise(values)
    assert kept.tolist() == [True, True, False, True]
    np.testing.assert_allclose(found[:, [0, 1]].std(axis=0), 1.0, rtol=0.1)
    assert found[:, 2].max() == OUTLIER
    assert found[:-1, 2].std() == pytest.approx(1.0, rel=0.1)
    moved = shifts(values + np.array([5.0, 0.0, 0.0, 0.0]), values)
    assert moved[0] == pytest.approx(0.9, abs=0.1)
    assert moved[1:].tolist() == [0.0, 0.0, 0.0]


def test_a_family_that_never_varies_is_not_tested() -> None:
    ones = np.ones((GROUPS * CLIPS, 2))
    noise = figures(np.random.default_rng(8), 2)
    constant = Family("audio health", ("a", "b"), ones, ones)
    blocks = permute_blocks(groups_of("new"), groups_of("old"), 99)
    report = measure_drift([constant, Family("embeddings", ("c", "d"), noise, noise)], blocks, RATE)
    assert report.notes[0] == "audio health: the same for all clips of both sides"
    assert report.p_values == {"embeddings": 1.0}
    assert measure_drift([constant], blocks, RATE).p_value is None


def test_too_few_groups_are_not_tested() -> None:
    few, enough = groups_of("new", 3), groups_of("old", 8)
    reason = too_few(few, enough)
    assert reason == (
        "the newest clips are of 3 groups (artists, recordings); the test needs at least 8 on either side"
    )
    assert too_few(enough, enough) == ""
    report = not_tested(reason, RATE, len(few), len(enough))
    assert not report.drifted
    assert report.p_value is None
    assert report.notes == (f"drift was not tested: {reason}",)


def test_the_smallest_rate_can_still_find_drift_and_a_smaller_one_is_refused() -> None:
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.008"):
        DriftConfig(false_alarm_rate=0.007)
    smallest = DriftConfig(false_alarm_rate=0.008).false_alarm_rate
    generator = np.random.default_rng(9)
    sides = [groups_of(side, 8, 1) for side in ("new", "old")]
    found = [
        Family(name, ("a",), generator.normal(50.0 * (name == "b"), 1.0, (8, 1)), generator.normal(0, 1, (8, 1)))
        for name in "abcd"
    ]
    assert measure_drift(found, permute_blocks(*sides, PERMUTATIONS), smallest).drifted
