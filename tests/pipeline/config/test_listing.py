"""`genre config` shows every setting there is, and what it prints is a configuration."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from components.base.section import Section
from models.config import ModelConfig
from models.registry import KINDS, load
from pipeline.config.listing import setting_lines
from pipeline.config.settings import PipelineConfig, load_config

CONFIGS = sorted((Path(__file__).resolve().parents[3] / "configs").glob("*.yaml"))


def shown(kind: type[Section], text: str) -> None:
    """Asserts that `text` has every field of a section and of all sections inside, as pydantic finds them."""
    schema = kind.model_json_schema()
    for section in (schema, *schema.get("$defs", {}).values()):
        for name, field in section["properties"].items():
            line = f"{name}: " if "$ref" not in field else f"{name}: #"
            assert line in text, f"{section['title']}.{name}"
            assert field.get("description", "") in text, f"{section['title']}.{name}"


def test_every_setting_is_shown() -> None:
    text = "\n".join(setting_lines(PipelineConfig()))
    shown(PipelineConfig, text)
    for kind in KINDS:
        options = text.partition(f"options, if kind is {kind}:")[2].partition("options, if kind")[0]
        shown(type(load(ModelConfig(kind=kind))[1]), options)


@pytest.mark.parametrize("file", [None, *CONFIGS], ids=str)
def test_what_is_printed_is_the_configuration(file: Path | None, tmp_path: Path) -> None:
    config = load_config(file, [] if file else ["data=/data", "workspace=/workspace"])
    printed = tmp_path / "printed.yaml"
    printed.write_text("\n".join(setting_lines(config)))
    assert load_config(printed) == config


def test_sections_alone() -> None:
    lines = list(setting_lines(PipelineConfig(), only=["vertex"]))
    assert yaml.safe_load("\n".join(lines)) == {"vertex": None}
    assert "#   training:" in "\n".join(lines) and "machine_type" in "\n".join(lines)


def test_it_needs_no_tensorflow() -> None:
    code = """
import json, sys
from pipeline.config.listing import setting_lines
from pipeline.config.settings import PipelineConfig
list(setting_lines(PipelineConfig()))
print(json.dumps([name for name in ("tensorflow", "keras", "tfx", "scipy", "sklearn") if name in sys.modules]))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
