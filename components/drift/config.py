"""Settings of the test for drift."""

import math

from pydantic import Field, model_validator

from components.base.section import Section


class DriftConfig(Section):
    """How the newest clips are compared with those that the served model was measured on."""

    false_alarm_rate: float = Field(
        0.01, gt=0.0, lt=0.5, description="share of spans without any drift in which some is reported all the same"
    )
    permutations: int = Field(999, ge=1, le=100000, description="random exchanges of both sides' groups")
    max_clips: int = Field(500, ge=2, description="clips of either side, in whole groups; the rest is left out")
    min_groups: int = Field(8, ge=2, description="groups of either side; fewer cannot be tested")

    @model_validator(mode="after")
    def _check(self) -> "DriftConfig":
        # Half of the rate is for four families of figures, each of which has one permutation that tops all others.
        least = math.ceil(round(8.0 / self.false_alarm_rate, 6)) - 1
        if self.permutations < least:
            raise ValueError(
                f"permutations {self.permutations} are too few for a false_alarm_rate of {self.false_alarm_rate:g}: no "
                f"drift could be so certain. Set permutations to at least {least}"
            )
        return self
