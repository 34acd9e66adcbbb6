"""Random exchanges of the clips of two sides, from which a test learns how much two sides differ by chance.

Clips of one artist are alike, so they move together, as a block. A permutation of single clips would take every new
artist for drift.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MIN_GROUPS = 8
"""Groups of either side; fewer cannot be tested."""
_SEED = 0
"""The same clips must give the same report."""


@dataclass(frozen=True)
class Blocks:
    """The clips of both sides as blocks, one per group and side, and the ways in which the blocks are exchanged."""

    of_clip: NDArray[np.int64]
    """[clips]: the block of each clip, those of the newest first."""
    newest: NDArray[np.float64]
    """[permutations + 1, blocks]: 1 for blocks that count as newest; the first row as observed, the others random."""

    @property
    def membership(self) -> NDArray[np.float64]:
        """[blocks, clips]: 1 where a clip is of a block."""
        return (np.arange(self.newest.shape[1])[:, np.newaxis] == self.of_clip).astype(np.float64)


def permute_blocks(newest_groups: Sequence[str], reference_groups: Sequence[str], permutations: int) -> Blocks:
    """Makes the blocks of clips of these groups; the same groups always get the same permutations.

    Args:
      newest_groups: the group of every clip of the newest side.
      reference_groups: the same for the other side. A group on both sides is two blocks.
      permutations: number of random exchanges.
    """
    blocks = [np.unique(np.asarray(groups), return_inverse=True) for groups in (newest_groups, reference_groups)]
    (new_names, new_blocks), (old_names, old_blocks) = blocks
    observed = np.repeat([1.0, 0.0], [len(new_names), len(old_names)])
    generator = np.random.default_rng(_SEED)
    shuffled = generator.permuted(np.tile(observed, (permutations, 1)), axis=1)
    return Blocks(np.concatenate([new_blocks, len(new_names) + old_blocks]), np.vstack([observed, shuffled]))


def too_few(newest_groups: Sequence[str], reference_groups: Sequence[str]) -> str:
    """Explains why clips of these groups cannot be compared; empty if they can."""
    sides = [
        f"the {name} clips are of {len(set(groups))} groups (artists, recordings)"
        for name, groups in (("newest", newest_groups), ("reference", reference_groups))
        if len(set(groups)) < MIN_GROUPS
    ]
    return f"{' and '.join(sides)}; the test needs at least {MIN_GROUPS} on either side" if sides else ""
