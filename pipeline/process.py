"""Changes state of this process that all of its libraries share. Each change is undone where that is possible.

| state | changed by | undone |
| --- | --- | --- |
| file descriptors 1 and 2 | `output_to`: what libraries print, C++ included, goes to a log | at the end of the block |
| garbage collector | `large_imports`: off while a block imports | it runs again after; what was imported stays exempt |
| `TMPDIR` and `tempfile.tempdir` | `temporary_files_in`: TFX and Beam leave files there | at the end of the block |
| `no_proxy`, `no_grpc_proxy` | `direct_to_this_machine`: no proxy for this machine | at the end of the block |
| SIGTERM | `exit_on_sigterm`: ends the process as an exception does | at the end of the block |
| the process itself | `end_now`: ends it without waiting for threads | never |

Elsewhere, because it belongs to one thing only:

- `pipeline.watching.process.Signals` receives SIGTERM, SIGINT and SIGCHLD while a watcher works, and undoes that.
- `models.fitting.devices` sets Keras' dtype policy while a model is built and fitted, and undoes that.
- `pipeline.serving.server` receives SIGTERM and SIGINT while it serves, and undoes that.
- `pipeline.doctor` sets TMPDIR, `pipeline.commands.compare` and `serve` TF_CPP_MIN_LOG_LEVEL: for good.
"""

import contextlib
import gc
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from pipeline.output import PLAIN_WIDTH, plain_console, verbose

if TYPE_CHECKING:
    from rich.console import Console


@contextlib.contextmanager
def large_imports() -> Iterator[None]:
    """Keeps the garbage collector off a block that imports TensorFlow and the like, and off what it imported for good.

    Such an import makes millions of objects that live as long as the process. The collector would walk over them
    hundreds of times while they are made, and once more when the process ends: together over half of the time of a
    short command.

    The collector cannot be kept off those objects alone: it is kept off all that there are, and never frees them. So a
    block that imports nothing, because an earlier one did, changes nothing.
    """
    modules = len(sys.modules)
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > modules:
            gc.freeze()
        gc.enable()


@contextlib.contextmanager
def output_to(log: Path) -> "Iterator[Console]":
    """Sends everything that this process and its libraries, C++ included, print to `log`.

    With --verbose, it goes to the original standard error, too.

    Yields:
      A console on the original standard output. Where that is no terminal, the console prints no control characters.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    saved = os.dup(1), os.dup(2)
    with _appended(log) as descriptor, os.fdopen(os.dup(1), "w", encoding="utf-8") as original:
        os.dup2(descriptor, 1)
        os.dup2(descriptor, 2)
        try:
            yield plain_console(original, None if original.isatty() else PLAIN_WIDTH)
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            except OSError:  # the disk is full: what could not be written must not come out of the terminal later
                with open(os.devnull, "ab") as nowhere:
                    for number in (1, 2):
                        os.dup2(nowhere.fileno(), number)
                    sys.stdout.flush()
                    sys.stderr.flush()
            for number, descriptor in enumerate(saved, start=1):
                os.dup2(descriptor, number)
                os.close(descriptor)


@contextlib.contextmanager
def _appended(log: Path) -> Iterator[int]:
    """Yields a descriptor to write on to `log` and, with --verbose, to standard error as it is now."""
    if not verbose():
        with log.open("ab") as file:
            yield file.fileno()
        return
    with subprocess.Popen(["tee", "--append", log], stdin=subprocess.PIPE, stdout=os.dup(2)) as tee:
        assert tee.stdin
        yield tee.stdin.fileno()


@contextlib.contextmanager
def temporary_files_in(directory: Path) -> Iterator[None]:
    """Keeps temporary files of this process and its children in `directory`, which is removed at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    before = os.environ.get("TMPDIR")
    os.environ["TMPDIR"] = str(directory)
    tempfile.tempdir = None  # read the variable again
    try:
        yield
    finally:
        if before is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before
        tempfile.tempdir = None
        shutil.rmtree(directory, ignore_errors=True)


@contextlib.contextmanager
def direct_to_this_machine() -> Iterator[None]:
    """Keeps connections of this process and its children to this machine off the proxies in the environment.

    Workers of Beam talk to their runner by gRPC, which reads `no_grpc_proxy` or else `no_proxy`; other libraries read
    `no_proxy` or `NO_PROXY`. Connections to other machines go through the proxies as before.
    """
    names = ("no_proxy", "NO_PROXY", "no_grpc_proxy")
    before = {name: os.environ.get(name) for name in names}
    spared = before["no_proxy"] or before["NO_PROXY"] or ""
    here = ",".join(("localhost", "127.0.0.1", "::1", socket.gethostname()))
    changed = {"no_grpc_proxy": f"{before['no_grpc_proxy'] or spared},{here}".lstrip(",")}
    if spared.strip() != "*":  # which means every machine, but only if it stands alone
        changed |= dict.fromkeys(("no_proxy", "NO_PROXY"), f"{spared},{here}".lstrip(","))
    try:
        os.environ.update(changed)
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def exit_on_sigterm() -> Iterator[None]:
    """Raises SystemExit in the main thread on SIGTERM, so that `finally` and `except` still run."""

    def stop(*_: object) -> None:
        raise SystemExit("stopped")

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def end_now(code: int) -> NoReturn:
    """Ends the process with an exit code at once: no thread is waited for, no buffer written, nothing cleaned up."""
    os._exit(code)
