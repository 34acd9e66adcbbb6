"""Fixtures for what is known before a run, and for what runs elsewhere."""

import fcntl
import json
import os
import pty
import re
import select
import subprocess
import sys
import termios
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from etils import epath

from components.audio.config import AudioConfig
from components.base.errors import UserError
from components.library.layout import Library, Manifest, SplitCount, read_manifest, span_dir
from components.library.set_aside import unusable
from components.library.spans import write_library
from pipeline.config.settings import PipelineConfig

SECTIONS = {
    "kubeflow": {"image": "r/genre:1"},
    "vertex": {"image": "r/genre:1", "project": "p", "region": "europe-west4"},
}


@pytest.fixture
def remote_config() -> Callable[..., PipelineConfig]:
    """A configuration for a target, with other settings in its section."""

    def make(target: str, **settings: Any) -> PipelineConfig:
        section = SECTIONS[target] | {"check_buckets": False} | settings
        return PipelineConfig.model_validate({"data": "gs://b/data", "workspace": "gs://b", target: section})

    return make


@pytest.fixture
def package_text() -> Callable[[PipelineConfig, str], str]:
    """What `genre compile` writes, but of two nodes; tests/test_submit.py has the whole."""

    def make(config: PipelineConfig, target: str) -> str:
        compiled = {"runtimeValue": {"constant": config.model_dump_json()}}
        spec = {
            "pipelineInfo": {"name": config.name},
            "schemaVersion": "2.1.0",
            "defaultPipelineRoot": "gs://b/artifacts",
            "root": {
                "inputDefinitions": {
                    "parameters": {
                        "data": {"parameterType": "STRING", "defaultValue": config.data},
                        "span": {"parameterType": "STRING", "defaultValue": "last"},
                        "settings": {"parameterType": "STRING", "defaultValue": ""},
                    }
                },
                "dag": {
                    "tasks": {
                        "Planner": {"inputs": {"parameters": {"compiled": compiled}}},
                        "Trainer": {"cachingOptions": {"enableCache": True}, "dependentTasks": ["Planner"]},
                    }
                },
            },
        }
        if target == "vertex":
            runtime = {
                "gcsOutputDirectory": "gs://b/artifacts",
                "parameterValues": {"data": config.data, "span": "last"},
            }
            job = {"displayName": config.name, "labels": {"tfx": "1"}, "pipelineSpec": spec, "runtimeConfig": runtime}
            return json.dumps(job)
        platform = {"platforms": {"kubernetes": {"deploymentSpec": {"executors": {"Trainer_executor": {}}}}}}
        return yaml.safe_dump_all([spec, platform])

    return make


@pytest.fixture
def package_file(
    tmp_path: Path, remote_config: Callable[..., PipelineConfig], package_text: Callable[[PipelineConfig, str], str]
) -> Callable[..., Path]:
    """A file of it, for a target and other settings in its section."""

    def make(target: str, **settings: Any) -> Path:
        file = tmp_path / f"pipeline-{target}"
        file.write_text(package_text(remote_config(target, **settings), target))
        return file

    return make


@dataclass(frozen=True)
class Shown:
    """What a command left on a terminal."""

    code: int
    raw: str
    """All that it wrote there."""
    screen: list[str]
    """The lines that a person sees in the end, those that were scrolled away included."""
    restored: bool
    """Whether the cursor can be seen, and the terminal behaves as before."""


def _screen(raw: str, rows: int, columns: int) -> list[str]:
    """Follows the control sequences that rich uses; a sequence that is not known is an error."""
    lines, row, column = [""], 0, 0
    for text, controls, argument, letter in re.findall(r"([^\x1b\r\n]+)|([\r\n])|\x1b\[([\d;?]*)([A-Za-z])", raw):
        if text:
            for character in text:
                if column == columns:
                    row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
                lines[row] = lines[row][:column].ljust(column) + character + lines[row][column + 1 :]
                column += 1
        elif controls == "\r":
            column = 0
        elif controls == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif letter == "A":
            row = max(row - int(argument or 1), len(lines) - rows, 0)
        elif letter == "K":
            lines[row] = ""
        else:
            assert letter in "mhl", f"{argument}{letter}"
    return [line.rstrip() for line in lines]


@pytest.fixture
def on_terminal() -> Callable[..., Shown]:
    """Runs Python's arguments on a terminal of so many rows and columns.

    `interrupt_at`: Ctrl-C is pressed when this regular expression matches what was written.
    """

    def run(*words: object, rows: int = 40, columns: int = 110, interrupt_at: str | None = None, **how: Any) -> Shown:
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (rows, columns))
        before = termios.tcgetattr(slave)

        def take_terminal() -> None:
            os.setsid()
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        process = subprocess.Popen(
            [sys.executable, *map(str, words)],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            preexec_fn=take_terminal,
            **how,
        )
        raw = b""
        while process.poll() is None or select.select([master], [], [], 0)[0]:
            if select.select([master], [], [], 0.05)[0]:
                raw += os.read(master, 1 << 16)
            if interrupt_at and re.search(
                interrupt_at, re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", raw.decode(errors="ignore"))
            ):
                os.write(master, b"\x03")
                interrupt_at = None
        text = raw.decode()
        after = termios.tcgetattr(slave)
        os.close(slave)
        os.close(master)
        seen = text.rfind("\x1b[?25h") >= text.rfind("\x1b[?25l")
        return Shown(process.returncode, text, _screen(text, rows, columns), seen and before == after)

    return run


@dataclass(frozen=True)
class Place:
    """A library and a workspace; the library's songs are long gone, and its shards too."""

    data: Path
    workspace: Path

    def config(self, **settings: Any) -> PipelineConfig:
        """The configuration of a run here, at first with a window of 3."""
        places = {"data": str(self.data), "workspace": str(self.workspace)}
        return PipelineConfig.model_validate(places | {"window": 3} | settings)

    def add(
        self, span: int, digest: str | None = None, genres: tuple[str, ...] = ("folk", "rock"), **clips: int
    ) -> None:
        """Puts span number N there, with 10 N clips to train on, or with so many `clips` of each split."""
        write_library(self.data, Library(genres=genres, audio=AudioConfig()))
        directory = span_dir(self.data, span)
        directory.mkdir(exist_ok=True)
        clips = {"train": 10 * span, "eval": 4, "test": 6} | clips
        splits = {name: SplitCount(clips=count, groups=2, genres={}) for name, count in clips.items()}
        digest = f"digest of {span}" if digest is None else digest
        manifest = Manifest(
            span=span,
            source="test",
            digest=digest,
            input_files=20,
            splits=splits,
            rejects={},
            genres=(),
            schema_digest="",
            files={},
        )
        (directory / "manifest.json").write_text(manifest.model_dump_json())

    def set_aside(self, span: int) -> None:
        """As an import does that finds it damaged."""
        manifest = read_manifest(epath.Path(self.data), span).digest
        unusable(str(self.workspace / "set-aside"), {span: manifest}, UserError("damaged TFRecord files"))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    """Spans 1 to 5, and nothing made of them yet."""
    place = Place(tmp_path / "data", tmp_path / "workspace")
    place.data.mkdir()
    for span in range(1, 6):
        place.add(span)
    return place
