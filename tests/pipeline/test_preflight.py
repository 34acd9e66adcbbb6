"""What is looked at before a run: on this machine its runner, too, which elsewhere is another machine's matter."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from components.config import BeamConfig
from components.errors import UserError
from pipeline.cli import cli
from pipeline.config import PipelineConfig
from pipeline.preflight import check

DATAFLOW = {"runner": "dataflow", "dataflow": {"temp_location": "gs://b/tmp"}}


def test_a_step_on_vertex_ai_may_have_its_beam_steps_on_dataflow(tmp_path: Path) -> None:
    """The Planner checks, too: all that is wrong here is that there is no library."""
    config = PipelineConfig(
        data=str(tmp_path / "data"), workspace=str(tmp_path), beam=BeamConfig.model_validate(DATAFLOW)
    )
    with pytest.raises(UserError, match="data") as refusal:
        check(config, leave_out=False)
    assert "beam.runner" not in str(refusal.value)


def test_a_run_on_this_machine_may_not(tmp_path: Path) -> None:
    settings = ("beam.runner=dataflow", "beam.dataflow.temp_location=gs://b/tmp")
    words = [word for setting in settings for word in ("--set", setting)]
    done = CliRunner().invoke(cli, ["run", "--data", str(tmp_path / "data"), "--workspace", str(tmp_path), *words])
    assert isinstance(done.exception, UserError)
    assert "beam.runner: workers of dataflow see buckets only" in str(done.exception)
