"""The split of each group of songs: stratified by genre, and the same for ever."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from components.library.config import SplitConfig

_FILLED_IN_TURN = ("train", "test", "eval")
"""A genre with few groups is first learnt, then tested, then validated."""
_ORDERS = 8
"""In which groups are assigned, at most."""


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

    1. A genre with one group or two has one in train.
    2. No split of the library is empty.
    3. A genre with two groups has the other in test; with three or more, it has all splits.

    A group of several genres has one split, so that such groups may make a rule impossible. They are assigned first,
    then the others, each time in the order of a hash of their names; then single groups move while that helps. Where a
    rule does not hold in the end, other orders are tried. The result depends on nothing but the arguments.

    Args:
      groups: by name, those of earlier spans too.
      shares: of the groups; a split whose share is 0 gets none.

    Returns:
      The split of every group.
    """
    found = [_assign(groups, shares, 0)]
    while found[-1][0] and len(found) < _ORDERS:
        found.append(_assign(groups, shares, len(found)))
    return min(found, key=lambda each: each[0])[1]


def _assign(groups: Mapping[str, Group], shares: SplitConfig, salt: int) -> tuple[int, dict[str, str]]:
    """Assigns the groups in the order that `salt` gives; returns how often the rules do not hold, and the splits."""
    splits = [split for split in _FILLED_IN_TURN if getattr(shares, split) > 0.0]
    total = Counter(genre for group in groups.values() for genre in group.genres)
    assigned = {name: group.split for name, group in groups.items() if group.split}
    filled: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for name, split in assigned.items():
        filled[split].update(groups[name].genres)

    def lacking(split: str, genres: Iterable[str]) -> list[str]:
        return [genre for genre in genres if not filled[split][genre] and split in splits[: total[genre]]]

    def preference(split: str, genres: Collection[str]) -> tuple[int, bool, int, float]:
        there, first = filled[split], lacking(split, genres)
        missing = sum(total[genre] * getattr(shares, split) - there[genre] for genre in genres)
        # A group in `split` lowers the sum of the squares by 2 missing - 1.
        few = sum(total[genre] < len(splits) for genre in first) if split == "train" else 0
        return few, not any(there.values()), len(first), round(missing, 9)

    def order(name: str) -> tuple[int, bytes]:
        return -len(groups[name].genres), hashlib.sha256(f"{salt}/{name}".encode("utf-8", "surrogateescape")).digest()

    new = sorted(groups.keys() - assigned.keys(), key=order)
    moved = True
    while moved:
        moved = False
        for name in new:
            genres = sorted(groups[name].genres)  # a sum of floats depends on the order
            before = assigned.get(name)
            if before:
                filled[before].subtract(genres)
            rated = {split: (*preference(split, genres), split == before) for split in splits}
            assigned[name] = max(splits, key=rated.__getitem__)
            filled[assigned[name]].update(genres)
            moved |= assigned[name] != before
    return sum(len(lacking(split, total)) for split in splits), assigned
