"""Folds in which no artist is on both sides, and every genre is learned."""

import numpy as np
import pytest

from components.evaluation.folds import grouped_folds


@pytest.mark.parametrize("seed", range(5))
def test_folds_keep_groups_whole_and_spread_every_genre(seed: int) -> None:
    generator = np.random.default_rng(seed)
    groups = generator.integers(0, 40, 400)
    labels = groups % 4
    labels[groups % 10 == 0] = generator.integers(0, 4, int((groups % 10 == 0).sum()))  # some have several genres
    folds = list(grouped_folds(labels, groups, 5, seed))
    assert len(folds) == 5
    assert sorted(np.concatenate([held_out for _, held_out in folds])) == list(range(400))
    for fitted_on, held_out in folds:
        assert not set(groups[fitted_on]) & set(groups[held_out])
        assert set(labels[fitted_on]) == set(labels[held_out]) == {0, 1, 2, 3}


@pytest.mark.parametrize("seed", range(20))
def test_two_artists_of_a_genre_are_never_in_one_fold(seed: int) -> None:
    """Where one of them is of other genres, too, which were dealt before."""
    generator = np.random.default_rng(seed)
    labels = np.repeat(np.arange(8), 6)
    artists = np.array([f"{label}, {song % 2}" for song, label in enumerate(labels)])
    shared = generator.choice(48, 8, replace=False)
    artists[shared] = "of several genres"
    known = [artist for artist in np.unique(artists) if artist != "of several genres"]
    folds = list(grouped_folds(labels, artists, 5, seed))
    for fitted_on, held_out in folds:
        assert set(labels[fitted_on]) == set(range(8))
        assert not set(artists[fitted_on]) & set(artists[held_out])
    assert set(known) == {artist for _, held_out in folds for artist in artists[held_out]} - {"of several genres"}


def test_there_are_no_folds_where_two_genres_cannot_be_learned() -> None:
    artists = np.array(["a", "b", "c", "d"])
    assert list(grouped_folds(np.zeros(4, int), artists, 5, 0)) == []
    assert list(grouped_folds(np.array([0, 0, 1, 1]), np.array(["a", "a", "b", "b"]), 5, 0)) == []
