"""Settings of what runs the Beam steps: the direct runner, Flink, Spark or Dataflow."""

import re
from typing import Literal

from pydantic import Field, model_validator

from components.base.section import Section


class PortableConfig(Section):
    """Settings that Flink and Spark share: both start Beam's Python workers in an environment of one of four types."""

    master: str
    job_server_jar: str | None = Field(
        None,
        description="Beam's job server for the cluster's version, a file or an address; null: Beam downloads it",
    )
    environment: Literal["external", "docker", "process", "loopback"] = Field(
        "external",
        description="where Beam's Python workers are; external: a pool at localhost:50000 beside each worker of the "
        "cluster; docker: containers of beam.image; process: processes; loopback: threads of the submitting process",
    )

    @model_validator(mode="after")
    def _check(self) -> "PortableConfig":
        if self.environment == "loopback" and not self.on_this_machine:
            raise ValueError(
                "environment: loopback means workers in the process that submits, where a cluster elsewhere does not "
                "find them. Choose external, docker or process."
            )
        return self

    @property
    def on_this_machine(self) -> bool:
        """Reports whether the cluster is on the machine that submits."""
        here = r"\[local\]|local(\[.+\])?$|(\w+://)?(localhost|127\.0\.0\.1):"
        return re.match(here, self.master) is not None


class FlinkConfig(PortableConfig):
    """A Flink cluster that runs the Beam steps."""

    master: str = Field(
        pattern=r"^(\[local\]|(https?://)?[^\s/:\[\]]+:\d+)$",
        description="REST address of the cluster, host:port; [local]: a new Flink on this machine for every pipeline",
    )
    parallelism: int | None = Field(
        None, ge=1, description="number of task slots that a job uses; null: Flink's default, often 1"
    )


class SparkConfig(PortableConfig):
    """A Spark cluster that runs the Beam steps."""

    master: str = Field(
        pattern=r"^(local(\[(\d+|\*)\])?|spark://[^\s/:]+:\d+)$",
        description="address of the cluster, spark://host:port; local[N]: a new Spark of N threads for every pipeline",
    )


class DataflowConfig(Section):
    """Google Cloud Dataflow, which starts and stops its workers by itself; networks and disks are `beam.options`."""

    temp_location: str = Field(pattern="^gs://[^/]", description="folder of a bucket for Dataflow's own files")
    project: str | None = Field(None, description="project on Google Cloud; null: vertex.project")
    region: str | None = Field(None, description="region of the workers; null: vertex.region")
    service_account: str | None = Field(
        None, pattern=r"^[^@\s]+@[^@\s]+$", description="account that the workers run as; null: the project's default"
    )
    machine_type: str | None = Field(None, description="machine type of the workers; null: Dataflow's choice")
    max_workers: int | None = Field(None, ge=1, description="largest number of workers; null: Dataflow's limit")


class BeamConfig(Section):
    """The runner of the Beam steps, and its options."""

    runner: Literal["direct", "flink", "spark", "dataflow"] = Field(
        "direct", description="what runs the Beam steps; direct: the machine of the step itself"
    )
    mode: Literal["in_memory", "multi_threading", "multi_processing"] = Field(
        "multi_threading", description="how the direct runner works: one thread, several threads, or several processes"
    )
    workers: int = Field(
        0, ge=0, description="number of threads or processes of the direct runner; 0: one per processor"
    )
    flink: FlinkConfig | None = Field(None, description="the Flink cluster, if beam.runner is flink; else null")
    spark: SparkConfig | None = Field(None, description="the Spark cluster, if beam.runner is spark; else null")
    dataflow: DataflowConfig | None = Field(None, description="Dataflow, if beam.runner is dataflow; else null")
    image: str | None = Field(
        None,
        description="container image of the workers, if the runner starts containers; null: the target's image",
    )
    options: tuple[str, ...] = Field(
        (), description="further options of Beam, each as --name=value; they override what these settings give"
    )

    @model_validator(mode="after")
    def _check(self) -> "BeamConfig":
        for name in ("flink", "spark", "dataflow"):
            given = getattr(self, name) is not None
            if given and name != self.runner:
                raise ValueError(
                    f"beam.{name} is set, but beam.runner is {self.runner}. Set beam.runner to {name}, or remove "
                    f"beam.{name}."
                )
            if name == self.runner and not given:
                key = "temp_location" if name == "dataflow" else "master"
                raise ValueError(f"beam.runner is {name}, but beam.{name} is missing. Set beam.{name}.{key} at least.")
        for name in ("mode", "workers") if self.runner != "direct" else ():
            if getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(
                    f"beam.{name} is for the direct runner only, but beam.runner is {self.runner}. Remove it."
                )
        for option in self.options:
            if not re.match(r"--\w", option):
                raise ValueError(f"beam.options: {option} is not of the form --name=value")
            if re.match(r"--runner\b", option):
                raise ValueError(f"beam.options: {option} contradicts beam.runner. Set that instead.")
        return self
