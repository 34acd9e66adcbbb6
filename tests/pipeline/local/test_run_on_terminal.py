"""Runs on a terminal: what a person sees of them, and what their logs have."""

import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, compose: Callable[..., Path], zygote: Any) -> Path:
    """A folder with settings and an ingested library."""
    root = tmp_path_factory.mktemp("project")
    tracks = compose(root / "songs", {"train": 8, "eval": 4, "test": 4})
    (root / "genre.yaml").write_text((REPOSITORY / "tests" / "tiny.yaml").read_text())
    done = zygote.run(
        "genre", "ingest", "csv", tracks, "--audio-root", root / "songs", "--split-column", "split", cwd=root
    )
    assert done.returncode == 0, done.stderr
    return root


@pytest.fixture
def run(project: Path, on_terminal: Callable[..., Any]) -> Callable[..., Any]:
    """`genre run` in that folder, in a workspace of its own; returns what was shown, and the log."""
    variables = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    variables |= {"TERM": "xterm", "PYTHONPATH": str(REPOSITORY)}
    genre = Path(sys.executable).with_name("genre")

    def start(workspace: str, *words: str, **how: Any) -> tuple[Any, str]:
        shown = on_terminal(genre, "run", "--workspace", workspace, *words, cwd=project, env=variables, **how)
        return shown, sorted(project.glob(f"{workspace}/runs/*/run.log"))[-1].read_text()

    return start


def rows(screen: list[str]) -> list[str]:
    """The names of the nodes, of a table that nothing has torn apart."""
    start = next(number for number, line in enumerate(screen) if line.split() == ["node", "state", "seconds"])
    assert re.fullmatch(r"settings: \S+/genre\.yaml", "".join(screen[:start])), "nothing else is above it"
    table = screen[start + 1 : screen.index("", start)] if "" in screen[start:] else screen[start + 1 :]
    return [line for line in table if re.fullmatch(r"\S.* +(done|cached|failed|skipped|waiting)( +[\d.]+)?", line)]


def test_an_interrupted_run_and_the_one_that_continues_it(run: Callable[..., Any]) -> None:
    shown, log = run("w", interrupt_at="Transform +running", columns=80)
    assert (shown.code, shown.restored) == (130, True)
    assert [line for line in shown.screen if line][-1] == "genre: interrupted"
    assert "Traceback" not in shown.raw
    assert re.search(r"^genre: Transform: \S+ to \S+, [\d.]+ s, canceled$", log, re.MULTILINE)
    assert log.rstrip().endswith("genre: interrupted")

    shown, log = run("w", columns=40)
    assert (shown.code, shown.restored) == (0, True)
    names = [line.split()[0] for line in rows(shown.screen)][1:]
    noted = re.findall(r"^genre: (\S+): (\S+)\+00:00 to (\S+)\+00:00, ([\d.]+) s, (?:done|cached)$", log, re.MULTILINE)
    assert [name for name, *_ in noted] == names
    assert sorted(noted, key=lambda line: line[1:3]) == noted
    assert "pushed as version 1" in " ".join(shown.screen)

    shown, _ = run("w", "--fail-if-refused")
    assert shown.code == 0
    assert "nothing to do: version 1 stays served" in shown.screen
    shown, _ = run("w", "--fail-if-refused", "--set", "gate.max_megabytes=0.001")
    assert (shown.code, "refused" in shown.screen) == (3, True)
    shown, _ = run("w", "--set", "gate.max_megabytes=0.001")
    assert (shown.code, "refused" in shown.screen) == (0, True)


def test_a_failing_run(run: Callable[..., Any], project: Path) -> None:
    (project / "failing").mkdir()
    (project / "failing" / "checkpoints").touch()  # which must be a folder
    shown, log = run("failing", columns=80)
    assert (shown.code, shown.restored) == (1, True)
    assert [line.split()[0] for line in rows(shown.screen) if " failed " in line] == ["Trainer"]
    text = " ".join(shown.screen)
    assert "genre: Trainer failed: " in text and "run.log" in text
    assert "Traceback" not in shown.raw and "Traceback" in log
