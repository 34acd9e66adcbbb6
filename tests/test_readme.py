"""The README's commands, pasted into a shell one after the other, by someone with a small library."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).resolve().parents[1]
SETTINGS = {
    "audio": {"sample_rate": 8000, "clip_seconds": 1.0},
    "ingest": {"min_seconds": 0.5},
    "mel": {"n_fft": 512, "hop_length": 256, "n_mels": 24},
    "model": {"kind": "logistic_regression", "window_seconds": 1.0},
    "retrain": {"min_new_clips": 1, "cooldown_hours": 0.0},
    "beam": {"mode": "in_memory"},
}


@pytest.mark.long
def test_the_commands_follow_each_other(tmp_path: Path, compose: Callable[..., Path]) -> None:
    home, project = tmp_path / "home", tmp_path / "project"
    for seed, name in enumerate(("music", "more-music", "new")):
        compose(home / name, {"train": 30 if name != "new" else 2}, seed)
    (project / "deeper").mkdir(parents=True)
    (project / "genre.yaml").write_text(yaml.safe_dump(SETTINGS))
    section = (REPOSITORY / "README.md").read_text().partition("## Your own music")[2].partition("\n## ")[0]
    commands = [line for block in re.findall(r"```\n(.*?)```", section, re.DOTALL) for line in block.splitlines()]
    commands = [
        line for line in commands if not line.startswith("genre weights")
    ]  # it asks the network; see its own test
    assert {line.split()[1] for line in commands} >= {
        "ingest",
        "run",
        "retrain",
        "history",
        "models",
        "why",
        "rollback",
    }
    places = {"HOME": str(home), "PYTHONPATH": str(REPOSITORY)}
    places["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"

    def pasted(line: str, cwd: Path = project) -> str:
        done = subprocess.run(
            ["bash", "-c", line], cwd=cwd, env=os.environ | places, capture_output=True, text=True, timeout=600
        )
        assert done.returncode == 0, f"{line}\n{done.stdout}\n{done.stderr}"
        settings, *others = done.stderr.splitlines()
        assert settings == f"settings: {project}/genre.yaml"
        assert set(others) <= {"left out of folders: 1 not audio"}  # the table of the songs
        return done.stdout

    printed = {line: pasted(line) for line in commands}
    names = [line for line in commands if line.startswith("genre predict")]
    assert all(printed[line].count(".wav: ") == 6 for line in names)
    (models,) = (text for line, text in printed.items() if line.startswith("genre models"))
    assert re.findall(r"^ *([12]) +(served)?", models, re.MULTILINE) == [("2", "served"), ("1", "")]
    assert re.search(r"^ *1 +served", pasted("genre models", project / "deeper"), re.MULTILINE)
