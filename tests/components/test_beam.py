"""Options of the Beam steps, as Beam itself reads them."""

import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from tfx.utils import dependency_utils

from components.beam import beam_args
from components.config import BeamConfig

MODES = ("in_memory", "multi_threading", "multi_processing")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [0, 3])
def test_beam_understands_mode_and_workers(mode: str, workers: int) -> None:
    options = PipelineOptions(beam_args(BeamConfig(mode=mode, workers=workers)))
    assert options.view_as(StandardOptions).runner == "DirectRunner"
    direct = options.view_as(DirectOptions)
    assert direct.direct_running_mode == mode
    assert direct.direct_num_workers == (1 if mode == "in_memory" else workers)
    assert not options.view_as(SetupOptions).beam_plugins


def test_further_options_have_the_last_word() -> None:
    further = ("--runner=FlinkRunner", "--save_main_session")
    options = PipelineOptions(beam_args(BeamConfig(options=further)))
    assert options.view_as(StandardOptions).runner == "FlinkRunner"
    assert options.view_as(SetupOptions).save_main_session


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("further", [(), ("--runner=FlinkRunner",), ("--runner=DataflowRunner",)])
def test_workers_of_every_runner_import_tfx_first(mode: str, further: tuple[str, ...]) -> None:
    options = PipelineOptions(beam_args(BeamConfig(mode=mode, options=further), tfx_workers=True))
    assert options.view_as(SetupOptions).beam_plugins == ["tfx"]


def test_tfx_packs_itself_up_for_no_worker_of_this_machine() -> None:
    args = beam_args(BeamConfig(), tfx_workers=True)
    assert dependency_utils.make_beam_dependency_flags(args) == args


def test_other_runners_are_not_told_of_an_image() -> None:
    args = beam_args(BeamConfig(options=("--runner=FlinkRunner",)), tfx_workers=True)
    assert PipelineOptions(args).view_as(WorkerOptions).sdk_container_image is None
