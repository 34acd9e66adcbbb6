"""Two small models that were never trained, a store of them, and a server that answers with it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import numpy as np
import pytest
import uvicorn
from etils import epath

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.wav import encode_wav
from components.store.model_card import ModelCard
from components.store.model_store import Lineage, current_version, publish
from pipeline.serving.app import create_app
from pipeline.serving.following import Follower
from pipeline.serving.limits import Limits
from pipeline.serving.metrics import Metrics
from pipeline.serving.server import listening, url_of

if TYPE_CHECKING:
    from pipeline.serving.loaded_model import LoadedModel

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


@dataclass
class Server:
    """A server in this process, on a free port."""

    url: str
    follower: "Follower[LoadedModel]"
    client: httpx.Client

    def predict(self, data: bytes, name: str = "song.wav", **query: object) -> httpx.Response:
        """Sends a song."""
        return self.client.post("/predict", files={"file": (name, data)}, params=query)

    def ask(self, body: object, path: str = "/v1/models/genre:predict") -> httpx.Response:
        """Sends a request of TensorFlow Serving."""
        return self.client.post(path, json=body)


Serve = Callable[..., Server]


@contextmanager
def _serving() -> Iterator[Serve]:
    """Starts servers, and stops them at the end."""
    stops: list[Callable[[], None]] = []

    def start(store: Path, hosts: tuple[str, ...] = (), token: str = "", **limits: object) -> Server:
        from pipeline.serving.loaded_model import LoadedModel

        metrics, place = Metrics(), epath.Path(store)
        follower = Follower(place, lambda version: LoadedModel(place, version, metrics.batches.observe))
        assert follower.look()
        app = create_app(follower, metrics, Limits(**limits), hosts, token)
        opened = listening("127.0.0.1", 0)
        config = uvicorn.Config(app, http="h11", ws="none", log_config=None, timeout_graceful_shutdown=10)
        server = uvicorn.Server(config)
        threads = [
            threading.Thread(target=server.run, kwargs={"sockets": [opened]}),
            threading.Thread(target=follower.follow),
        ]
        url = url_of(opened)
        client = httpx.Client(base_url=url, timeout=120, headers={"Authorization": f"Bearer {token}"} if token else {})

        def stop() -> None:
            client.close()
            server.should_exit = True
            follower.end()
            for thread in threads:
                thread.join()

        stops.append(stop)
        for thread in threads:
            thread.start()
        while not server.started:
            time.sleep(0.01)
        return Server(url, follower, client)

    try:
        yield start
    finally:
        for stop in stops:
            stop()


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Starts servers: `serve(store, hosts=..., token=..., megabytes=..., ...)`."""
    with _serving() as start:
        yield start


@pytest.fixture(scope="module")
def server(exported: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server of a store of its own, in which the first model is served, with the limits that are the default."""
    store = tmp_path_factory.mktemp("served") / "models"
    _push(store, exported[0])
    with _serving() as start:
        yield start(store)


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits until something holds; only a hang takes longer than the limit."""

    def wait(holds: Callable[[], bool]) -> None:
        limit = time.monotonic() + 120
        while not holds():
            assert time.monotonic() < limit, "it does not come"
            time.sleep(0.02)

    return wait
