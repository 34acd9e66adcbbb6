"""`genre serve` as a process: who may reach it, what it says, and how it stops."""

import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.base.errors import UserError
from pipeline.cli import cli
from pipeline.serving.server import is_loopback


def serve(*arguments: object) -> None:
    cli(["serve", *map(str, arguments)], standalone_mode=False)


@pytest.fixture
def pushed(tmp_path: Path) -> Path:
    """A workspace whose pointer names a version that does not load."""
    (tmp_path / "models" / "1").mkdir(parents=True)
    (tmp_path / "models" / "current.json").write_text(json.dumps({"version": 1}))
    return tmp_path


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--host", "0.0.0.0"), "Give a --token that they must show"),
        (("--host", "::"), "--no-auth"),
        (("--host", "music.example"), "--no-auth"),
        (("--host", "0.0.0.0", "--token", "two words\n"), "visible ASCII"),
        (("--token", ""), "visible ASCII"),
        (("--host", "192.0.2.1", "--no-auth"), "192.0.2.1:8501: cannot listen there"),
    ],
)
def test_what_is_refused_before_anything_is_loaded(pushed: Path, options: tuple[str, ...], told: str) -> None:
    with pytest.raises(UserError, match=re.escape(told)):
        serve("--workspace", pushed, *options)


def test_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no model has been pushed yet"):
        serve("--workspace", tmp_path)


def test_a_port_that_is_taken(pushed: Path) -> None:
    told = "Another program listens there: choose another with --port"
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(UserError, match=told):
        serve("--workspace", pushed, "--port", taken.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "loopback"), [("127.0.0.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False)]
)
def test_which_addresses_are_of_this_machine(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


@pytest.fixture
def process(request: pytest.FixtureRequest) -> Iterator["subprocess.Popen[str]"]:
    """`genre serve` of a workspace, on any free port."""
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "serve", "--port", "0"]
    root = Path(__file__).resolve().parents[3]
    started = subprocess.Popen(
        [*command, "--workspace", request.getfixturevalue("pushed")],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    yield started
    started.kill()
    started.communicate()


def test_a_version_that_does_not_load_ends_it(process: "subprocess.Popen[str]") -> None:
    out, errors = process.communicate(timeout=300)
    assert process.returncode == 1
    assert re.match(r"http://127\.0\.0\.1:\d+  the page", out)
    assert "model.json" in errors
    assert "Traceback" not in errors
