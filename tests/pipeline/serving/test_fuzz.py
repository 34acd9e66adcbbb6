"""500 requests that are wrong, from a seed: each gets a reason, and the server answers as before afterwards."""

import base64
import http.client
import io
import json
import socket
import struct
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import numpy as np
import pytest
import soundfile

Generator = np.random.Generator
REQUESTS = 500
FORMATS = ("WAV", "FLAC", "OGG", "MP3", "AIFF")


@pytest.fixture(scope="module")
def files(sound: Any) -> list[bytes]:
    """The same song in each format."""
    written = []
    for name in FORMATS:
        file = io.BytesIO()
        soundfile.write(file, sound(3.0, 5, 22050), 22050, format=name)
        written.append(file.getvalue())
    return written


def damaged(files: list[bytes], draw: Generator) -> bytes:
    """A song that is cut off, or has bytes changed, taken out or put in."""
    data = bytearray(files[draw.integers(len(files))])
    match draw.integers(4):
        case 0:
            del data[int(draw.integers(len(data))) :]
        case 1:
            for place in draw.integers(0, min(len(data), 300), 20):
                data[place] = int(draw.integers(256))
        case 2:
            place = int(draw.integers(len(data)))
            del data[place : place + 1000]
        case _:
            place = int(draw.integers(len(data)))
            data[place:place] = draw.bytes(1000)
    return bytes(data)


def claiming(draw: Generator) -> bytes:
    """A small WAV file that claims impossible, or huge, things."""
    rate = int(draw.choice([0, 1, 7, 8000, 768_000, 2**31, 2**32 - 1]))
    channels = int(draw.choice([0, 1, 2, 300, 65535]))
    size = int(draw.choice([0, 10, 2**31, 2**32 - 1]))
    form = struct.pack("<HHIIHH", int(draw.choice([1, 3, 0xFFFE, 99])), channels, rate, rate, 2, 16)
    return (
        b"RIFF"
        + struct.pack("<I", size)
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + form
        + b"data"
        + struct.pack("<I", size)
    )


def silence(draw: Generator) -> bytes:
    """Hours of silence in a small file."""
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8000 * 3900, np.int16), 8000, format="FLAC")
    return file.getvalue()


def json_body(files: list[bytes], draw: Generator) -> bytes:
    """What is no request of TensorFlow Serving, or none that can be answered."""
    audio = base64.b64encode(damaged(files, draw)).decode()
    bodies: list[Callable[[], Any]] = [
        lambda: None,
        lambda: [],
        lambda: {"instances": draw.bytes(10).hex()},
        lambda: {"instances": [{"b64": audio}], "signature_name": "embeddings"},
        lambda: {"instances": [{"b64": audio}], "signature_name": "../" * 50},
        lambda: {"instances": [{"b64": audio}], "inputs": []},
        lambda: {"instances": [{"b64": audio + "*"}], "signature_name": "audio"},
        lambda: {"instances": [[[["x"]]]], "signature_name": "audio"},
        lambda: {"inputs": {"audio": {"b64": audio}, "more": 1}, "signature_name": "audio"},
        lambda: {"instances": [{"audio": {"audio": {"b64": audio}}}], "signature_name": "audio"},
        lambda: {"instances": [1e308, -1, True, None][int(draw.integers(4)) :], "signature_name": "audio"},
        lambda: {"instances": ["A" * 20_000_000], "signature_name": "audio"},
        lambda: {"instances": [{"b64": base64.b64encode(bytes(15_000_000)).decode()}], "signature_name": "windows"},
        lambda: {"instances": ["x"] * 5000, "signature_name": "audio"},
    ]
    body = json.dumps(bodies[draw.integers(len(bodies))]()).encode()
    match draw.integers(5):
        case 0:
            return body[: draw.integers(len(body))]
        case 1:
            return b"[" * 200_000
        case 2:
            return body.replace(b":", b"", 1)
        case _:
            return body


