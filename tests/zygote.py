"""Runs commands without their start-up: imports TensorFlow and TFX once, then forks for every command.

    python zygote.py                     reads jobs from standard input, a JSON object per line

    {"id": 1, "argv": ["genre", ...]}    the command: `genre`, or python -m with the name of a module of ours
        "cwd", "stdout", "stderr":       where it runs, and the files that its output is appended to
        "die_after": [NODE], ...         what befalls it, if anything; see FATES
    {"id": 1, "pid": N}                  answers that it began
    {"id": 1, "code": N}                 and how it ended: its exit code, or the negative number of the signal

A run of the pipeline needs a process of its own. That process would spend more time on imports than on everything else,
and a test of many runs with it. Nothing in TensorFlow has run before the fork, so the child may do as it likes.
"""

import datetime
import importlib
import json
import os
import resource
import runpy
import select
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any


def die_after(node: str) -> None:
    """Has this process kill itself when the node is done and ML Metadata knows it, before the next begins."""
    from tfx.orchestration.local.local_dag_runner import LocalDagRunner

    original = LocalDagRunner.run_with_ir

    def run_with_ir(self: LocalDagRunner, ir: Any, *args: Any) -> Any:
        result = original(self, ir, *args)
        if ir.nodes[0].pipeline_node.node_info.id == node:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    LocalDagRunner.run_with_ir = run_with_ir


def die_before(name: str) -> None:
    """Has this process kill itself instead of calling a function, as "components.store.model_store._write_pointer"."""
    _before(name, lambda: os.kill(os.getpid(), signal.SIGKILL))


def lose(directory: str, name: str) -> None:
    """Has a directory vanish before a function is called."""
    _before(name, lambda: shutil.rmtree(directory))


def set_clock(days: float) -> None:
    """Has the clock of the day go wrong by so many days, for all of our own code."""

    class Wrong(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return datetime.datetime.now(tz) + datetime.timedelta(days=days)

    for name, module in sys.modules.copy().items():
        if name.startswith(("components.", "pipeline.")) and vars(module).get("datetime") is datetime.datetime:
            module.datetime = Wrong


def limit_files(size: int) -> None:
    """Has every write beyond so many bytes of a file fail, as on a full disk."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def _before(name: str, happens: Callable[[], object]) -> None:
    module_name, _, function = name.rpartition(".")
    module = importlib.import_module(module_name)
    original = getattr(module, function)

    def call(*args: Any, **kwargs: Any) -> Any:
        happens()
        return original(*args, **kwargs)

    setattr(module, function, call)


FATES: dict[str, Callable[..., None]] = {
    "die_after": die_after,
    "die_before": die_before,
    "lose": lose,
    "set_clock": set_clock,
    "limit_files": limit_files,
}
"""Each takes the list that the job has under its name."""


def work(job: dict[str, Any]) -> int:
    """In the child: the command, and its exit code."""
    os.chdir(job["cwd"])
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    outputs = [os.open(os.devnull, os.O_RDONLY), *(os.open(job[name], append) for name in ("stdout", "stderr"))]
    for target, descriptor in enumerate(outputs):
        os.dup2(descriptor, target)
    for fate in FATES.keys() & job.keys():
        FATES[fate](*job[fate])
    program, *_ = sys.argv = job["argv"]
    try:
        if program == "genre":
            from pipeline.cli import main

            main()
        else:
            runpy.run_module(program, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
            return 1
        return ended.code or 0
    except BaseException:  # noqa: BLE001 (as the interpreter itself would do)
        traceback.print_exc()
        return 1
    return 0


def start(job: dict[str, Any]) -> int:
    """Forks for a job; returns the child's process id."""
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        code = work(job)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """Takes jobs until standard input ends, as many at a time as there are."""
    from pipeline.process import large_imports

    with large_imports():
        import pipeline.local.runner  # noqa: F401 (for the children)

    def tell(**what: int) -> None:
        os.write(1, (json.dumps(what) + "\n").encode())

    ended, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    running: dict[int, int] = {}
    unread = b""
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            os.read(ended, 4096)
            for pid in list(running):
                done, status = os.waitpid(pid, os.WNOHANG)
                if done:
                    tell(id=running.pop(pid), code=os.waitstatus_to_exitcode(status))
        if 0 in ready:
            more = os.read(0, 1 << 16)
            if not more:
                return
            *lines, unread = (unread + more).split(b"\n")
            for line in lines:
                job = json.loads(line)
                pid = start(job)
                running[pid] = job["id"]
                tell(id=job["id"], pid=pid)


if __name__ == "__main__":
    serve()
