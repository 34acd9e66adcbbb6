"""Settings of the policy that decides when to train again."""

from typing import Literal

from pydantic import Field

from components.base.section import Section


class RetrainConfig(Section):
    """When `genre retrain` and `genre watch` train."""

    when: Literal["policy", "never", "now"] = Field(
        "policy", description="now: whenever there is a new span, whatever the rest of this says"
    )
    on_drift: bool = Field(True, description="when the newest span has drifted")
    min_new_clips: int | None = Field(
        200, ge=1, description="when the window has so many training clips that the champion has not seen; null: never"
    )
    every_days: float | None = Field(
        None, gt=0.0, description="when the champion is so old and there is a new span; null: never"
    )
    cooldown_hours: float = Field(0.0, ge=0.0, description="that must pass between the starts of two runs")
    max_runs_per_day: int = Field(24, ge=1, description="runs that may start in a day of UTC")
    max_attempts: int = Field(3, ge=1, description="failures after which the same run is given up")
