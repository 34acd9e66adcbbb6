"""Fixtures for every test."""

import csv
import fcntl
import io
import itertools
import json
import os
import pickle
import queue
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
import wave
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pytest

if TYPE_CHECKING:
    from etils import epath
    from playwright.sync_api import Browser

    from components.audio.config import FeatureConfig
    from pipeline.serving.following import Follower
    from pipeline.serving.loaded_model import LoadedModel

REPOSITORY = Path(__file__).resolve().parents[1]
Reply = tuple[int, Any] | tuple[int, Any, float]
"""Status, body for JSON, and seconds before it is sent: more than a client waits is a time-out."""
Transform = Callable[["FeatureConfig", list[bytes], list[bytes]], tuple[list[dict[str, Any]], str]]


NUMBA = pytest.StashKey[Path]()
"""The directory that this process keeps compiled code in."""


@contextmanager
def _kept_numba_cache(config: pytest.Config) -> Iterator[Path]:
    """The compiled code that earlier runs left, for one process at a time."""
    kept = config.cache.mkdir("numba")
    with (kept / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield kept / "compiled"


def pytest_configure(config: pytest.Config) -> None:
    """Gives this process a cache of numba's of its own, before anything imports librosa, and quietens TensorFlow.

    What librosa compiles takes 20 seconds of processor time. Two processes that fill one cache at a time can crash:
    each starts with a copy of what earlier runs compiled.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    own = config.stash[NUMBA] = Path(tempfile.mkdtemp(prefix="genre-tests-numba-"))
    os.environ["NUMBA_CACHE_DIR"] = str(own)
    with _kept_numba_cache(config) as kept:
        if kept.exists():
            shutil.copytree(kept, own, dirs_exist_ok=True)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Keeps what this process compiled, if that is more than is kept, and removes its own cache."""
    own = config.stash[NUMBA]
    with _kept_numba_cache(config) as kept:
        if len(list(own.rglob("*.nbc"))) > len(list(kept.rglob("*.nbc"))):
            copying = kept.with_name("copying")
            for old in (copying, kept):
                shutil.rmtree(old, ignore_errors=True)
            shutil.copytree(own, copying)
            copying.rename(kept)  # whole, or not at all
    shutil.rmtree(own)


LONGEST = (
    "test_end_to_end.py",
    "test_contract.py",
    "test_image.py",
    "test_runners.py",
    "test_year.py",
    "test_kills.py",
    "test_store_in_bucket.py",
    "test_compiled_pipeline.py",
    "test_classical.py",
    "test_cleaning.py",
    "test_walk.py",
    "test_notebook.py",
    "test_readme.py",
    "test_run_on_terminal.py",
    "test_training.py",
    "test_devices.py",
    "test_adversity.py",
    "test_label_errors.py",
    "test_wheel.py",
    "test_watchers.py",
)
"""Files that begin first, so that no worker is left alone with one of them at the end."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the tests of the longest files first; otherwise the order stays."""
    rank = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: rank.get(item.path.name, len(LONGEST)))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings and metadata: $GENRE_SHARED_DATA, or shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    directory = Path(os.environ.get("GENRE_SHARED_DATA", beside))
    if not directory.is_dir():
        pytest.skip(f"no real data at {directory}; set GENRE_SHARED_DATA to where it is")
    return directory


