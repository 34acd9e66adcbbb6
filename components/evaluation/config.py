"""Settings of the gate."""

from typing import Annotated

from pydantic import AfterValidator, Field

from components.base.labels import normalised
from components.base.section import Section, Share


class GateConfig(Section):
    """Conditions that a candidate must meet to be pushed. Floors apply to the test clips of the newest span."""

    min_accuracy: Share = Field(0.5, description="smallest accuracy, as a share of the test clips; 0: no floor")
    min_macro_f1: Share = Field(0.0, description="smallest macro-F1, the mean F1 of the tested genres; 0: no floor")
    min_genre_recall: Share = Field(0.0, description="smallest recall of every tested genre; 0: no floor")
    genre_recall: dict[Annotated[str, AfterValidator(normalised)], Share] = Field(
        default_factory=dict,
        description="smallest recall by genre, in place of min_genre_recall; refuses if it is not tested; 0: no floor",
    )
    significance: float = Field(
        0.05, gt=0.0, lt=1.0, description="p-value of the paired test below which the candidate counts as worse"
    )
    max_calibration_error: Share = Field(
        1.0, description="largest expected calibration error on the test clips; 1: no limit"
    )
    max_latency_ms: float | None = Field(
        None,
        gt=0.0,
        description="largest median time for one clip, in milliseconds on the machine that judges; null: no limit",
    )
    max_megabytes: float | None = Field(
        None, gt=0.0, description="largest size of the SavedModel, in millions of bytes; null: no limit"
    )
