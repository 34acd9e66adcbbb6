"""Fixtures for what is known before a run, and for what runs elsewhere."""

import json
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
