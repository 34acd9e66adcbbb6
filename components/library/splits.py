"""The split of each group of songs: stratified by genre, and the same for ever."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from components.library.config import SplitConfig

_FILLED_IN_TURN = ("train", "test", "eval")
"""A genre with few groups is first learnt, then tested, then validated."""


@dataclass
class Group:
    """The songs of an artist, or another group that must stay in one split."""

    split: str | None = None
    """None: not assigned yet."""
    span: int | None = None
    """The span that it got its split in; None: the span that is being made."""
    genres: set[str] = field(default_factory=set)


def assign_splits(groups: Mapping[str, Group], shares: SplitConfig) -> dict[str, str]:
    """Assigns every group without a split to one, such that each genre is divided by `shares`.

    Within a genre, as many of its groups are in each split as come closest to the shares (least squares). These rules
    come before that:

    1. A genre's first group is in train.
    2. No split of the library is empty.
    3. A genre with two groups has one in test; with three or more, it has all splits.

    A group of several genres has one split, so that such groups may make a rule impossible. They are assigned first,
    then the others, each time in the order of the SHA-256 of their names: the result depends on nothing else.

    Args:
      groups: by name, those of earlier spans too.
      shares: of the groups; a split whose share is 0 gets none.

    Returns:
      The split of every group.
    """
    splits = [split for split in _FILLED_IN_TURN if getattr(shares, split) > 0.0]
    total = Counter(genre for group in groups.values() for genre in group.genres)
    assigned = {name: group.split for name, group in groups.items() if group.split}
    filled: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, split in assigned.items():
        filled[split].update(groups[name].genres)

    def preference(split: str, genres: Collection[str]) -> tuple[int, bool, int, float]:
        there = filled[split]
        lacking = [genre for genre in genres if not there[genre] and split in splits[: total[genre]]]
        missing = sum(total[genre] * getattr(shares, split) - there[genre] for genre in genres)
        return len(lacking) if split == "train" else 0, not there.total(), len(lacking), missing

    def order(name: str) -> tuple[int, bytes]:
        return -len(groups[name].genres), hashlib.sha256(name.encode("utf-8", "surrogateescape")).digest()

    for name in sorted(groups.keys() - assigned.keys(), key=order):
        genres = sorted(groups[name].genres)  # a sum of floats depends on the order
        best = max(splits, key=lambda split: preference(split, genres))
        assigned[name] = best
        filled[best].update(genres)
    return assigned
