"""Settings of ingest, splits and validation."""

from typing import Literal

from pydantic import Field, model_validator

from components.base.section import Section, Share


class SplitConfig(Section):
    """Shares of the groups in each split, where the data set brings no split of its own."""

    train: Share = 0.64
    eval: Share = 0.16
    test: Share = 0.20

    @model_validator(mode="after")
    def _check(self) -> "SplitConfig":
        if abs(self.train + self.eval + self.test - 1.0) > 1e-9:
            raise ValueError(f"train + eval + test is {self.train + self.eval + self.test:g}, not 1")
        return self


class IngestConfig(Section):
    """What is accepted from a library, and how it is written."""

    min_seconds: float = Field(2.0, ge=0.0, description="shorter files are rejected")
    silence_dbfs: float = Field(-60.0, le=0.0, description="files whose peak stays below are rejected as silent")
    max_reject_share: Share = Field(0.1, description="more rejects than this fail the ingest")
    clips_per_shard: int = Field(64, ge=1, description="input files per TFRecord shard")
    splits: SplitConfig = SplitConfig()


class ValidationConfig(Section):
    """What ExampleValidator's anomalies lead to."""

    on_anomaly: Literal["stop", "continue"] = "stop"
