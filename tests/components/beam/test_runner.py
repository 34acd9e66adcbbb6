"""The runner for this machine, against Beam's own."""

from typing import Any

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import worker_handlers
from apache_beam.runners.worker import data_plane
from apache_beam.testing.util import assert_that, equal_to

from components.beam.direct import direct_args


@pytest.mark.parametrize("mode", ["in_memory", "multi_threading"])
def test_no_buffer_is_emptied_while_a_stage_writes_into_it(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    by_time: list[object] = []

    class Recorded(data_plane.TimeBasedBufferingClosableOutputStream):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            by_time.append(self)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(data_plane, "TimeBasedBufferingClosableOutputStream", Recorded)

    def run(*runner: str) -> int:
        """The number of buffers that a thread of their own empties, in a pipeline of two stages."""
        monkeypatch.setattr(worker_handlers, "DATA_BUFFER_TIME_LIMIT_MS", 1000)
        by_time.clear()
        with beam.Pipeline(options=PipelineOptions([*direct_args(mode, 2), *runner])) as pipeline:
            pairs = pipeline | beam.Create(range(100)) | beam.Map(lambda number: (number % 7, number))
            assert_that(pairs | beam.GroupByKey() | beam.Map(lambda pair: pair[0]), equal_to(range(7)))
        return len(by_time)

    assert run() == 0
    if mode == "multi_threading":
        # Without triggers of ours; else it would try Prism first, for which it downloads a program.
        own = run("--runner=DirectRunner", "--allow_unsafe_triggers")
        assert own > 0, "Beam's own runner is no danger any more"
