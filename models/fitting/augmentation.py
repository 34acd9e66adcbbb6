"""Changes of the training windows, drawn anew for every batch: random starts, SpecAugment and mixup."""

import dataclasses

import tensorflow as tf

from models.config import TrainConfig


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Changes of a training window. The defaults change nothing."""

    time_shift: bool = False
    """True: windows start anywhere in the clip, and go on from its start after its end. False: at the clip's start."""
    frequency_masks: int = 0
    """Bands of neighbouring mel bins that are set to the floor."""
    frequency_mask_share: float = 0.0
    """Widest band, as a share of the mel bins, 0 to 1."""
    time_masks: int = 0
    """Stretches of frames that are set to the floor."""
    time_mask_share: float = 0.0
    """Longest stretch, as a share of the window, 0 to 1."""
    mixup: float = 0.0
    """Alpha of the Beta distribution of the blending weights; 0: no mixup."""


LEVELS = {
    "off": Augmentation(),
    "light": Augmentation(
        time_shift=True,
        frequency_masks=1,
        frequency_mask_share=0.15,
        time_masks=1,
        time_mask_share=0.15,
        mixup=0.2,
    ),
    "strong": Augmentation(
        time_shift=True,
        frequency_masks=2,
        frequency_mask_share=0.25,
        time_masks=2,
        time_mask_share=0.2,
        mixup=0.4,
    ),
}
"""By the setting `train.augment`."""


def augmentation_of(config: TrainConfig) -> Augmentation:
    """Returns the level that `train.augment` names, with `train.mixup` where that is set."""
    level = LEVELS[config.augment]
    return level if config.mixup is None else dataclasses.replace(level, mixup=config.mixup)


def random_windows(clips: tf.Tensor, window: int, seed: tf.Tensor) -> tf.Tensor:
    """Cuts one window per clip, at any start and round its end: [batch, steps, ...] -> [batch, window, ...]."""
    batch, steps = tf.shape(clips)[0], tf.shape(clips)[1]
    start = tf.random.stateless_uniform([batch, 1], seed, maxval=steps, dtype=tf.int32)
    return tf.gather(clips, (start + tf.range(window)) % steps, axis=1, batch_dims=1)


def _mask(size: tf.Tensor, batch: tf.Tensor, share: float, seed: tf.Tensor) -> tf.Tensor:
    """Draws bool [batch, size], False on one stretch of at most `share` of the axis."""
    steps = tf.cast(size, tf.float32)
    draws = tf.random.stateless_uniform([2, batch, 1], seed)
    width = tf.floor(draws[0] * (tf.floor(share * steps) + 1.0))  # 0 to the widest whole number of entries
    start = tf.floor(draws[1] * (steps - width + 1.0))
    position = tf.range(steps)[tf.newaxis, :]
    return tf.logical_or(position < start, position >= start + width)


def spec_augment(windows: tf.Tensor, augmentation: Augmentation, seed: tf.Tensor) -> tf.Tensor:
    """Sets bands and stretches of time to 0, the floor (Park et al. 2019, SpecAugment, without time warping).

    Args:
      windows: float32 [batch, frames, n_mels] with the floor at 0.
      seed: int32 [2].
    """
    batch, frames, mels = tf.unstack(tf.shape(windows))
    for index in range(augmentation.frequency_masks):
        kept = _mask(mels, batch, augmentation.frequency_mask_share, seed + tf.constant([index, 1]))
        windows *= tf.cast(kept, windows.dtype)[:, tf.newaxis, :]
    for index in range(augmentation.time_masks):
        kept = _mask(frames, batch, augmentation.time_mask_share, seed + tf.constant([index, 2]))
        windows *= tf.cast(kept, windows.dtype)[:, :, tf.newaxis]
    return windows


def mixup(windows: tf.Tensor, targets: tf.Tensor, alpha: float, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Blends each example with another of its batch (Zhang et al. 2018), with weights from Beta(alpha, alpha).

    Args:
      windows: float32 [batch, ...].
      targets: float32 [batch, classes].
      seed: int32 [2].
    """
    batch = tf.shape(windows)[0]
    gammas = tf.random.stateless_gamma([2, batch], seed, alpha)
    weight = tf.math.divide_no_nan(gammas[0], gammas[0] + gammas[1])
    weight = tf.maximum(weight, 1.0 - weight)
    other = tf.random.experimental.stateless_shuffle(tf.range(batch), seed + tf.constant([0, 1]))

    def blend(values: tf.Tensor) -> tf.Tensor:
        share = tf.reshape(weight, [batch] + [1] * (values.shape.rank - 1))
        return share * values + (1.0 - share) * tf.gather(values, other)

    return blend(windows), blend(targets)
