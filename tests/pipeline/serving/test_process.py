"""`genre serve` as a process with a real model: it starts, follows a push, answers what it has begun, and stops."""

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def started(store: Path, request: pytest.FixtureRequest) -> Iterator[tuple["subprocess.Popen[str]", str, int]]:
    """`genre serve` of a workspace, with further options, on a free host and port, which it has told."""
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "serve", "--port", "0"]
    command += getattr(request, "param", ())
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([*command, "--workspace", store.parent], cwd=ROOT, **pipes) as process:
        try:
            line = process.stdout.readline()
            host, port = re.match(r"http://([\d.]+):(\d+)  the page", line).groups()
            yield process, host, int(port)
        finally:
            process.kill()


def _refuses(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=120).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize(
    ("started", "number", "alive", "told"),
    [
        ([], signal.SIGTERM, False, "[^\n]* stopped\n"),
        (["--quiet"], signal.SIGINT, True, ""),
        (["--verbose"], signal.SIGTERM, True, "(?s).*Application startup complete.* stopped\n"),
    ],
    indirect=["started"],
)
def test_to_stop_while_the_model_is_loaded_is_no_error(started: Any, number: int, alive: bool, told: str) -> None:
    """At once, before it listens to anybody; and when it answers, but has no model yet."""
    process, host, port = started
    if alive:
        assert httpx.get(f"http://{host}:{port}/healthz", timeout=120).status_code == 200
        assert httpx.get(f"http://{host}:{port}/readyz", timeout=120).status_code == 503
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert re.fullmatch(told, errors)


def test_it_ends_when_what_it_has_begun_is_answered(
    started: Any, store: Path, exported: tuple[Path, Path], push: Callable[[Path, Path], int], wav: Any, until: Any
) -> None:
    process, host, port = started
    client = httpx.Client(base_url=f"http://{host}:{port}", timeout=120)
    assert client.get("/healthz").status_code == 200  # before the model is loaded
    assert "Genre" in client.get("/").text
    until(lambda: client.get("/readyz").status_code == 200)
    assert client.get("/model", headers={"host": "evil.example"}).status_code == 403
    push(store, exported[1])
    until(lambda: client.get("/readyz").json()["version"] == 2)

    request = client.build_request("POST", "/predict", files={"file": ("song.wav", wav(1.0))})
    body = request.read()
    headers = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    with socket.create_connection((host, port), timeout=120) as begun:
        begun.sendall(f"POST /predict HTTP/1.1\r\n{headers}\r\n".encode() + body[:100])
        until(lambda: "genre_requests_busy 2.0" in client.get("/metrics").text)
        client.close()
        process.send_signal(signal.SIGTERM)
        until(lambda: _refuses(host, port))  # it has begun to stop
        begun.sendall(body[100:])
        answer = b""
        while part := begun.recv(65536):
            answer += part
    assert answer.startswith(b"HTTP/1.1 200")
    assert b'"version":2' in answer
    out, errors = process.communicate(timeout=120)
    assert (process.returncode, out) == (0, "")
    told = [entry.partition(" ")[2] for entry in errors.splitlines() if re.match(r"\d{4}-", entry)]
    assert told == ["version 1 answers", "version 2 answers", "stopped"]
