"""What other libraries would take, worked out from `bench.benchmarks.scale`'s measurements: a line for every step.

A step takes a fixed time, and then every clip takes its core time, shared out among the cores: files are independent of
one another. The Trainer is the exception, as it is one process on one machine.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from bench.harness.result import Result
from bench.harness.timing import Sample

ONE_MACHINE = ("Trainer",)
"""Steps that more Beam workers do not make faster."""


@dataclass(frozen=True)
class StepCost:
    """Of one step, for clips as long as those measured."""

    fixed: float
    """Seconds, whatever the number of clips; without imports."""
    per_clip: float
    """Seconds that a further clip takes on the measured machine."""
    core_per_clip: float
    """Core seconds of it: user and system time of all threads."""
    bytes_per_clip: float
    """Written."""
    peak_bytes: int
    """Memory of the largest run."""

    def seconds(self, clips: int) -> float:
        """On the measured machine."""
        return self.fixed + self.per_clip * clips

    def seconds_on(self, cores: int, clips: int) -> float:
        """With the clips' core time shared out evenly among `cores` like the measured ones."""
        return self.fixed + self.core_per_clip * clips / cores


def step_costs(result: Result) -> dict[str, StepCost]:
    """The line through the smallest and the largest size that `bench.benchmarks.scale` measured, by step."""
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
