"""Settings of the policy that decides when to train again."""

from typing import Literal

from pydantic import Field

from components.base.section import Section


class RetrainConfig(Section):
    """Rules by which `genre retrain` and `genre watch` train."""

    when: Literal["policy", "never", "now"] = Field(
        "policy", description="policy: by the settings below; now: on every new span; never: only when a person asks"
    )
    on_drift: bool = Field(True, description="train when the newest span has drifted")
    min_new_clips: int | None = Field(
        200,
        ge=1,
        description="train on this many training clips that are new to the served model; null: no such rule",
    )
    every_days: float | None = Field(
        None, gt=0.0, description="train on a new span when the served model is this old, in days; null: no such rule"
    )
    cooldown_hours: float = Field(
        0.0, ge=0.0, description="hours that must pass between the starts of two runs; 0: no limit"
    )
    max_attempts: int = Field(3, ge=1, description="failures after which a run on the same data is not tried again")
    clean: bool = Field(True, description="after every run, `genre watch` removes what `genre clean` would")
