"""The split of groups: stratified, in the shares that are asked for, and kept."""

import os
import random
import subprocess
import sys
from collections import Counter

import pytest

from components.library.config import SplitConfig
from components.library.layout import SPLITS
from components.library.splits import Group, assign_splits

SHARES = SplitConfig()


def groups(**sizes):
    """New groups by name, so many of each genre."""
    return {f"{genre} {i}": Group(genres={genre}) for genre, size in sizes.items() for i in range(size)}


def counts(assigned, known):
    """Groups in train, eval and test, by genre."""
    found = Counter((genre, assigned[name]) for name, group in known.items() for genre in group.genres)
    genres = sorted({genre for group in known.values() for genre in group.genres})
    return {genre: tuple(found[genre, split] for split in SPLITS) for genre in genres}


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, (1, 0, 0)), (2, (1, 0, 1)), (3, (1, 1, 1)), (4, (2, 1, 1)), (7, (5, 1, 1)), (10, (6, 2, 2)), (25, (16, 4, 5))],
)
def test_every_genre_is_divided_in_the_shares(size, expected):
    # With a large genre beside it, so that no split of the library would be empty.
    known = groups(large=1000, small=size)
    assert counts(assign_splits(known, SHARES), known) == {"large": (640, 160, 200), "small": expected}


def test_eight_genres_of_four_artists_are_all_tested():
    known = groups(**{f"g{i}": 4 for i in range(8)})
    assert set(counts(assign_splits(known, SHARES), known).values()) == {(2, 1, 1)}


def test_two_genres_of_two_artists_fill_all_splits():
    known = groups(folk=2, rock=2)
    assert set(counts(assign_splits(known, SHARES), known).values()) == {(1, 1, 0), (1, 0, 1)}


def test_a_group_keeps_its_split_and_new_ones_fill_up():
    known = groups(folk=4)
    first = assign_splits(known, SHARES)
    for name, split in first.items():
        known[name].split = split
    known |= {f"new {i}": Group(genres={"folk"}) for i in range(6)}
    then = assign_splits(known, SHARES)
    assert first.items() <= then.items()
    assert counts(then, known) == {"folk": (6, 2, 2)}
    # An older library, of which all test groups are of another genre.
    known = {f"old {i}": Group("train", 1, {"folk"}) for i in range(9)} | groups(folk=2)
    assert counts(assign_splits(known, SHARES), known) == {"folk": (9, 1, 1)}
    known = {f"old {i}": Group("test", 1, {"folk"}) for i in range(9)} | groups(folk=3)
    assert counts(assign_splits(known, SHARES), known) == {"folk": (2, 1, 9)}


def test_groups_of_several_genres_leave_no_genre_untested():
    draw = random.Random(3)
    for _ in range(20):
        genres = [f"g{i}" for i in range(5)]
        known = groups(**dict.fromkeys(genres, 3))
        known |= {f"both {i}": Group(genres=set(draw.sample(genres, draw.randint(2, 4)))) for i in range(6)}
        assert all(all(found) for found in counts(assign_splits(known, SHARES), known).values())


def test_an_artist_of_every_genre():
    known = groups(folk=2, pop=2, rock=2) | {"Various": Group(genres={"folk", "pop", "rock"})}
    assert set(counts(assign_splits(known, SHARES), known).values()) == {(1, 1, 1)}


def test_a_split_without_a_share_gets_none():
    known = groups(folk=10)
    shares = SplitConfig(train=0.8, eval=0.0, test=0.2)
    assert counts(assign_splits(known, shares), known) == {"folk": (8, 0, 2)}


def test_neither_the_order_nor_the_process_counts():
    known = groups(folk=30, rock=30)
    found = assign_splits(known, SHARES)
    assert assign_splits(dict(reversed(known.items())), SHARES) == found
    other = subprocess.run(
        [sys.executable, "-c", "from components.library.splits import *\n"
         "known = {f'{g} {i}': Group(genres={g}) for g in ('folk', 'rock') for i in range(30)}\n"
         "print(sorted(assign_splits(known, SplitConfig()).items()))"],
        env={**os.environ, "PYTHONHASHSEED": "7"}, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert other.strip() == str(sorted(found.items()))