@pytest.fixture(scope="session")
def transform(tmp_path_factory: pytest.TempPathFactory) -> Transform:
    """Runs `preprocessing_fn` on wavs, each by an artist of its own, through TensorFlow Transform and Beam.

    Returns the transformed rows, in any order, and the directory that `tft.TFTransformOutput` reads.
    """
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.audio.preprocessing import ARTIST, AUDIO, GENRE, preprocessing_fn
    from components.beam.config import BeamConfig
    from components.beam.options import beam_args

    def run(features: "FeatureConfig", wavs: list[bytes], genres: list[bytes]) -> tuple[list[dict[str, Any]], str]:
        directory = tmp_path_factory.mktemp("transform")
        spec = {name: tf.io.FixedLenFeature([1], tf.string) for name in (AUDIO, GENRE, ARTIST)}
        metadata = tft.DatasetMetadata.from_feature_spec(spec)
        examples = [
            {AUDIO: [wav], GENRE: [genre], ARTIST: [f"artist {number}".encode()]}
            for number, (wav, genre) in enumerate(zip(wavs, genres, strict=True))
        ]
        function = partial(preprocessing_fn, custom_config={"features": features.model_dump(mode="json")})
        options = PipelineOptions(beam_args(BeamConfig(mode="in_memory")))
        with beam.Pipeline(options=options) as pipeline, tft_beam.Context(temp_dir=str(directory / "temporary")):
            raw = pipeline | beam.Create(examples)
            (rows, _), transform_fn = (raw, metadata) | tft_beam.AnalyzeAndTransformDataset(function)
            transform_fn | tft_beam.WriteTransformFn(str(directory / "output"))
            rows | beam.Map(pickle.dumps) | beam.io.WriteToTFRecord(str(directory / "rows"), shard_name_template="")
        records = tf.data.TFRecordDataset(str(directory / "rows")).as_numpy_iterator()
        return [pickle.loads(record) for record in records], str(directory / "output")

    return run


