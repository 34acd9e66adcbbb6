"""What is on a terminal while something works, and what is in the log: rich, Python and the terminal are real."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

WORK = """
import logging, os, sys, time, warnings
from pathlib import Path
log, number, seconds = sys.argv[1:]
del sys.argv[1:]
logging.basicConfig()
from pipeline.console import NodeTable, busy
from pipeline.node_state import NodeState
from pipeline.process import output_to
nodes = [f"DistributionDetector-{number}" for number in range(int(number))]
with output_to(Path(log)) as console:
    with busy(console, "loading"):
        warnings.warn("from the loading")
    with NodeTable(console) as table:
        table.expect(nodes)
        for node in nodes:
            table.show(NodeState(node, "running"))
            print(f"print of {node}")
            print(f"error of {node}", file=sys.stderr)
            os.write(2, f"native of {node}\\n".encode())
            warnings.warn(f"warning of {node}")
            logging.warning(f"logging of {node}")
            time.sleep(float(seconds))
            table.show(NodeState(node, "failed" if node == nodes[-1] else "done", 12.5))
    console.print("the end")
"""
SOURCES = ("print", "error", "native", "warning", "logging")


def environment(**variables: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")} | variables


@pytest.mark.parametrize(("rows", "columns", "nodes"), [(40, 110, 4), (24, 80, 4), (24, 40, 4), (8, 40, 12)])
def test_the_screen_has_the_table_and_the_log_all_else(
    rows: int, columns: int, nodes: int, tmp_path: Path, on_terminal: Callable[..., Any]
) -> None:
    log = tmp_path / "run.log"
    size = {"rows": rows, "columns": columns}
    shown = on_terminal("-c", WORK, log, nodes, 0, env=environment(TERM="xterm"), **size)
    assert (shown.code, shown.restored) == (0, True)
    lines = [line for line in shown.screen if line]
    assert lines[0].split() == ["node", "state", "seconds"]
    names = [f"DistributionDetector-{number}" for number in range(nodes)]
    assert [line.split() for line in lines[1:-1]] == [
        [name, "failed" if name == names[-1] else "done", "12.5"] for name in names
    ]
    assert lines[-1] == "the end"
    written = log.read_text()
    assert all(f"{source} of {name}" in written for source in SOURCES for name in names)
    assert "from the loading" in written and "\x1b" not in written


def test_a_low_terminal_shows_the_node_that_is_running(tmp_path: Path, on_terminal: Callable[..., Any]) -> None:
    shown = on_terminal("-c", WORK, tmp_path / "run.log", 12, 0.3, rows=8, columns=60, env=environment(TERM="xterm"))
    assert all(f"DistributionDetector-{number}" in shown.raw for number in range(12))
    assert [line.split()[-1] for line in shown.screen if "Distribution" in line] == ["12.5"] * 12
    assert "running" in shown.raw.partition("DistributionDetector-11")[2].partition("DistributionDetector-0")[0]


def test_no_colours_if_they_are_not_wanted(tmp_path: Path, on_terminal: Callable[..., Any]) -> None:
    words = ("-c", WORK, tmp_path / "run.log", 2, 0)
    assert "\x1b[32m" in on_terminal(*words, env=environment(TERM="xterm")).raw
    assert "\x1b[32m" not in on_terminal(*words, env=environment(TERM="xterm", NO_COLOR="1")).raw
    dumb = on_terminal(*words, env=environment(TERM="dumb"))
    assert "\x1b" not in dumb.raw
    assert [line.split() for line in dumb.screen if "Distribution" in line] == [
        ["DistributionDetector-0", "done", "12.5", "s"],
        ["DistributionDetector-1", "failed", "12.5", "s"],
    ]


@pytest.mark.parametrize("variables", [{}, {"FORCE_COLOR": "1"}, {"TTY_COMPATIBLE": "1"}], ids=str)
def test_elsewhere_there_are_lines_without_control_characters(variables: dict[str, str], tmp_path: Path) -> None:
    words = [sys.executable, "-c", WORK, str(tmp_path / "run.log"), "2", "0"]
    done = subprocess.run(words, env=environment(**variables), capture_output=True, text=True, check=True)
    first, second, end = done.stdout.splitlines()
    assert (first.split(), second.split()) == (
        ["DistributionDetector-0", "done", "12.5", "s"],
        ["DistributionDetector-1", "failed", "12.5", "s"],
    )
    assert (end, done.stderr) == ("the end", "")


def test_ctrl_c_leaves_a_message_and_a_sound_terminal(tmp_path: Path, on_terminal: Callable[..., Any]) -> None:
    command = (
        "import click; from pipeline.cli import run_command; any_words = {'allow_extra_args': True}\n"
        "run_command(click.Command('w', callback=work, context_settings=any_words), 'genre')"
    )
    work = "def work():\n" + "".join(f"    {line}\n" for line in WORK.strip().splitlines())
    words = ("-c", f"{work}\n{command}", tmp_path / "run.log", 2, 600)
    shown = on_terminal(*words, env=environment(TERM="xterm"), interrupt_at="running")
    assert (shown.code, shown.restored) == (130, True)
    assert [line for line in shown.screen if line][-1].endswith("genre: interrupted")
    assert "Traceback" not in shown.raw
