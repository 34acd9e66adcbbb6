"""Songs that sound the same in two splits: other encodings, cuts or levels of one recording, by their fingerprints.

The hash of the PCM, by which `duplicates` works, sees only what is the same to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from etils import epath
from numpy.typing import NDArray

from components.library.layout import SPLITS, read_manifest
from components.library.repeats.fingerprint import of_text
from components.library.tables import FINGERPRINTS_FILE, read_rows

FEWEST = 8
"""Pairs of peaks that two clips share at one distance in time, at least, to be near-duplicates."""
_LONGEST_RUN = 32
"""Clips with one hash. Of a hash that more have, such as that of a hum of the mains, only neighbours are compared."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A clip as its fingerprint has it."""

    track_id: str
    split: str
    span: int | None
    """None: the span that is being made."""
    fingerprint: str


def read_fingerprints(root: Path, span: int) -> list[Heard]:
    """Reads the fingerprints of the complete span `span`; a span of an earlier version has none.

    Raises:
      UserError: the table is not as it was written.
    """
    if FINGERPRINTS_FILE not in read_manifest(epath.Path(root), span).files:
        return []
    rows = read_rows(root, span, FINGERPRINTS_FILE)
    return [Heard(row["track_id"], row["split"], span, row["fingerprint"]) for row in rows]


@dataclass(frozen=True, slots=True)
class Alike:
    """Two clips of different splits that sound the same."""

    clip: Heard
    """Of the span that is being made; of two such, the one that is nearer to the test."""
    other: Heard
    shared: int
    """Pairs of peaks that they have in common, at one distance in time."""


def alike(clips: Sequence[Heard]) -> list[Alike]:
    """Finds the pairs of `clips` that are near-duplicates across splits, at least one of them new, by track id."""
    prints = [of_text(clip.fingerprint) for clip in clips]
    if not prints:
        return []
    index = np.repeat(np.arange(len(clips)), [len(each) for each in prints])
    hashes, times = np.concatenate(prints).T
    split = np.array([SPLITS.index(clip.split) for clip in clips])
    new = np.array([clip.span is None for clip in clips])
    order = np.argsort(hashes, kind="stable")
    hashes, times, index = hashes[order], times[order].astype(np.int64), index[order]
    found = []
    for lag in range(1, _LONGEST_RUN):
        one, other = index[:-lag], index[lag:]
        same = (hashes[:-lag] == hashes[lag:]) & (split[one] != split[other]) & (new[one] | new[other])
        if not same.any():
            break
        one, other, apart = one[same], other[same], times[lag:][same] - times[:-lag][same]
        turned = one > other
        found.append(
            np.stack([np.where(turned, other, one), np.where(turned, one, other), np.where(turned, -apart, apart)], 1)
        )
    result = []
    for (one_clip, other_clip), shared in _shared(np.concatenate(found)).items() if found else ():
        pair = (clips[one_clip], clips[other_clip])
        first, second = sorted(pair, key=lambda clip: (clip.span is not None, -SPLITS.index(clip.split)))
        result.append(Alike(first, second, shared))
    return sorted(result, key=lambda each: (each.clip.track_id, -each.shared, each.other.track_id))


def _shared(found: NDArray[np.int64]) -> dict[tuple[int, int], int]:
    """Counts what two clips share at one distance in time, where that is enough.

    Args:
      found: two clips and a distance for each common hash, [n, 3].
    """
    rows, counts = np.unique(found, axis=0, return_counts=True)
    # A distance may be rounded to either of two neighbours.
    next_to = np.zeros(len(rows), bool)
    next_to[:-1] = (rows[1:, :2] == rows[:-1, :2]).all(axis=1) & (rows[1:, 2] == rows[:-1, 2] + 1)
    both = counts + np.where(next_to, np.append(counts[1:], 0), 0)
    best: dict[tuple[int, int], int] = {}
    for (one, other, _), count in zip(rows[both >= FEWEST], both[both >= FEWEST], strict=True):
        pair = (int(one), int(other))
        best[pair] = max(int(count), best.get(pair, 0))
    return best
