"""Devices, precision and seed of a training.

Everything that training sets for the whole process is set here: the distribution strategy, Keras's dtype policy and the
seeds. It is undone at the end of a `with` block, except for what libraries cannot undo: a TPU stays initialised, and
TensorFlow and Keras keep their seed, as they do not give the one before. `TF_CONFIG` is only read.
"""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import numpy as np
import tensorflow as tf

from components.base.errors import UserError
from models.fitting.hosts import refuse_several_hosts


def device_strategy() -> tuple[tf.distribute.Strategy, str]:
    """Chooses the distribution strategy for this machine.

    `TPUStrategy` over the TPU that the environment names, else `MirroredStrategy` over several GPUs, else the default.

    Returns:
      The strategy, and its description for the history.

    Raises:
      UserError: `TF_CONFIG` names several workers or is no JSON object, or the TPU that the environment names does not
        answer.
    """
    refuse_several_hosts()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    except (ValueError, RuntimeError):  # no TPU is named; on Google Cloud this is a RuntimeError
        resolver = None
    if resolver is not None:
        strategy = tf.distribute.TPUStrategy(_connected(resolver))
        return strategy, f"TPU, {strategy.num_replicas_in_sync} cores"
    gpus = tf.config.list_logical_devices("GPU")
    if len(gpus) > 1:
        return tf.distribute.MirroredStrategy(), f"{len(gpus)} GPUs, mirrored"
    return tf.distribute.get_strategy(), "one GPU" if gpus else "CPU"


def _connected(
    resolver: tf.distribute.cluster_resolver.TPUClusterResolver,
) -> tf.distribute.cluster_resolver.TPUClusterResolver:
    try:
        tf.config.experimental_connect_to_cluster(resolver)
        tf.tpu.experimental.initialize_tpu_system(resolver)
    except tf.errors.OpError as error:
        # Not on the processor instead: that would take days, at the price of a TPU.
        raise UserError(
            f"the TPU that the environment names ({resolver.master() or 'local'}) does not answer as one: "
            f"{error.message} Start it, or unset TPU_NAME and KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS to train without"
        ) from error
    return resolver


def has_bfloat16() -> bool:
    """Returns True on a TPU, or if all GPUs have compute capability 8 or more: they multiply bfloat16 in hardware."""
    if tf.config.list_logical_devices("TPU"):
        return True
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return bool(details) and all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)


def precision_policy(precision: str) -> keras.DTypePolicy:
    """Returns Keras' policy for `train.precision`: mixed bfloat16 for `auto` where the hardware has it."""
    mixed = precision == "auto" and has_bfloat16()
    return keras.DTypePolicy("mixed_bfloat16" if mixed else "float32")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seeds Python, NumPy, TensorFlow and Keras; restores the states of Python and NumPy at the end."""
    python, numpy = random.getstate(), np.random.get_state()
    keras.utils.set_random_seed(seed)
    try:
        yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


@contextmanager
def training_devices(precision: str) -> Iterator[str]:
    """Has networks that are built, compiled and fitted inside it use all devices, in the given precision.

    Yields:
      A description of the devices, for the history.
    """
    strategy, where = device_strategy()
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision_policy(precision))
    try:
        with strategy.scope():
            yield where
    finally:
        keras.config.set_dtype_policy(before)


def synchronise_batch_norm(network: keras.Model) -> None:
    """Makes batch norm use statistics of the global batch, where the strategy in scope splits it over replicas.

    Otherwise every replica would normalise its share by itself, and training would depend on the number of devices.
    Batch norm inside a pretrained base keeps its own statistics.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
