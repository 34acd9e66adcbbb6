"""A cost model: the time for libraries of other sizes, from the measurements of `bench.benchmarks.scale`.

A step takes a fixed time and a core time per clip, which is divided among the cores, because files do not depend on one
another. The Trainer is the exception: it is one process on one machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.harness.result import Result
from bench.harness.timing import Sample

ONE_MACHINE = ("Trainer",)
"""Steps that do not get faster with more Beam workers."""


@dataclass(frozen=True)
class StepCost:
    """Costs of one step, for clips of the measured length."""

    fixed: float
    """Seconds that do not depend on the number of clips, without imports."""
    per_clip: float
    """Seconds per clip on the measured machine."""
    core_per_clip: float
    """Core seconds per clip: user and system time of all threads."""
    bytes_per_clip: float
    """Bytes written per clip."""
    peak_bytes: int
    """Peak memory of the largest run, in bytes."""

    def seconds(self, clips: int) -> float:
        """Computes the seconds for `clips` clips on the measured machine."""
        return self.fixed + self.per_clip * clips

    def seconds_on(self, cores: int, clips: int) -> float:
        """Computes the seconds with the core time divided evenly among `cores` cores like the measured ones."""
        return self.fixed + self.core_per_clip * clips / cores


def step_costs(result: Result) -> dict[str, StepCost]:
    """Fits, for each step, the line through the smallest and the largest size that was measured."""
    by_step: dict[str, list[Sample]] = {}
    for side, (sample, *_) in result.sides.items():
        by_step.setdefault(side.partition(",")[0], []).append(sample)
    return {step: _line(sorted(samples, key=lambda each: each.figures["clips"])) for step, samples in by_step.items()}


def _line(samples: Sequence[Sample]) -> StepCost:
    first, last = samples[0], samples[-1]
    more = last.figures["clips"] - first.figures["clips"]
    per_clip = (last.figures["seconds"] - first.figures["seconds"]) / more
    return StepCost(
        fixed=max(0.0, first.figures["seconds"] - per_clip * first.figures["clips"]),
        per_clip=per_clip,
        core_per_clip=(last.cpu - first.cpu) / more,
        bytes_per_clip=last.figures["bytes"] / last.figures["clips"],
        peak_bytes=last.peak_bytes,
    )
