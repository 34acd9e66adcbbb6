"""Pretrained weights: what there is, where it comes from, and the copy on this machine. Nothing is fetched unasked.

`genre weights KIND` fetches; training only looks for what is there.
"""

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from components.base.errors import UserError

PRETRAINED = "pretrained"
"""Value of `model.options.weights` that means the copy that `genre weights` fetched."""


@dataclass(frozen=True)
class Weights:
    """Pretrained weights of a kind."""

    file: str
    """Name of the file or directory in the cache."""
    source: str
    """Where they are fetched from."""
    megabytes: float
    """To download."""
    licence: str
    trained_on: str
    fetch: Callable[[Path], None]
    """Writes the weights to a path in an empty directory."""


def _url(address: str, unpack: bool) -> Callable[[Path], None]:
    def fetch(path: Path) -> None:
        import keras

        kept = keras.utils.get_file(
            path.name + (".tar.gz" if unpack else ""), address, cache_dir=str(path.parent), extract=unpack
        )
        Path(kept).rename(path)

    return fetch


MUSICNN_WHEEL = "musicnn==0.1.0 --hash=sha256:f38a4890c648c1ddbb141c5d96d2b0a8cfcd36746002d896989f7b88beb65cfa"


def _musicnn(path: Path) -> None:
    """Takes the checkpoint from the wheel of PyPI's `musicnn`, which cannot be installed beside a recent numpy."""
    import numpy as np
    import tensorflow as tf

    wanted = path.parent / "requirements.txt"
    wanted.write_text(MUSICNN_WHEEL)
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes", "-r", str(wanted)]
    result = subprocess.run([*command, "--dest", str(path.parent)], capture_output=True, text=True, check=False)
    if result.returncode:
        raise OSError(result.stderr.strip())
    with zipfile.ZipFile(next(path.parent.glob("*.whl"))) as wheel:
        for suffix in ("index", "data-00000-of-00001"):
            (path.parent / f"checkpoint.{suffix}").write_bytes(wheel.read(f"musicnn/MSD_musicnn/.{suffix}"))
    checkpoint = tf.train.load_checkpoint(str(path.parent / "checkpoint"))
    layers = ("conv2d", "batch_normalization", "dense")
    names = [
        name
        for name in checkpoint.get_variable_to_shape_map()
        if name.startswith(layers) and name.count("/") == 1  # the others are Adam's
    ]
    with path.open("wb") as file:
        np.savez(file, **{name: checkpoint.get_tensor(name) for name in sorted(names)})


WEIGHTS = {
    "musicnn": Weights(
        "musicnn_msd.npz",
        "the wheel of musicnn 0.1.0 on the Python package index",
        29.3,
        "ISC, Music Technology Group, Universitat Pompeu Fabra",
        "the 50 most frequent tags of 200,000 songs of the Million Song Dataset",
        _musicnn,
    ),
    "yamnet": Weights(
        "yamnet_1",
        HUB := "https://tfhub.dev/google/yamnet/1?tf-hub-format=compressed",
        14.6,
        "Apache 2.0, Google",
        "521 kinds of sound in the two million clips of AudioSet",
        _url(HUB, unpack=True),
    ),
    "mobilenet": Weights(
        "mobilenet_v2_1.0_224_no_top.h5",
        IMAGENET := "https://storage.googleapis.com/tensorflow/keras-applications/mobilenet_v2/"
        "mobilenet_v2_weights_tf_dim_ordering_tf_kernels_1.0_224_no_top.h5",
        9.4,
        "Apache 2.0, Google",
        "1.3 million photographs of ImageNet",
        _url(IMAGENET, unpack=False),
    ),
}


def cached(kind: str) -> Path:
    """Returns the place of a kind's weights in the user's cache, whether they are there or not."""
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "genre" / WEIGHTS[kind].file


def place(kind: str, weights: str) -> str:
    """Returns the path that `model.options.weights` of a kind means."""
    return str(cached(kind)) if weights == PRETRAINED else weights


def fetch(kind: str) -> Path:
    """Fetches a kind's weights into the user's cache, whole or not at all; returns their path.

    Raises:
      UserError: they cannot be fetched.
    """
    path = cached(kind)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".fetch-") as directory:
        partial = Path(directory) / path.name
        try:
            WEIGHTS[kind].fetch(partial)
        except Exception as error:  # Keras raises plain Exceptions where a download fails
            raise UserError(
                f"the weights of {kind} cannot be fetched from {WEIGHTS[kind].source} ({error}). Where there is no "
                f"network, fetch them elsewhere and set model.options.weights to their path"
            ) from error
        partial.replace(path)
    return path
