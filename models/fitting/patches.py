"""Patches: a pretrained base sees a fixed number of frames at a time, and a window is the mean of its patches."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras


def patch_starts(frames: int, patch: int, hop: int) -> tuple[int, ...]:
    """Returns the starts of the fewest evenly spaced patches, at most `hop` apart, that cover `frames` frames."""
    last = math.ceil(max(0, frames - patch) / hop)
    return tuple(round(index * (frames - patch) / max(1, last)) for index in range(last + 1))


def mean_over_patches(
    body: "keras.Model", window: "keras.KerasTensor", patch: int, hop: int, names: Sequence[str]
) -> "keras.KerasTensor":
    """Applies `body` to every patch of a window, and takes the mean.

    Args:
      body: from [n, patch, bands] to a dict of outputs [n, size].
      window: [batch, frames, bands]; one that is shorter than a patch is repeated.
      patch: frames of a patch.
      hop: largest distance between the starts of two patches, in frames.
      names: the outputs to take.

    Returns:
      [batch, sum of sizes]: the outputs side by side.
    """
    from keras import ops

    frames, bands = window.shape[1:]
    starts = patch_starts(frames, patch, hop)
    places = [[(max(0, start) + index) % frames for index in range(patch)] for start in starts]
    patches = ops.take(window, places, axis=1)  # [batch, patches, patch, bands]
    outputs = body(ops.reshape(patches, (-1, patch, bands)))  # each [batch * patches, size]
    parts = [ops.reshape(outputs[name], (-1, len(starts), outputs[name].shape[-1])) for name in names]
    return ops.concatenate([ops.mean(part, axis=1) for part in parts], axis=-1)
