"""`import genre`, against TensorFlow's own signature of the pushed model, and with a server of it."""

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from etils import epath

import genre
from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.wav import encode_wav
from components.store.model_store import Lineage, publish
from components.store.saved_model import SavedModel

ROOT = Path(__file__).resolve().parents[2]
RATE = 8000
GENRES = ("Rock", "Folk", "Jazz")
AVAILABLE = [{"version": "1", "state": "AVAILABLE"}]


def noise(seconds: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(-9000, 9000, round(seconds * RATE), np.int16)


@pytest.fixture(scope="module")
def workspace(export_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one version, whose clips of 2 s have two windows."""
    audio, mel = AudioConfig(sample_rate=RATE, clip_seconds=2.0), MelConfig(n_fft=256, hop_length=128, n_mels=12)
    features = FeatureConfig(representation="waveform", genres=GENRES, audio=audio, mel=mel)
    root = tmp_path_factory.mktemp("workspace")
    saved = export_model(tmp_path_factory.mktemp("model") / "model", features, 1.0)
    lineage = Lineage(candidate="a", parent=None, data="b", span=1, window=(1,))
    publish(epath.Path(root / "models"), epath.Path(saved), lineage)
    return root


@pytest.fixture(scope="module")
def model(workspace: Path) -> genre.Model:
    return genre.load(workspace)


@pytest.fixture(scope="module")
def signature(workspace: Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """What TensorFlow says of a clip."""
    loaded = tf.saved_model.load(str(workspace / "models" / "1"))

    def ask(pcm: np.ndarray) -> dict[str, np.ndarray]:
        wavs = tf.constant([encode_wav(pcm, RATE)])
        answer = {
            **loaded.signatures["windows"](audio=wavs),
            "whole": loaded.signatures["audio"](audio=wavs)["probabilities"],
        }
        return {name: values.numpy()[0] for name, values in answer.items()}

    return ask


def values(probabilities: dict[str, float]) -> list[float]:
    return [probabilities[name] for name in GENRES]


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = "import sys, genre; print(*{'tensorflow', 'tfx', 'apache_beam', 'pandas', 'matplotlib'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_the_answers_are_those_of_the_signature(model: genre.Model, signature: Callable, tmp_path: Path) -> None:
    song = noise(2.0)
    (tmp_path / "song.wav").write_bytes(encode_wav(song, RATE))
    answer = model.predict(tmp_path / "song.wav")
    expected = signature(song)
    np.testing.assert_allclose(values(answer), expected["whole"], atol=1e-6)
    assert list(answer.values()) == sorted(answer.values(), reverse=True)
    assert model.version == 1
    segments = model.segments(str(tmp_path / "song.wav"))
    assert [(segment.start, segment.end) for segment in segments] == [(0.0, 1.0), (1.0, 2.0)]
    for segment, row in zip(segments, expected["probabilities"], strict=True):
        np.testing.assert_allclose(values(segment.probabilities), row, atol=1e-6)
    assert len(model.segments(tmp_path / "song.wav", hop=0.5)) == 3
    assert model.embed(tmp_path / "song.wav").shape == (5,)


def test_whatever_holds_the_song(model: genre.Model, tmp_path: Path) -> None:
    song = noise(2.0)
    path = tmp_path / "song.flac"
    soundfile.write(path, song, RATE)
    expected = model.predict(path)
    mono, rate = soundfile.read(path)
    with path.open("rb") as file:
        for answer in (
            *(model.predict(str(path)), model.predict(path.read_bytes()), model.predict(file)),
            *(model.predict(mono, rate), model.predict(song, RATE), model.predict(mono.tolist(), RATE)),
            model.predict(np.stack([mono, mono], axis=1), rate=rate),
        ):
            np.testing.assert_allclose(values(answer), values(expected), atol=1e-6)
    assert model.predict(0 * song, RATE) == {}


def test_many_songs_are_a_table(model: genre.Model, tmp_path: Path) -> None:
    for seed in range(3):
        (tmp_path / f"{seed}.wav").write_bytes(encode_wav(noise(2.0, seed), RATE))
    (tmp_path / "broken.wav").write_bytes(b"nothing")
    with pytest.warns(UserWarning, match=r"1 of 4 songs cannot be read: .*broken\.wav: not one"):
        table = model.predict_all(tmp_path)
    assert sorted(Path(path).name for path in table.index) == ["0.wav", "1.wav", "2.wav", "broken.wav"]
    assert list(table.columns) == sorted(GENRES)
    assert table.loc[str(tmp_path / "broken.wav")].isna().all()
    assert list(table.attrs["errors"]) == [str(tmp_path / "broken.wav")]
    for seed in range(3):
        path = tmp_path / f"{seed}.wav"
        assert table.loc[str(path)].to_dict() == pytest.approx(model.predict(path), abs=1e-6)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        listed = model.predict_all([tmp_path / "1.wav", (noise(2.0, 1), RATE), (tmp_path / "1.wav").read_bytes()])
        over_time = model.predict_all([tmp_path / "0.wav", tmp_path / "1.wav"], segments=True)
        assert model.predict_all([]).empty
    assert list(listed.index) == [str(tmp_path / "1.wav"), 1, 2]
    np.testing.assert_allclose(listed.to_numpy(), [listed.iloc[0]] * 3, atol=1e-6)
    assert over_time.index.names == ["song", "start", "end"]
    assert over_time.loc[str(tmp_path / "1.wav")].index.tolist() == [(0.0, 1.0), (1.0, 2.0)]


def test_what_is_no_file_is_an_error_and_nothing_waits_for_it(model: genre.Model, tmp_path: Path) -> None:
    """Named pipes without a writer, and links that lead nowhere, in a folder, in a list and alone."""
    (tmp_path / "song.wav").write_bytes(encode_wav(noise(2.0), RATE))
    os.mkfifo(tmp_path / "pipe.wav")
    os.symlink("gone.wav", tmp_path / "link.wav")
    reasons = {
        str(tmp_path / "pipe.wav"): "unreadable: a named pipe, not a regular file",
        str(tmp_path / "link.wav"): "missing file: a link to gone.wav",
    }
    with pytest.warns(UserWarning, match="2 of 3 songs cannot be read"):
        table = model.predict_all(tmp_path)
    assert table.attrs["errors"] == reasons
    assert table.notna().all(axis=1).to_dict() == dict.fromkeys(reasons, False) | {str(tmp_path / "song.wav"): True}
    with pytest.warns(UserWarning, match="2 of 3 songs cannot be read"):
        table = model.predict_all([*reasons, tmp_path / "song.wav"])
    assert table.attrs["errors"] == reasons | {str(tmp_path / "link.wav"): "No such file or directory"}
    with pytest.raises(genre.AudioError, match=r"pipe\.wav: unreadable: a named pipe"):
        model.predict(tmp_path / "pipe.wav")
    with pytest.raises(genre.AudioError, match=r"pipe\.wav: unreadable: a named pipe"):
        model.embed(tmp_path / "pipe.wav")


def test_mistakes_are_told_in_words(model: genre.Model, tmp_path: Path) -> None:
    (tmp_path / "text.mp3").write_text("la la la")
    with pytest.raises(genre.AudioError, match=r"text\.mp3: not one of the formats that are read \(it is text\)"):
        model.predict(tmp_path / "text.mp3")
    with pytest.raises(genre.AudioError, match="the audio: an array of the shape 2x8000"):
        model.embed(np.zeros((2, 8000)), RATE)
    with pytest.raises(FileNotFoundError):
        model.predict(tmp_path / "none.mp3")
    with pytest.raises(genre.UserError, match="`predict_all` names all songs in it"):
        model.predict(tmp_path)
    with pytest.raises(genre.UserError, match="no such folder"):
        model.predict_all(tmp_path / "text.mp3")
    with pytest.raises(genre.UserError, match="hop"):
        model.segments(noise(2.0), RATE, hop=0.0)
    with pytest.raises(TypeError, match="needs its sample rate"):
        model.predict(noise(2.0))
    with pytest.raises(TypeError, match="has its own sample rate"):
        model.predict("song.mp3", RATE)


def test_a_model_is_found_wherever_it_is(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    song = noise(2.0)
    answers = [
        genre.load(place).predict(song, RATE)
        for place in (workspace, str(workspace), workspace / "models", workspace / "models" / "1")
    ]
    assert all(answer == answers[0] for answer in answers)
    with pytest.raises(genre.UserError, match="no model in it"):
        genre.load(tmp_path)
    monkeypatch.setenv("HOME", str(workspace.parent))
    assert genre.load(f"~/{workspace.name}").version == 1


# --- An export -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def exported(workspace: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with the same version, which was exported for ONNX Runtime when it was pushed."""
    pytest.importorskip("tf2onnx", reason="tf2onnx is not installed: an extra of `export`")
    from components.exports.export import export

    root = tmp_path_factory.mktemp("exported")
    version, served = epath.Path(root / "version"), epath.Path(workspace / "models" / "1")
    shutil.copytree(served, version)
    files = SavedModel(version)
    for written_by_a_push in (files.checksums, files.lineage):
        written_by_a_push.unlink()
    export(served, "onnx", files.onnx, [noise(2.0, seed) for seed in range(3)])
    publish(epath.Path(root / "models"), version, Lineage(candidate="a", parent=None, data="b", span=1, window=(1,)))
    return root


def test_an_export_answers_alike_and_loads_nothing_heavy(
    model: genre.Model, workspace: Path, exported: Path, tmp_path: Path
) -> None:
    """From nothing to the answer, in Python and on the command line; `python -m bench predict` measures the time."""
    song = tmp_path / "song.wav"
    song.write_bytes(encode_wav(noise(5.0), RATE))
    expected = model.predict(song)
    heavy = {"tensorflow", "keras", "pandas", "scipy", "matplotlib", "pyarrow", "librosa", "fastapi", "requests"}
    in_python = "import genre; print(json.dumps(genre.load(sys.argv[2], runtime='onnx').predict(sys.argv[1])))"
    command = "from pipeline.cli import cli; cli(['predict', sys.argv[1], '--workspace', sys.argv[2], '--json'], **off)"
    for code in (in_python, f"off = dict(standalone_mode=False); {command}"):
        code = f"import json, sys; {code}; print({heavy} & set(sys.modules), file=sys.stderr)"
        words = [sys.executable, "-c", code, str(song), str(exported)]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
        assert done.stderr == "set()\n"
        answer = json.loads(done.stdout)
        assert (answer[0]["genres"] if isinstance(answer, list) else answer) == pytest.approx(expected, abs=1e-4)
    assert genre.load(exported / "models" / "1" / "assets.extra" / "genre.onnx").version is None
    with pytest.raises(genre.UserError, match="it was not exported to ONNX"):
        genre.load(workspace, runtime="onnx")


# --- A server ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(workspace: Path, servers: Any) -> Any:
    """`genre serve` of the same version, for who has the token."""
    return servers(workspace / "models", token="secret")


def same(answer: dict[str, float], expected: dict[str, float]) -> None:
    assert list(answer) == list(expected)
    np.testing.assert_allclose(values(answer), values(expected), atol=1e-6)


def test_a_server_gives_the_same_answers(model: genre.Model, server: Any, tmp_path: Path) -> None:
    remote = genre.load(server.url + "/", token="secret")
    assert remote.version == 1
    song = noise(3.0)
    path = tmp_path / 'Bj\udcf6rk "1".wav'
    path.write_bytes(encode_wav(song, RATE))
    (tmp_path / "text.mp3").write_text("la la la")
    same(remote.predict(path), model.predict(path))
    same(remote.predict(path.read_bytes()), model.predict(path))
    for hop in (None, 0.5):
        segments, expected = (each.segments(path, hop=hop) for each in (remote, model))
        assert [(one.start, one.end) for one in segments] == [(one.start, one.end) for one in expected]
        for one, other in zip(segments, expected, strict=True):
            same(one.probabilities, other.probabilities)
    for array in (song, song / 32768.0, (song / 32768.0).astype(np.float32), song.astype(np.int64) << 48):
        same(remote.predict(array, RATE), model.predict(song, RATE))
    assert remote.predict(0 * song, RATE) == {}
    with pytest.warns(UserWarning, match="1 of 2 songs cannot be read"):
        assert remote.predict_all(tmp_path).notna().all(axis=1).sum() == 1
    with pytest.raises(genre.AudioError, match=r"text\.mp3: .*it is text"):
        remote.predict(tmp_path / "text.mp3")
    with pytest.raises(genre.AudioError, match="no samples"):
        remote.predict(np.zeros(0), RATE)
    with pytest.raises(FileNotFoundError):
        remote.predict(tmp_path / "none.mp3")
    with pytest.raises(genre.UserError, match="no embeddings"):
        remote.embed(song, RATE)
    with pytest.raises(genre.UserError, match="hop"):
        remote.segments(song, RATE, hop=0.0)


def test_a_server_that_is_busy_is_asked_again(workspace: Path, model: genre.Model, serve: Any) -> None:
    """One that takes a single request at a time, and is asked for several: it answers 429, and when to come again."""
    server = serve(workspace / "models", requests=1)
    songs = [(noise(2.0, seed), RATE) for seed in range(6)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        table = genre.load(server.url).predict_all(songs)
    np.testing.assert_allclose(table.to_numpy(), model.predict_all(songs).to_numpy(), atol=1e-6)
    assert 'status="429"' in server.client.get("/metrics").text


def test_a_server_without_a_model_is_waited_for_and_then_told(
    workspace: Path, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "models"
    shutil.copytree(workspace / "models", store)
    server = serve(store)
    remote = genre.load(server.url)
    (store / "current.json").rename(tmp_path / "current.json")
    assert server.follower.look()
    monkeypatch.setattr("genre.remote._PATIENCE", 0.2)
    with pytest.raises(genre.UserError, match="503: no model has been pushed"):
        genre.load(server.url)
    with pytest.warns(UserWarning, match="1 of 1 songs cannot be read: 0: .*503: no model"):
        assert remote.predict_all([(noise(2.0), RATE)]).isna().all(axis=None)
    monkeypatch.undo()
    threading.Timer(0.5, lambda: (tmp_path / "current.json").rename(store / "current.json")).start()
    assert genre.load(server.url).version == 1


def test_a_server_that_refuses(server: Any) -> None:
    for token in (None, "wrong"):
        with pytest.raises(genre.UserError, match="401: a token is needed"):
            genre.load(server.url, token=token)
    with pytest.raises(genre.UserError, match="404: Malformed request"):
        genre.load(server.url + "/elsewhere", token="secret")


@pytest.mark.parametrize(
    "address",
    ["http://", "http://[::1", "http://localhost:x", "http://127.0.0.1:9", "http://..", "HTTP://127.0.0.1:9"],
)
def test_an_address_where_nothing_is(address: str) -> None:
    with pytest.raises(genre.UserError, match="Start `genre serve`, or name another address"):
        genre.load(address)


def test_what_answers_there_is_something_else(service: Any) -> None:
    """What the real server cannot be made to answer."""
    for reply in ([], {"model_version_status": []}, {"model_version_status": [{"state": "AVAILABLE"}]}, "text"):
        service.on("GET", "/v1/models/genre", (200, reply))
        with pytest.raises(genre.UserError, match="what answers there is no `genre serve`"):
            genre.load(service.url)
    service.on("GET", "/v1/models/genre", (500, "down"))
    with pytest.raises(genre.UserError, match='500: "down"'):
        genre.load(service.url)
    service.on("GET", "/v1/models/genre", (503, {"error": "soon"}), (200, {"model_version_status": AVAILABLE}))
    remote = genre.load(service.url)
    service.on("POST", "/predict", (500, {"error": "the server failed"}))
    with pytest.warns(UserWarning, match="2 of 2 songs cannot be read: 0: .*500: the server failed"):
        remote.predict_all([(noise(1.0), RATE)] * 2)
    service.on("POST", "/predict", (200, {"genres": {}}))
    with pytest.raises(genre.UserError, match="no `genre serve`"):
        remote.predict(noise(1.0), RATE)


@pytest.mark.parametrize(
    "said", [b"220 mail.example ESMTP\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{", b""]
)
def test_a_connection_that_breaks_or_is_no_http(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as caller:
                caller.recv(65536)
                caller.sendall(said)

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(genre.UserError, match="no answer"):
            genre.load(f"http://127.0.0.1:{listening.getsockname()[1]}")
        thread.join()
