"""Runs the server: listens at once, loads the model meanwhile, and stops gracefully."""

import errno
import ipaddress
import logging
import os
import signal
import socket
import threading
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn
from etils import epath

from components.base.errors import UserError, reason
from pipeline.output import echo, quiet, verbose
from pipeline.process import large_imports, output_to
from pipeline.serving.app import create_app
from pipeline.serving.following import Follower
from pipeline.serving.limits import Limits
from pipeline.serving.metrics import Metrics

if TYPE_CHECKING:
    from pipeline.serving.loaded_model import LoadedModel

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""Names of this machine for itself."""
GRACE_SECONDS = 30
"""Time that requests have to end when the server is to stop."""

log = logging.getLogger(__name__)


def is_loopback(host: str) -> bool:
    """Returns True if only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in LOOPBACK


def listening(host: str, port: int) -> socket.socket:
    """Opens the socket of a server.

    Args:
      port: 0: any that is free.

    Raises:
      UserError: the address cannot be used.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        opened = socket.socket(family, socket.SOCK_STREAM)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(address)
        opened.listen(1024)
        return opened
    except OSError as error:
        used = error.errno == errno.EADDRINUSE
        remedy = "Another program listens there: choose another with --port." if used else "Choose another with --host."
        raise UserError(f"{host}:{port}: cannot listen there: {reason(error)}. {remedy}") from error


def url_of(opened: socket.socket) -> str:
    """Returns the address of a socket, as a browser takes it."""
    host, port = opened.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def run_server(
    opened: socket.socket, store: epath.Path, limits: Limits, hosts: frozenset[str] = frozenset(), token: str = ""
) -> None:
    """Prints the page's address, and answers until SIGTERM or SIGINT; then until what is under way has ended.

    Raises:
      UserError: the version that is served when it begins cannot be loaded.
    """
    everything = verbose()  # here, because other threads do not know the options of the command
    stderr = os.fdopen(os.dup(2), "w", encoding="utf-8", errors="backslashreplace", buffering=1)
    logging.basicConfig(
        level=logging.WARNING if quiet() else logging.INFO,
        format="%(asctime)s %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S%z",
        stream=stderr,
    )
    if not everything:
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
    metrics = Metrics()

    def load(version: int) -> "LoadedModel":
        with large_imports():
            from pipeline.serving.loaded_model import LoadedModel
        model = LoadedModel(store, version, metrics.batches.observe)
        metrics.loads.inc()
        return model

    follower = Follower(store, load)
    app = create_app(follower, metrics, limits, hosts, token)
    config = uvicorn.Config(
        app,
        http="h11",
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = uvicorn.Server(config)
    problems: list[str] = []

    def follow() -> None:
        # While it is imported, TensorFlow says much that is no news.
        with nullcontext() if everything else output_to(Path(os.devnull)):
            loaded = follower.look()
        if loaded:
            follower.follow()
        else:  # what cannot be loaded at the start is for a person to repair
            problems.append(follower.problem)
            server.should_exit = True

    def stop(*_: object) -> None:
        """Takes a signal before uvicorn does; and again when uvicorn has stopped, and raises it anew."""
        server.should_exit = True

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        echo(f"{url_of(opened)}{f'/#token={token}' if token else ''}  the page; Ctrl-C stops")
        threading.Thread(target=follow, daemon=True).start()
        server.run(sockets=[opened])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        follower.end()
        log.info("stopped")
    if problems:
        raise UserError(problems[0])
