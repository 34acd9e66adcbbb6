"""Settings of the gate."""

from pydantic import Field

from components.base.section import Section, Share


class FloorsConfig(Section):
    """What a candidate must reach on a set of clips; a floor of 0 is none."""

    min_accuracy: Share = Field(0.0, description="floor of the accuracy")
    min_macro_f1: Share = Field(0.0, description="floor of the mean F1 over genres")
    min_genre_recall: Share = Field(0.0, description="floor of every genre's recall")


class GoldenConfig(FloorsConfig):
    """What a candidate must reach on the golden set, which stays the same from span to span; a floor of 0 is none."""


class GateConfig(FloorsConfig):
    """What a candidate must clear to be pushed. The floors are of the newest span's test clips."""

    min_accuracy: Share = Field(0.5, description="floor of the test accuracy")
    genre_recall: dict[str, Share] = Field(default_factory=dict, description="floors of single genres' recall")
    golden: GoldenConfig = GoldenConfig()
    significance: float = Field(
        0.05, gt=0.0, lt=1.0, description="p-value under which a paired test calls the candidate worse"
    )
    max_calibration_error: Share = Field(
        1.0, description="limit of the expected calibration error on the test clips; 1: none"
    )
    max_latency_ms: float | None = Field(
        None, gt=0.0, description="limit of the median time for one clip, on the machine that judges; null: none"
    )
    max_megabytes: float | None = Field(
        None, gt=0.0, description="limit of the SavedModel's size, in millions of bytes; null: none"
    )
