"""Settings of ingest, splits and validation."""

from typing import Literal

from pydantic import Field, model_validator

from components.base.section import Section, Share


class SplitConfig(Section):
    """Shares of the groups of each genre in each split, where the data set has no splits of its own."""

    train: Share = Field(0.64, description="share of a genre's groups (artists) in the split train, from 0 to 1")
    eval: Share = Field(0.16, description="share of a genre's groups (artists) in the split eval, from 0 to 1")
    test: Share = Field(0.20, description="share of a genre's groups (artists) in the split test, from 0 to 1")

    @model_validator(mode="after")
    def _check(self) -> "SplitConfig":
        if abs(self.train + self.eval + self.test - 1.0) > 1e-9:
            raise ValueError(f"train + eval + test is {self.train + self.eval + self.test:g}, not 1")
        return self


class IngestConfig(Section):
    """Settings of an ingest: the files that it accepts, and how it divides them."""

    min_seconds: float = Field(2.0, ge=0.0, description="shortest file that is accepted, in seconds")
    max_reject_share: Share = Field(
        0.1, description="largest share of rejected files, from 0 to 1, before the ingest fails"
    )
    near_duplicates: Literal["report", "reject"] = Field(
        "report",
        description="songs that are another encoding, cut or level of one in another split; report: they are only "
        "listed; reject: of two such songs, the one of the test or else of the validation is left out",
    )
    splits: SplitConfig = SplitConfig()


class ValidationConfig(Section):
    """The consequence of an anomaly that ExampleValidator finds."""

    on_anomaly: Literal["stop", "continue"] = Field(
        "stop", description="stop: a span with an anomaly fails the run; continue: the anomaly is only reported"
    )
