"""Runs `genre` without its start-up: imports TensorFlow and TFX once, then forks for every command.

    python zygote.py                     reads jobs from standard input, a JSON object per line

    {"argv": [...], "log": FILE, "die": [...]}   the command's arguments, where its output goes, where it kills itself
    {"pid": N}                           answers that it began
    {"code": N}                          and how it ended: its exit code, or the negative number of the signal

A run of the pipeline needs a process of its own. That process would spend more time on imports than on everything else,
and a test of many runs with it. Nothing in TensorFlow has run before the fork, so the child may do as it likes.
"""

import json
import os
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
    import importlib

    module, _, function = name.rpartition(".")

    def die(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(importlib.import_module(module), function, die)


DEATHS: dict[str, Callable[[str], None]] = {"after": die_after, "before": die_before}


def work(job: dict[str, Any]) -> int:
    """In the child: the command, and its exit code."""
    output = os.open(job["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for descriptor, target in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(descriptor, target)
    if job.get("die"):
        how, where = job["die"]
        DEATHS[how](where)
    from pipeline.cli import main

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