def multipart(draw: Generator) -> tuple[dict[str, str], bytes]:
    """A form that is broken, or has something else in it."""
    bodies = [
        b"",
        b"--x\r\n",
        b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nonly text\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="other"; filename="a.mp3"\r\n\r\nabc\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.mp3"\r\n\r\nnever ends',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="'
        + b"a" * 50_000
        + b'"\r\n\r\nabc\r\n--x--\r\n',
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nab\r\n' * 2000 + b"--x--\r\n",
        draw.bytes(2000),
    ]
    kinds = [
        "multipart/form-data; boundary=x",
        "multipart/form-data",
        "application/json",
        "text/plain",
        "audio/mpeg",
        "",
    ]
    return {"content-type": kinds[draw.integers(len(kinds))]}, bodies[draw.integers(len(bodies))]


def too_large(host: str, port: int) -> httpx.Response:
    """A body that is said to be too large; nothing of it is sent, so that nothing is cut off when it is refused."""
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.putrequest("POST", "/predict")
    connection.putheader("Content-Length", str(10**9))
    connection.endheaders()
    answer = connection.getresponse()
    told = httpx.Response(answer.status, content=answer.read(), request=httpx.Request("POST", "/predict"))
    connection.close()
    return told


NAMES = [
    "../../../etc/passwd",
    "..\\..\\boot.ini",
    "a\0b.mp3",
    "/dev/zero",
    "|sh",
    "\u202egpj.mp3",
    "a" * 5000,
    "%2e%2e/x",
]
PATHS = [
    *("/static/../app.py", "/static/%2e%2e/app.py", "/static/..%2fapp.py", "/static//etc/passwd", "/static/%00"),
    *("/v1/models/genre/versions/99999999999999999999", "/v1/models/genre/versions/-1", "/v1/models/../../model"),
    *("/v1/models/genre:predict", "/predict", "/" + "a" * 3000, "/v1/models/genre/versions/1e9:predict"),
]


def requests(server: Any, files: list[bytes]) -> Iterator[httpx.Response]:
    """Sends them, and yields the answers."""
    host, port = server.url.removeprefix("http://").split(":")
    draw = np.random.default_rng(20)
    bomb = silence(draw)
    for number in range(REQUESTS):
        match number % 10:
            case 0 | 1 | 2:
                yield server.predict(damaged(files, draw), NAMES[draw.integers(len(NAMES))], picture=bool(number % 2))
            case 3:
                yield server.predict(claiming(draw), "claims.wav")
            case 4 | 5:
                body = json_body(files, draw)
                yield server.client.post("/v1/models/genre:predict", content=body)
            case 6:
                headers, body = multipart(draw)
                yield server.client.post("/predict", content=body, headers=headers)
            case 7:
                path = PATHS[draw.integers(len(PATHS))]
                yield server.client.request(["GET", "PUT", "DELETE", "PATCH"][draw.integers(4)], path)
            case 8:
                match number % 100:
                    case 8:
                        yield server.predict(bomb, "bomb.flac")
                    case 18:
                        yield too_large(host, int(port))
                    case _:
                        yield server.predict(draw.bytes(3000), hop=draw.choice(["nan", "-1", "x", "1e-9"]))
            case 9:  # a client that goes away in the middle
                with socket.create_connection((host, int(port)), timeout=60) as gone:
                    head = f"POST /predict HTTP/1.1\r\nHost: {host}\r\nContent-Length: 5000\r\n"
                    gone.sendall((head + ("\r\nabc" if draw.integers(2) else "")).encode())


@pytest.mark.long
def test_every_wrong_request_gets_a_reason(server: Any, files: list[bytes], wav: Any) -> None:
    before = server.predict(wav(2.0)).json()
    statuses: dict[int, int] = {}
    for answer in requests(server, files):
        statuses[answer.status_code] = statuses.get(answer.status_code, 0) + 1
        if answer.status_code == 200:  # a decoder may hear something in what is left
            assert answer.json().keys() & {"genres", "predictions", "outputs", "version", "model_version_status"}
            continue
        assert 400 <= answer.status_code < 500, (answer.status_code, answer.request, answer.text)
        assert answer.json()["error"], answer.request
    assert sum(statuses.values()) == REQUESTS * 9 // 10
    assert statuses.keys() >= {400, 404, 405, 413, 422}
    assert statuses[413] >= REQUESTS // 50  # each bomb, and each body that is said to be too large
    assert server.predict(wav(2.0)).json() == before
    assert server.client.get("/readyz").status_code == 200
