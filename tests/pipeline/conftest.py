"""Fixtures for what runs elsewhere."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipeline.config import PipelineConfig

SECTIONS = {
    "kubeflow": {"image": "r/genre:1"},
    "vertex": {"image": "r/genre:1", "project": "p", "region": "europe-west4"},
}
CALLS = {"timeout_seconds": 20.0, "retry_seconds": 30.0, "wait_seconds": 0.01, "poll_seconds": 0.01}


@pytest.fixture
def remote_config() -> Callable[..., PipelineConfig]:
    """A configuration for a target, with other settings in its section; it is patient, but does not wait long."""

    def make(target: str, **settings: Any) -> PipelineConfig:
        section = SECTIONS[target] | {"calls": CALLS, "check_buckets": False} | settings
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
