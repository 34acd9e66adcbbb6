"""Where a network is trained: TPU, several GPUs, or the one device there is."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager

import keras
import tensorflow as tf

from components.base.errors import UserError


def device_strategy() -> tuple[tf.distribute.Strategy, str]:
    """The distribution strategy for this machine, and its name in words.

    `TPUStrategy` over the TPU that the environment names, else `MirroredStrategy` over several GPUs, else the default.

    Raises:
      UserError: `TF_CONFIG` names several workers or is no JSON object, or a TPU that is named does not answer.
    """
    _refuse_several_hosts()
    try:
        resolver = tf.distribute.cluster_resolver.TPUClusterResolver()
    except (ValueError, RuntimeError):  # nothing names a TPU; on Google Cloud it is the latter
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
        # Days of training on a processor, paid for as a TPU, would be worse than none.
        raise UserError(
            f"the TPU that the environment names ({resolver.master() or 'local'}) does not answer as one: "
            f"{error.message} Start it, or unset TPU_NAME and KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS to train without"
        ) from error
    return resolver


def _refuse_several_hosts() -> None:
    """Each would train a model of its own: `Model.fit` of Keras 3 knows no strategy over several hosts but a TPU's."""
    try:
        cluster = json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    except (ValueError, AttributeError) as error:
        raise UserError(f"TF_CONFIG in the environment is no JSON object ({error}): mend it, or unset it") from error
    hosts = sum(len(cluster.get(role, ())) for role in ("chief", "master", "worker"))
    if hosts > 1:
        raise UserError(
            f"TF_CONFIG names {hosts} workers, but Keras 3 cannot fit a model on several hosts "
            "(keras-team/keras#20585): give the Trainer one host with several GPUs, or a TPU"
        )


def has_bfloat16() -> bool:
    """Whether the device multiplies bfloat16 matrices in hardware: a TPU, or a GPU of compute capability 8 or more."""
    if tf.config.list_logical_devices("TPU"):
        return True
    details = [tf.config.experimental.get_device_details(gpu) for gpu in tf.config.list_physical_devices("GPU")]
    return bool(details) and all(detail.get("compute_capability", (0, 0)) >= (8, 0) for detail in details)


def precision_policy(precision: str) -> keras.DTypePolicy:
    """Keras' policy for `train.precision`: mixed bfloat16 where `auto` finds the hardware for it."""
    mixed = precision == "auto" and has_bfloat16()
    return keras.DTypePolicy("mixed_bfloat16" if mixed else "float32")


@contextmanager
def training_devices(precision: str) -> Iterator[str]:
    """Networks that are built, compiled and fitted within it use all devices, in the precision asked for.

    Yields:
      Where that is, in words.
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
    """Has batch norm take its statistics over the global batch, where the strategy in scope splits it over replicas.

    Otherwise every replica would normalise its share by itself, and a network would train differently the more devices
    there are. Batch norm inside a pretrained base keeps to the statistics it came with.
    """
    if tf.distribute.get_strategy().num_replicas_in_sync > 1:
        for layer in network.layers:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True