class Ffmpeg:
    """Writes songs, and reads them."""

    FORMATS = {  # noqa: RUF012 (a constant)
        ".mp3": ("mp3", "libmp3lame", "s16p"),
        ".flac": ("flac", "flac", "s16"),
        ".ogg": ("ogg", "", ""),
        ".opus": ("ogg", "libopus", "flt"),
        ".m4a": ("mp4", "aac", "fltp"),
        ".wav": ("wav", "pcm_s16le", "s16"),
        ".aiff": ("aiff", "pcm_s16be", "s16"),
        ".wma": ("asf", "wmav2", "fltp"),
    }
    """Container, codec and form of samples by the end of a file's name."""

    def encode(
        self, file: Path, samples: np.ndarray | float = 440.0, rate: int = 48000, bit_rate: int = 128000, **tags: str
    ) -> Path:
        """Writes samples [n], or a tone of half a second of so many Hz, with tags.

        FFmpeg's own encoder of Vorbis is an experiment: that sound is of libsndfile.
        """
        import av
        import soundfile

        if isinstance(samples, float):
            samples = 0.3 * np.sin(2 * np.pi * samples * np.arange(rate // 2) / rate)
        samples = samples.astype(np.float32)
        kind, codec, form = self.FORMATS[file.suffix]
        file.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(file), "w", format=kind) as container:
            container.metadata.update(tags)
            if not codec:
                vorbis = io.BytesIO()
                soundfile.write(vorbis, samples, rate, format="OGG", subtype="VORBIS")
                with av.open(io.BytesIO(vorbis.getvalue())) as source:
                    stream = container.add_stream_from_template(source.streams.audio[0])
                    stream.metadata.update(tags)
                    for packet in source.demux(audio=0):
                        if packet.dts is not None:
                            packet.stream = stream
                            container.mux(packet)
                return file
            stream = container.add_stream(codec, rate=rate, layout="mono", bit_rate=bit_rate)
            stream.metadata.update(tags if kind == "ogg" else {})
            stream.codec_context.open()
            frame = av.AudioFrame.from_ndarray(samples[np.newaxis], format="flt", layout="mono")
            frame.rate = rate
            resampler = av.AudioResampler(form, layout="mono", rate=rate, frame_size=stream.frame_size or 1024)
            for part in [*resampler.resample(frame), *resampler.resample(None)]:
                container.mux(stream.encode(part))
            container.mux(stream.encode(None))
        return file

    def tags(self, file: Path) -> dict[str, str]:
        """Returns the tags by their names in lower case."""
        import av

        with av.open(str(file)) as container:
            found = {**container.metadata, **container.streams.audio[0].metadata}
        return {name.lower(): value for name, value in found.items()}

    def sound(self, file: Path) -> bytes:
        """Returns the encoded sound alone."""
        import av

        with av.open(str(file)) as container:
            return b"".join(bytes(packet) for packet in container.demux(audio=0))


@pytest.fixture(scope="session")
def ffmpeg() -> Ffmpeg:
    """FFmpeg, through PyAV."""
    return Ffmpeg()


@pytest.fixture(scope="session")
def export_model() -> Callable[[Path, "FeatureConfig"], Path]:
    """Exports, as the Trainer does, a network of two layers with random weights; a clip is one window if not told."""
    import keras
    import tensorflow as tf

    from components.audio.preprocessing import AUDIO, FEATURE
    from components.audio.representations import represent, to_bytes
    from components.audio.waveform import decode_wavs
    from components.store.model_card import ModelCard
    from models.config import EMBEDDING, ModelConfig
    from models.serving import GenreModel, export
    from models.windows import window_shape

    def write(directory: Path, features: "FeatureConfig", window_seconds: float | None = None) -> Path:
        class Transform(tf.Module):
            def __call__(self, inputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
                samples = decode_wavs(tf.reshape(inputs[AUDIO], [-1]), features.audio)
                return {FEATURE: to_bytes(represent(samples, features))}

        keras.utils.set_random_seed(0)
        seconds = window_seconds or features.audio.clip_seconds
        window = keras.Input(window_shape(ModelConfig(window_seconds=seconds), features))
        embedding = keras.layers.Dense(5, "tanh", name=EMBEDDING)(keras.layers.Flatten()(window))
        network = keras.Model(window, keras.layers.Dense(len(features.genres))(embedding))
        card = ModelCard(kind="dense", parameters=network.count_params(), window_seconds=seconds, features=features)
        export(GenreModel(network, Transform(), features), card, str(directory))
        return directory

    return write


def _compose(root: Path, per_split: dict[str, int], seed: int = 7) -> Path:
    """Tones, noises and clicks of a second: three genres that a small network tells apart in a few epochs."""
    generator = np.random.default_rng(seed)
    time_axis = np.arange(8000) / 8000
    rows = []
    for split, count in per_split.items():
        for index in range(count):
            clips = {
                "tone": np.sin(2 * np.pi * generator.uniform(200, 2000) * time_axis),
                "noise": generator.uniform(-1, 1, 8000),
                "clicks": np.where(np.arange(8000) % generator.integers(700, 1500) < 20, 1.0, 0.0),
            }
            for name, samples in clips.items():
                path = root / name / f"{split}-{index}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                noisy = samples * generator.uniform(0.2, 0.9) + generator.normal(0, 0.02, 8000)
                with wave.open(str(path), "wb") as file:
                    file.setparams((1, 2, 8000, 0, "NONE", ""))
                    file.writeframes((np.clip(noisy, -1, 1) * 32767).astype("<i2").tobytes())
                rows.append({"path": path.relative_to(root), "genre": name, "split": split})
    with (root / "tracks.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return root / "tracks.csv"


@pytest.fixture(scope="session")
def compose() -> Callable[..., Path]:
    """Makes a small library in a directory, with so many songs per genre in each split; returns its list for ingest."""
    return _compose


CHROMIUM = Path("/usr/bin/chromium")
_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--autoplay-policy=no-user-gesture-required", "--mute-audio"),
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)


@pytest.fixture(scope="module")
def chromium() -> Iterator["Browser"]:
    """A headless Chromium that is installed already.

    It ends with the module: while it is open, an event loop counts as running, and nobody else can start one.
    """
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: an extra of `dev`")
    if not CHROMIUM.exists():
        pytest.skip(f"no Chromium at {CHROMIUM}")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=list(_QUIET))
        yield browser
        browser.close()


@dataclass(frozen=True)
class Asked:
    """One request as it came; `body` as JSON where it is, else as bytes."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


class ScriptedService:
    """A web service on this machine that answers as a test tells it, and keeps what it was asked.

    For clients of services that are not here: the client, its requests and its retries are real. What nobody scripted
    is answered with 501 and listed in `unexpected`.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[Asked] = []
        self.unexpected: list[Asked] = []
        self._script: list[tuple[str, re.Pattern[str], list[Reply]]] = []
        self._lock = threading.Lock()

    def on(self, method: str, path: str, *replies: Reply) -> None:
        """Answers `method` at what the regular expression `path` matches in full, query included.

        Of several replies each is given once, and the last for ever. A later call goes before earlier ones.
        """
        self._script.insert(0, (method, re.compile(path), list(replies)))

    def reply_to(self, asked: Asked) -> Reply:
        """The next scripted reply."""
        with self._lock:
            self.asked.append(asked)
            for method, path, replies in self._script:
                if method == asked.method and path.fullmatch(asked.path):
                    return replies.pop(0) if len(replies) > 1 else replies[0]
            self.unexpected.append(asked)
            return 501, {"error": {"message": f"nobody scripted {asked.method} {asked.path}"}}

    def requests(self, method: str, path: str) -> list[Asked]:
        """What was asked of `path`, a regular expression as in `on`."""
        return [asked for asked in self.asked if asked.method == method and re.fullmatch(path, asked.path)]


@pytest.fixture(scope="session")
def storage(pytestconfig: pytest.Config) -> Iterator[str]:
    """The address of a server of Google's storage API that others wrote: fake-gcs-server."""
    out = pytestconfig.cache.mkdir("fake-gcs-server")
    if not (out / "fake-gcs-server").is_file():
        if shutil.which("go") is None:
            pytest.skip("there is no go on this machine to make fake-gcs-server with")
        get = ["go", "install", "github.com/fsouza/fake-gcs-server@v1.52.3"]
        done = subprocess.run(get, env=os.environ | {"GOBIN": str(out)}, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"go could not make fake-gcs-server: {done.stderr[-300:]}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [str(out / "fake-gcs-server"), "-scheme", "http", "-backend", "memory", "-host", "127.0.0.1"]
    command += ["-port", address.rpartition(":")[2], "-public-host", address, "-external-url", f"http://{address}"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait(lambda: _answers(f"http://{address}/storage/v1/b?project=p"))
            yield f"http://{address}"
        finally:
            server.kill()


@pytest.fixture
def bucket(
    storage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, until: Callable[[Callable[[], bool]], None]
) -> Iterator["epath.Path"]:
    """A new bucket of `storage`, for TensorFlow and for Google's library alike; what fails is told to `faults`."""
    from etils import epath
    from google.auth.credentials import AnonymousCredentials
    from google.cloud.storage import Client

    place = tmp_path / "proxy"
    place.mkdir()
    command = [sys.executable, REPOSITORY / "tests" / "google_storage.py", storage.partition("//")[2], place]
    with (place / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as proxy:
        try:
            until(lambda: (place / "address").is_file() and (place / "address").read_text() != "")
            for name, value in {
                "STORAGE_EMULATOR_HOST": storage,
                "https_proxy": (place / "address").read_text(),
                "CURL_CA_BUNDLE": str(place / "ca.pem"),
                "NO_GCE_CHECK": "true",
            }.items():
                monkeypatch.setenv(name, value)
            name = f"bucket-{uuid.uuid4().hex[:8]}"
            Client(project="p", credentials=AnonymousCredentials()).create_bucket(name)
            yield epath.Path(f"gs://{name}")
        finally:
            proxy.kill()


@pytest.fixture
def faults(bucket: "epath.Path", tmp_path: Path) -> Path:
    """What happens to uploads to `bucket` while it is in this file: "429", "503", or "cut"."""
    return tmp_path / "proxy" / "faults"


@pytest.fixture
def service() -> Iterator[ScriptedService]:
    """A web service on a free port of the loopback interface."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True  # or every answer waits 40 ms between its headers and its body

        def _answer(self) -> None:
            raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(raw) if raw else None
            except ValueError:
                body = raw
            status, answer, *after = service.reply_to(Asked(self.command, self.path, body, dict(self.headers)))
            time.sleep(sum(after))
            text = json.dumps(answer).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(text)))
                if status // 100 == 3:
                    self.send_header("Location", answer["location"])
                self.end_headers()
                self.wfile.write(text)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client has given up, as a test wanted it to

        do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _answer  # noqa: N815 (names that http.server asks for)

        def log_message(self, *_: object) -> None:
            """Says nothing: `asked` has it all."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    service = ScriptedService(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield service
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@dataclass(frozen=True)
class Done:
    """How a command ended."""

    returncode: int
    """Or the negative number of the signal that killed it."""
    stdout: str
    stderr: str


class Zygote:
    """The process that forks for every command; see `zygote.py`."""

    def __init__(self, directory: Path) -> None:
        """Starts it; what commands say is kept in `directory`."""
        command = [sys.executable, str(REPOSITORY / "tests" / "zygote.py")]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(directory / "zygote.log").open("w"),
            env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
            text=True,
        )
        self._directory = directory
        self._ids = itertools.count(1)
        self._told: dict[int, queue.Queue[dict[str, int] | None]] = {}
        self._lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        for line in self._process.stdout:
            answer = json.loads(line)
            self._told[answer["id"]].put(answer)
        for waiting in self._told.values():
            waiting.put(None)

    def run(
        self,
        *argv: object,
        cwd: Path | None = None,
        kill_after: float | None = None,
        timeout: float = 600.0,
        **fate: list[Any],
    ) -> Done:
        """Runs a command, `genre` or a module's name first.

        Args:
          cwd: where; None: in the repository.
          kill_after: seconds until it is killed from outside.
          timeout: seconds until it is killed, and the test fails.
          fate: what befalls it, as `die_after=["Transform"]`; see `zygote.py`.
        """
        number = next(self._ids)
        said = [self._directory / f"{number}.{name}" for name in ("out", "err")]
        job = {"id": number, "argv": list(map(str, argv)), "cwd": str(cwd or REPOSITORY)} | fate
        job |= {"stdout": str(said[0]), "stderr": str(said[1])}
        answers = self._told[number] = queue.Queue()
        with self._lock:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
        pid = self._answer(answers, timeout)["pid"]
        try:
            code = self._answer(answers, timeout if kill_after is None else kill_after)["code"]
        except queue.Empty:
            os.kill(pid, signal.SIGKILL)
            code = self._answer(answers, timeout)["code"]
            assert kill_after is not None, f"{argv} did not end within {timeout} s"
        return Done(code, *(path.read_text(errors="replace") if path.exists() else "" for path in said))

    def _answer(self, answers: "queue.Queue[dict[str, int] | None]", timeout: float) -> dict[str, int]:
        answer = answers.get(timeout=timeout)
        assert answer is not None, f"the process that forks has ended: see {self._directory / 'zygote.log'}"
        return answer

    def close(self) -> None:
        """Ends it."""
        self._process.stdin.close()
        self._process.wait(600)


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    """Runs commands, each as a process of its own, without the seconds that their imports take."""
    process = Zygote(tmp_path_factory.mktemp("zygote"))
    yield process
    process.close()


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
        import uvicorn
        from etils import epath

        from pipeline.serving.app import create_app
        from pipeline.serving.following import Follower
        from pipeline.serving.limits import Limits
        from pipeline.serving.loaded_model import LoadedModel
        from pipeline.serving.metrics import Metrics
        from pipeline.serving.server import listening, url_of

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
        _wait(lambda: server.started)
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
def servers() -> Iterator[Serve]:
    """Starts servers for all tests of a file, as `serve`."""
    with _serving() as start:
        yield start


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], None]:
    """Waits until something holds; only a hang takes longer than the limit."""

    return _wait


def _wait(holds: Callable[[], bool]) -> None:
    limit = time.monotonic() + 120
    while not holds():
        assert time.monotonic() < limit, "it does not come"
        time.sleep(0.02)


def _answers(address: str) -> bool:
    try:
        return httpx.get(address).is_success
    except httpx.TransportError:
        return False
