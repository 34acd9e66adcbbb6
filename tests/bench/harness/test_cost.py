import pytest

from bench.harness.cost import step_costs
from bench.harness.machine import this_machine
from bench.harness.result import Result
from bench.harness.table import markdown
from bench.harness.timing import Sample

SIZES = (100, 1000, 5000)


def scale(fixed: float, per_clip: float, core_per_clip: float) -> Result:
    """Measured without an error: every step takes what the arguments say, the Trainer twice of it."""

    def sample(clips: int, factor: float) -> tuple[Sample, ...]:
        seconds = factor * (fixed + per_clip * clips)
        figures = {"seconds": seconds, "bytes": 2000.0 * clips, "clips": float(clips)}
        cpu = 7.0 + factor * core_per_clip * clips  # with imports
        return (Sample(wall=seconds + 5.0, cpu=cpu, peak_bytes=clips * 2**20, figures=figures),)

    steps = {"ingest": 1.0, "Transform": 1.0, "Trainer": 2.0}
    return Result(
        name="scale",
        about="lines",
        clips=5000,
        seconds=30.0,
        repeats=1,
        date="2026-01-02 03:04",
        commit="0123456789",
        machine=this_machine(),
        rows=(),
        sides={f"{step}, {clips} clips": sample(clips, factor) for step, factor in steps.items() for clips in SIZES},
        notes=(),
    )


def test_a_line_is_found_again() -> None:
    cost = step_costs(scale(fixed=3.0, per_clip=0.01, core_per_clip=0.016))["Transform"]
    assert cost.fixed == pytest.approx(3.0)
    assert cost.per_clip == pytest.approx(0.01)
    assert cost.core_per_clip == pytest.approx(0.016)
    assert cost.bytes_per_clip == pytest.approx(2000.0)
    assert cost.peak_bytes == 5000 * 2**20
    assert cost.seconds(8000) == pytest.approx(83.0)
    assert cost.seconds_on(16, 8000) == pytest.approx(3.0 + 8.0)


def test_more_cores_help_all_but_the_trainer() -> None:
    row = next(line for line in markdown([scale(0.0, 0.036, 0.036)]).splitlines() if line.startswith("| FMA-full"))
    name, cores, hours, slowest, core_hours, written, epoch = (cell.strip() for cell in row.strip("|").split("|"))
    assert (name, cores, slowest) == ("FMA-full, 106,574 clips", "16", "ingest, 50%")
    assert float(core_hours) == pytest.approx(2 * 106_574 * 0.036 / 3600, rel=0.01)
    assert float(hours) == pytest.approx(2 * 106_574 * 0.036 / 3600 / 16, rel=0.01)
    assert float(epoch) == pytest.approx(2 * 106_574 * 0.036 / 3600, rel=0.01)
    assert written == "0.426 GB"
