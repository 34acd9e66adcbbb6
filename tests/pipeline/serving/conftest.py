"""Two small models that were never trained, a store of them, and a server that answers with it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from etils import epath

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.wav import encode_wav
from components.store.model_card import ModelCard
from components.store.model_store import Lineage, current_version, publish

RATE = 8000
GENRES = ("clicks", "noise", "tone")
AUDIO = AudioConfig(sample_rate=RATE, clip_seconds=1.0)
FEATURES = FeatureConfig(
    representation="log_mel", genres=GENRES, audio=AUDIO, mel=MelConfig(n_fft=512, hop_length=256, n_mels=24)
)


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two models of the same genres, exported as `models.serving` does, each of which has another opinion.

    Their networks have large random weights, so that songs get different answers.
    """
    import keras
    import tensorflow as tf

    from components.audio.preprocessing import AUDIO as WAV
    from components.audio.preprocessing import FEATURE
    from components.audio.representations import represent, to_bytes
    from components.audio.waveform import decode_wavs
    from models.config import ModelConfig
    from models.registry import load
    from models.serving import GenreModel, export
    from models.windows import window_shape

    class Transform(tf.Module):
        def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            return {FEATURE: to_bytes(represent(decode_wavs(tf.reshape(inputs[WAV], [-1]), AUDIO), FEATURES))}

    keras.utils.set_random_seed(1)
    model = ModelConfig(kind="mel_cnn", window_seconds=0.5, options={"filters": [8]})
    module, options = load(model)
    network = module.build(options, window_shape(model, FEATURES), len(GENRES))
    served = GenreModel(network, Transform(), FEATURES)
    card = ModelCard(
        kind=model.kind, parameters=network.count_params(), window_seconds=model.window_seconds, features=FEATURES
    )
    first = [8 * values if values.ndim == 2 else values for values in network.get_weights()]
    second = [-values if values.ndim == 2 else values for values in first]
    directory = tmp_path_factory.mktemp("exported")
    for name, weights in (("1", first), ("2", second)):
        network.set_weights(weights)
        export(served, card, str(directory / name))
    return directory / "1", directory / "2"


def _push(store: Path, saved_model: Path) -> int:
    place = epath.Path(store)
    parent = current_version(place)
    candidate = f"{saved_model.name} after {parent}"
    lineage = Lineage(candidate=candidate, parent=parent, data="songs", span=1, window=(1,))
    return publish(place, epath.Path(saved_model), lineage)


@pytest.fixture
def push() -> Callable[[Path, Path], int]:
    """Pushes a model into a store, as a run does; returns its version."""
    return _push


@pytest.fixture
def store(tmp_path: Path, exported: tuple[Path, Path]) -> Path:
    """A model store in which the first model is served, as version 1."""
    assert _push(tmp_path / "models", exported[0]) == 1
    return tmp_path / "models"


def _sound(seconds: float, seed: int = 0, rate: int = RATE) -> np.ndarray:
    generator = np.random.default_rng(seed)
    time_axis = np.arange(round(seconds * rate)) / rate
    turn = (2 * time_axis).astype(int) % 3
    tone = np.sin(2 * np.pi * generator.uniform(200, 2000) * time_axis)
    noise = generator.uniform(-1, 1, len(time_axis))
    clicks = np.where(np.arange(len(time_axis)) % 900 < 20, 1.0, 0.0)
    return (np.choose(turn, [tone, noise, clicks]) * 12000).astype(np.int16)


@pytest.fixture(scope="session")
def sound() -> Callable[..., np.ndarray]:
    """Makes notes, noise and clicks in turn, each half a second: int16, of so many `seconds`, a `seed` and a `rate`."""
    return _sound


@pytest.fixture(scope="session")
def wav() -> Callable[..., bytes]:
    """Makes a WAV file of `sound`, as the model takes it, of so many `seconds` and a `seed`."""
    return lambda seconds, seed=0: encode_wav(_sound(seconds, seed), RATE)


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory, servers: Any) -> Any:
    """A server of a store of its own, in which the first model is served, with the limits that are the default."""
    store = tmp_path_factory.mktemp("served") / "models"
    _push(store, exported[0])
    return servers(store)
