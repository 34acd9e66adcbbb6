"""Benchmarks, run whole at a tiny size.

Not those that drive nodes of the DAG: each process of theirs loads TFX, and together they take ten minutes.
"""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench.__main__ import bench
from bench.harness.registry import BENCHMARKS
from bench.harness.result import read_results
from bench.harness.runner import Request, run
from components.base.errors import UserError

IN_ONE_PROCESS = ("mel", "ingest")


@pytest.mark.long
@pytest.mark.parametrize("name", IN_ONE_PROCESS)
def test_a_benchmark_runs_and_keeps_its_result(name: str, tmp_path: Path) -> None:
    options = ("--clips", "12", "--repeats", "2", "--seconds", "2")
    places = ("--scratch", str(tmp_path / "scratch"), "--results", str(tmp_path / "results"))
    done = CliRunner().invoke(bench, [name, *options, *places], catch_exceptions=False)
    assert done.exit_code == 0
    result = read_results(tmp_path / "results")[name]
    assert [row.what for row in result.rows] == [target.what for target in BENCHMARKS[name].targets.values()]
    for row in result.rows:
        assert 0 < row.measured.low <= row.measured.high
        assert row.what in done.output
    for samples in result.sides.values():
        assert [sample.wall > 0 and sample.cpu > 0 for sample in samples] == [True, True]
    assert (result.clips, result.repeats, result.seconds) == (12, 2, 2.0)
    assert json.loads((tmp_path / "results" / f"{name}.json").read_text())["commit"]
    assert not list((tmp_path / "scratch").glob(".work*"))

    page = tmp_path / "page.md"
    made = CliRunner().invoke(bench, [*places, "--table", str(page)], catch_exceptions=False)
    assert made.exit_code == 0
    assert result.rows[0].what in page.read_text()


def test_what_goes_wrong_in_a_benchmark_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--clips 5: too few songs"):
        run(Request("unchanged_run", clips=5, repeats=1, seconds=2.0, scratch=tmp_path))
