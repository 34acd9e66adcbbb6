"""`genre serve` as a process with a real model: it starts, follows a push, answers what it has begun, and stops."""

import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[3]


def test_it_ends_when_what_it_has_begun_is_answered(
    store: Path, exported: tuple[Path, Path], push: Callable[[Path, Path], int], wav: Any, until: Any
) -> None:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "serve", "--port", "0"]
    process = subprocess.Popen(
        [*command, "--workspace", store.parent],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        line = process.stdout.readline()
        host, port = re.match(r"http://([\d.]+):(\d+)  the page", line).groups()
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
        with socket.create_connection((host, int(port)), timeout=120) as begun:
            begun.sendall(f"POST /predict HTTP/1.1\r\n{headers}\r\n".encode() + body[:100])
            until(lambda: "genre_requests_busy 2.0" in client.get("/metrics").text)
            client.close()
            process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            begun.sendall(body[100:])
            answer = b""
            while part := begun.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200")
        assert b'"version":2' in answer
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    assert (process.returncode, out) == (0, "")
    told = [entry.partition(" ")[2] for entry in errors.splitlines() if re.match(r"\d{4}-", entry)]
    assert told == ["version 1 answers", "version 2 answers", "stopped"]
