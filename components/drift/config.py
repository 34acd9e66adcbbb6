"""Settings of the test for drift."""

from pydantic import Field

from components.base.section import Section

PERMUTATIONS = 999
"""Random exchanges of the groups of both sides. The smallest p-value is 1 / (PERMUTATIONS + 1)."""
# Half of the rate is for four families of figures, each of which has one permutation that tops all others.
_SMALLEST_RATE = 2 * 4 / (PERMUTATIONS + 1)


class DriftConfig(Section):
    """The test whether the newest clips are like those that the served model was measured on."""

    false_alarm_rate: float = Field(
        0.01,
        ge=_SMALLEST_RATE,
        lt=0.5,
        description=f"largest share of spans without drift that are reported as drifted; at least {_SMALLEST_RATE:g}",
    )
