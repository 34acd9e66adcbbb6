"""The newest clips that are least like the earlier ones, for a person to hear. No TensorFlow, no TFX."""

import numpy as np
from numpy.typing import NDArray

from components.drift.report import Far

FARTHEST = 6
"""Clips that are named."""


def farthest(
    track_ids: NDArray[np.str_],
    genres: NDArray[np.str_],
    newest: NDArray[np.floating],
    reference: NDArray[np.floating],
) -> tuple[Far, ...]:
    """Finds the newest clips whose nearest earlier clip is farthest away.

    Args:
      track_ids: of the n newest clips.
      genres: of the same.
      newest: [n, E], their embeddings.
      reference: [m, E], the earlier clips' embeddings; m is at least 2.

    Returns:
      At most FARTHEST, the farthest first. A distance is in units of the median distance of an earlier clip to its
      nearest other one.
    """
    from scipy.spatial.distance import cdist

    scale = reference.std(axis=0)
    scale[scale == 0] = 1.0
    ours, theirs = newest / scale, reference / scale
    among = cdist(theirs, theirs)
    np.fill_diagonal(among, np.inf)
    typical = float(np.median(among.min(axis=1))) or 1.0
    distances = cdist(ours, theirs).min(axis=1) / typical
    first = np.argsort(-distances, kind="stable")[:FARTHEST].tolist()
    return tuple(
        Far(track_id=str(track_ids[index]), genre=str(genres[index]), distance=float(distances[index]))
        for index in first
    )
