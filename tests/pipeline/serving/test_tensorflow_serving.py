"""TensorFlow Serving's REST API: what a client written for it gets, against TensorFlow's own answers."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from google.protobuf import json_format
from tensorflow_serving.apis.get_model_metadata_pb2 import SignatureDefMap
from tensorflow_serving.apis.get_model_status_pb2 import GetModelStatusResponse, ModelVersionStatus

from components.library.tfrecords import encode_example
from pipeline.serving.tensorflow_serving import RequestError, read_request

if TYPE_CHECKING:
    import httpx

GENRES = ["clicks", "noise", "tone"]
Server = Any
Wav = Callable[..., bytes]


def b64(data: bytes) -> dict[str, str]:
    return {"b64": base64.b64encode(data).decode()}


@pytest.fixture(scope="module")
def signatures(exported: tuple[Path, Path]) -> Any:
    """Those of the served model in TensorFlow itself, without any of this project's code."""
    import tensorflow as tf

    return tf.saved_model.load(str(exported[0])).signatures


@pytest.fixture
def songs(wav: Wav) -> list[bytes]:
    """More than a batch, of several lengths."""
    return [wav(seconds, seed) for seed, seconds in enumerate([0.4, 1.0, 1.7, 0.9, 1.0, 3.0, 1.0])]


@pytest.mark.parametrize("signature", ["audio", "windows", "serving_default", "embeddings"])
@pytest.mark.parametrize("columns", [False, True])
def test_the_same_answers_as_the_signature(
    server: Server, signatures: Any, songs: list[bytes], signature: str, columns: bool
) -> None:
    import tensorflow as tf

    of_examples = signature in ("serving_default", "embeddings")
    items = [encode_example({"audio": song}) for song in songs] if of_examples else songs
    asked = {"signature_name": signature, "inputs" if columns else "instances": [b64(item) for item in items]}
    answered = server.ask(asked)
    assert answered.status_code == 200, answered.text
    given = {"examples" if of_examples else "audio": tf.constant(items)}
    expected = {name: values.numpy() for name, values in signatures[signature](**given).items()}
    if columns:
        got = answered.json()["outputs"]
    else:
        rows = answered.json()["predictions"]
        got = {name: [row[name] for row in rows] for name in rows[0]}
    assert got.keys() == expected.keys()
    for name, values in expected.items():
        if name == "genres":
            assert got[name] == [GENRES] * len(songs)
        else:
            np.testing.assert_allclose(np.array(got[name], float), values.astype(float), atol=1e-5)


def test_forms_of_a_request(server: Server, songs: list[bytes]) -> None:
    """Named inputs, a name around each instance, the version in the path, and the default signature."""
    plain = [b64(songs[0])]
    expected = server.ask({"signature_name": "audio", "instances": plain}).json()
    for instances in ([{"audio": plain[0]}], plain):
        for path in ("genre:predict", "genre/versions/1:predict"):
            answered = server.ask({"signature_name": "audio", "instances": instances}, f"/v1/models/{path}")
            assert answered.json() == expected
    named = server.ask({"signature_name": "audio", "inputs": {"audio": plain}}).json()["outputs"]
    assert named["probabilities"] == [expected["predictions"][0]["probabilities"]]
    default = server.ask({"instances": [b64(encode_example({"audio": songs[0]}))]}).json()
    np.testing.assert_allclose(default["predictions"][0]["probabilities"], named["probabilities"][0], atol=1e-5)


def test_status_and_metadata_in_tensorflow_serving_s_own_messages(server: Server, exported: tuple[Path, Path]) -> None:
    from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

    for path in ("/v1/models/genre", "/v1/models/genre/versions/1"):
        status = json_format.Parse(server.client.get(path).text, GetModelStatusResponse())
        (version,) = status.model_version_status
        assert (version.version, version.state) == (1, ModelVersionStatus.AVAILABLE)
    saved = SavedModel.FromString((exported[0] / "saved_model.pb").read_bytes())
    for path in ("/v1/models/genre/metadata", "/v1/models/genre/versions/1/metadata"):
        body = server.client.get(path).json()
        assert body["model_spec"] == {"name": "genre", "signature_name": "", "version": "1"}
        described = json_format.ParseDict(body["metadata"]["signature_def"], SignatureDefMap())
        assert dict(described.signature_def) == dict(saved.meta_graphs[0].signature_def)


@pytest.mark.parametrize(
    ("path", "body", "status", "told"),
    [
        ("genre:predict", {"signature_name": "other", "instances": ["x"]}, 400, '"other" not found in signature def'),
        ("genre:predict", {"signature_name": "audio", "instances": [b64(b"RIFF")]}, 400, "WAV"),
        ("genre:predict", {"instances": [b64(b"\xff\xff\xff")]}, 400, "parse"),
        ("genre/versions/7:predict", {"instances": ["x"]}, 404, "Servable not found for request: Specific(genre, 7)"),
        ("genre/versions/x:predict", {"instances": ["x"]}, 422, "version"),
        ("jazz:predict", {"instances": ["x"]}, 404, "Malformed request: POST /v1/models/jazz:predict"),
        ("genre:classify", {"examples": []}, 404, "Malformed request"),
    ],
)
def test_errors_have_a_reason(server: Server, path: str, body: object, status: int, told: str) -> None:
    answered: httpx.Response = server.ask(body, f"/v1/models/{path}")
    assert answered.status_code == status, answered.text
    assert list(answered.json()) == ["error"]
    assert told.lower() in answered.json()["error"].lower()


def test_one_bad_instance_fails_its_own_request_alone(server: Server, wav: Wav) -> None:
    good = {"signature_name": "audio", "instances": [b64(wav(1.0))]}
    bad = {"signature_name": "audio", "instances": [b64(wav(1.0)), b64(b"no song")]}
    assert [server.ask(body).status_code for body in (good, bad, good)] == [200, 400, 200]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "JSON Parse error"),
        (b"{", "JSON Parse error"),
        (b"\xff\xfe", "JSON Parse error"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"instances": ' + b"1" * 5000 + b"}", "JSON Parse error"),
        (b"[1]", "must be an object"),
        (b"{}", "Give 'instances' or 'inputs'"),
        (b'{"instances": [], "inputs": []}', "not both"),
        (b'{"signature_name": 3, "instances": ["x"]}', "must be a string"),
        (b'{"instances": [' + b"1," * 100_001 + b"1]}", "more than 100000 values"),
    ],
)
def test_bodies_that_are_no_request(body: bytes, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        read_request(body)


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ("x", "'instances' must be a list"),
        ([], "at least one"),
        (None, "must be a list"),
        ([3], r"instances\[0\] must be a string"),
        (["x", {"b64": 3}], r"instances\[1\] must be a string"),
        (["x", {"b64": "x", "more": 1}], r"instances\[1\] must be a string"),
        ([{"b64": "?"}], "Unable to base64 decode"),
        ([{"b64": "\u20ac"}], "Unable to base64 decode"),
        (["x"] * 1025, "at most 1024"),
    ],
)
def test_instances_that_are_none(values: object, told: str) -> None:
    with pytest.raises(RequestError, match=told):
        read_request(json.dumps({"instances": values}).encode()).items("audio")


def test_strings_are_taken_as_they_are() -> None:
    request = read_request(json.dumps({"instances": ["\u00e9", {"b64": "AP8="}, {"audio": "x"}]}).encode())
    assert request.items("audio") == ["\u00e9".encode(), b"\x00\xff", b"x"]
