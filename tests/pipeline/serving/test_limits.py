"""What is kept out: other sites, callers without the token, too much at a time, bodies that do not come."""

import asyncio
import io
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from pipeline.serving import limits

OTHERS: list[dict[str, str]] = [
    {"host": "evil.example"},
    {"host": "127.0.0.1.evil.example"},
    {"host": "[::1"},
    {"origin": "http://evil.example"},
    {"origin": "null"},
]


def test_other_sites_reach_nothing(serve: Any, store: Path) -> None:
    server = serve(store, hosts=("localhost", "127.0.0.1", "::1"))
    host = server.url.removeprefix("http://")
    for path in ("/", "/model", "/v1/models/genre"):
        for headers in ({}, {"host": "localhost:80"}, {"host": "[::1]:8501"}, {"origin": server.url, "host": host}):
            assert server.client.get(path, headers=headers).status_code == 200, headers
        for headers in OTHERS:
            refused = server.client.get(path, headers=headers)
            assert refused.status_code == 403, headers
            assert refused.json()["error"]
            assert server.client.post("/predict", files={"file": b"x"}, headers=headers).status_code == 403


def test_a_token_guards_all_but_the_page_and_health(serve: Any, store: Path, wav: Any) -> None:
    server = serve(store, token="secret")
    for path in ("/model", "/metrics", "/openapi.json", "/v1/models/genre"):
        assert server.client.get(path).status_code == 200
    assert server.predict(wav(1.0)).status_code == 200
    for headers in ({"authorization": ""}, {"authorization": "Bearer wrong"}, {"authorization": "Basic secret"}):
        for path in ("/model", "/metrics", "/openapi.json", "/v1/models/genre"):
            answered = server.client.get(path, headers=headers)
            assert (answered.status_code, answered.headers["www-authenticate"]) == (401, "Bearer")
        assert server.client.post("/predict", files={"file": b"x"}, headers=headers).status_code == 401
        for path in ("/", "/static/main.js", "/healthz", "/readyz"):
            assert server.client.get(path, headers=headers).status_code == 200


def test_the_path_is_what_was_asked_for(serve: Any, store: Path) -> None:
    """Not what a name in the Host header makes of it; and below the path at which a proxy has the server."""
    server = serve(store, token="secret")
    for host in ("localhost/static/?", "localhost/healthz#", "localhost/?", "x/static/x"):
        assert server.client.get("/model", headers={"host": host, "authorization": ""}).status_code == 401, host

    passed: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        passed.append(scope["path"])

    async def nothing(*_: object) -> None:
        pass

    gate = limits.Gate(app, limits.Limits(), token="secret")
    for root, path in (
        ("/genre", "/genre/healthz"),
        ("/genre", "/genre/"),
        ("", "/static/main.js"),
        ("/genre", "/model"),
    ):
        asyncio.run(
            gate({"type": "http", "method": "GET", "path": path, "root_path": root, "headers": []}, nothing, nothing)
        )
    assert passed == ["/genre/healthz", "/genre/", "/static/main.js"]


def test_a_body_that_is_too_large(serve: Any, store: Path, wav: Any) -> None:
    server = serve(store, megabytes=0.1, minutes=0.5)
    assert server.predict(wav(2.0)).status_code == 200
    told = server.predict(bytes(200_000))
    assert (told.status_code, told.json()["error"]) == (413, "the body is larger than 0.1 MB")
    chunks = iter([b"x" * 10_000] * 20)  # without a length beforehand
    told = server.client.post("/v1/models/genre:predict", content=chunks)
    assert (told.status_code, told.json()["error"]) == (413, "the body is larger than 0.1 MB")
    told = server.client.post("/v1/models/genre:predict", content=b"x", headers={"content-encoding": "gzip"})
    assert told.status_code == 415
    assert server.predict(wav(2.0)).status_code == 200


def test_a_song_that_is_too_long(serve: Any, store: Path) -> None:
    """Silence, of which a small file holds hours."""
    server = serve(store, minutes=1.0)
    hours = io.BytesIO()
    soundfile.write(hours, np.zeros(8000 * 3600, np.int16), 8000, format="FLAC")
    assert len(hours.getvalue()) < 1_000_000
    told = server.predict(hours.getvalue(), "bomb.flac")
    assert (told.status_code, told.json()["error"]) == (413, "the song is longer than 1 minutes")


def test_more_requests_than_are_taken(serve: Any, store: Path, wav: Any) -> None:
    server = serve(store, requests=1)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as slow:
        form = b"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: 1000"
        slow.sendall(b"POST /predict HTTP/1.1\r\nHost: localhost\r\n" + form + b"\r\n\r\n--x\r\n")
        limit = time.monotonic() + 60
        while (told := server.predict(wav(1.0))).status_code == 200:
            assert time.monotonic() < limit
        assert (told.status_code, told.headers["retry-after"]) == (429, "1")
        assert server.client.get("/healthz").status_code == 200
    while server.predict(wav(1.0)).status_code != 200:
        assert time.monotonic() < limit


def test_a_body_that_does_not_come(server: Any, wav: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "_PATIENCE", 0.3)
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=60) as slow:
        slow.sendall(b"POST /v1/models/genre:predict HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        answer = b""
        while b"too slowly" not in answer and (more := slow.recv(65536)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 408")
    assert b"too slowly" in answer
    monkeypatch.undo()
    assert server.predict(wav(1.0)).status_code == 200
