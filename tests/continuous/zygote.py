"""Runs `genre` without its start-up: imports TensorFlow and TFX once, then forks for every command.

    python zygote.py                     reads jobs from standard input, a JSON object per line

    {"argv": [...], "log": FILE, ...}    the command's arguments, where its output goes, and what befalls it: see FATES
    {"pid": N}                           answers that it began
    {"code": N}                          and how it ended: its exit code, or the negative number of the signal

A run of the pipeline needs a process of its own. That process would spend more time on imports than on everything else,
and a test of many runs with it. Nothing in TensorFlow has run before the fork, so the child may do as it likes.
"""

import datetime
import importlib
import json
import os
import resource
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
    """Has this process kill itself instead of calling a function, as in "components.model_store._write_pointer"."""
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
    output = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    from pipeline.cli import main

    for fate in FATES.keys() & job.keys():
        FATES[fate](*job[fate])

    sys.argv = ["genre", *job["argv"]]
    try:
        main()
    except SystemExit as ended:
        return int(ended.code or 0)
    except BaseException:  # noqa: BLE001 (as the interpreter itself would do)
        traceback.print_exc()
        return 1
    return 0


def serve() -> None:
    """Takes jobs until standard input ends."""
    from pipeline.imports import large_imports

    with large_imports():
        import pipeline.local  # noqa: F401 (for the children)

    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                code = work(job)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        print(json.dumps({"pid": pid}), flush=True)
        _, status = os.waitpid(pid, 0)
        print(json.dumps({"code": os.waitstatus_to_exitcode(status)}), flush=True)


if __name__ == "__main__":
    serve()
