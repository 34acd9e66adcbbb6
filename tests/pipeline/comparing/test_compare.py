"""Folds and significance; the comparison itself runs in tests/test_end_to_end.py."""

import numpy as np
import pytest

from components.base.errors import UserError
from components.library.layout import SPLITS
from pipeline.comparing.compare import holm
from pipeline.comparing.folds import limited, make_folds

TRACKS = [
    {"track_id": str(index), "split": SPLITS[index % 3], "fold": str(index % 5 + 1), "genre": "rock"}
    for index in range(20)
]


def test_without_a_column_the_librarys_split_is_the_one_fold() -> None:
    [fold] = make_folds(TRACKS, None)
    for split, indices in fold.parts.items():
        assert {TRACKS[index]["split"] for index in indices} == {split}
    assert sum(map(len, fold.parts.values())) == len(TRACKS)


def test_every_clip_is_tested_once_and_never_trained_on_in_that_fold() -> None:
    folds = make_folds(TRACKS, "fold")
    assert [fold.name for fold in folds] == ["1", "2", "3", "4", "5"]
    tested = np.concatenate([fold.parts["test"] for fold in folds])
    assert sorted(tested) == list(range(20))
    for fold in folds:
        values = {split: {TRACKS[index]["fold"] for index in part} for split, part in fold.parts.items()}
        assert values["test"] == {fold.name}
        assert len(values["eval"]) == 1
        assert not values["train"] & (values["test"] | values["eval"])
        assert sum(map(len, fold.parts.values())) == 20


def test_a_split_without_clips_is_named() -> None:
    with pytest.raises(UserError, match="no eval clips"):
        make_folds([row for row in TRACKS if row["split"] != "eval"], None)


def test_fewer_clips_to_learn_from_and_the_same_ones_to_test_on() -> None:
    generator = np.random.default_rng(0)
    labels = generator.permutation(np.arange(200) % 4)
    tracks = [{"fold": str(index % 5)} for index in range(200)]  # 10 of a genre in each fold
    smaller: set[int] = set()
    for count in (2, 5, 20, 100):
        for whole in make_folds(tracks, "fold")[:1]:
            fold = limited(whole, labels, count)
            np.testing.assert_array_equal(fold.parts["test"], whole.parts["test"])
            for split in ("train", "eval"):
                assert set(fold.parts[split]) <= set(whole.parts[split])
                assert set(labels[fold.parts[split]]) == {0, 1, 2, 3}
            learned = np.concatenate([fold.parts["train"], fold.parts["eval"]])
            whole_counts = np.bincount(labels[np.concatenate([whole.parts["train"], whole.parts["eval"]])])
            np.testing.assert_array_equal(np.bincount(labels[learned]), np.minimum(count, whole_counts))
            assert smaller <= set(learned)
            smaller = set(learned)


@pytest.mark.parametrize(("column", "told"), [("artist", "no such column in tracks.csv"), ("genre", "1 values")])
def test_a_column_that_cannot_be_folded_over(column: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        make_folds(TRACKS, column)


def test_holm_gives_the_textbook_example() -> None:
    """Four hypotheses with p = 0.01, 0.04, 0.03, 0.005, the example that statistics texts and R's p.adjust give."""
    p_values = {("a", "b"): 0.01, ("a", "c"): 0.04, ("a", "d"): 0.03, ("b", "c"): 0.005}
    adjusted = {("a", "b"): 0.03, ("a", "c"): 0.06, ("a", "d"): 0.06, ("b", "c"): 0.02}
    assert holm(p_values) == pytest.approx(adjusted)


def test_holm_keeps_within_one() -> None:
    assert set(holm({("a", "b"): 0.9, ("a", "c"): 0.8}).values()) == {1.0}
    assert holm({}) == {}
