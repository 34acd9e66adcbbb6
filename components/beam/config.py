"""Settings of what runs the Beam steps: the direct runner, Flink, Spark or Dataflow."""

import re
from typing import Literal

from pydantic import Field, model_validator

from components.base.section import Section


class PortableConfig(Section):
    """What Flink and Spark are told alike: they start Beam's Python workers in an environment of one of four types."""

    master: str
    job_server_jar: str | None = Field(
        None, description="Beam's job server for the cluster's version, path or address; null: Beam downloads it"
    )
    environment: Literal["external", "docker", "process", "loopback"] = Field(
        "external",
        description="external: a worker pool beside each of the cluster's workers; docker: containers; process: "
        "processes; loopback: threads of the process that submits",
    )
    environment_config: str | None = Field(
        None,
        description="external: host:port of the pool (null: localhost:50000); docker: image (null: beam.image); "
        "process: program (null: /opt/apache/beam/boot)",
    )
    worker_processes: int = Field(1, ge=1, description="Python processes that a worker of the cluster starts per job")

    @model_validator(mode="after")
    def _check(self) -> "PortableConfig":
        given = self.environment_config
        if given is not None and self.environment == "loopback":
            raise ValueError(f"environment_config: {given} is for no environment of type loopback. Remove it.")
        if given is not None and self.environment == "external" and not re.fullmatch(r"[^\s/:]+:\d+", given):
            raise ValueError(f"environment_config: {given} is not host:port of a worker pool, as in localhost:50000")
        if self.environment == "loopback" and not self.on_this_machine:
            raise ValueError(
                "environment: loopback means workers in the process that submits, where a cluster elsewhere does not "
                "find them. Choose external, docker or process."
            )
        return self

    @property
    def on_this_machine(self) -> bool:
        """Whether the cluster is on the machine that submits."""
        here = r"\[local\]|local(\[.+\])?$|(\w+://)?(localhost|127\.0\.0\.1):"
        return re.match(here, self.master) is not None


class FlinkConfig(PortableConfig):
    """A Flink cluster that runs the Beam steps."""

    master: str = Field(
        pattern=r"^(\[local\]|(https?://)?[^\s/:\[\]]+:\d+)$",
        description="REST address of the cluster, host:port; [local]: a Flink of its own for every Beam pipeline",
    )
    parallelism: int | None = Field(
        None, ge=1, description="task slots that a job uses; null: Flink's default, often 1"
    )


class SparkConfig(PortableConfig):
    """A Spark cluster that runs the Beam steps."""

    master: str = Field(
        pattern=r"^(local(\[(\d+|\*)\])?|spark://[^\s/:]+:\d+)$",
        description="spark://host:port; local[N]: a Spark of its own with N threads for every Beam pipeline",
    )


class DataflowConfig(Section):
    """Google Cloud Dataflow, which starts and stops its workers by itself."""

    temp_location: str = Field(pattern="^gs://[^/]", description="folder of a bucket for Dataflow's own files")
    project: str | None = Field(None, description="null: vertex.project")
    region: str | None = Field(None, description="null: vertex.region")
    service_account: str | None = Field(None, pattern=r"^[^@\s]+@[^@\s]+$", description="that the workers run as")
    machine_type: str | None = Field(None, description="of the workers; null: Dataflow's choice")
    max_workers: int | None = Field(None, ge=1, description="null: Dataflow's choice")
    disk_gb: int | None = Field(None, ge=25, description="disk of a worker; null: Dataflow's choice")
    network: str | None = Field(None, description="null: the project's default")
    subnetwork: str | None = Field(
        None, pattern="(^|/)regions/[^/]+/subnetworks/[^/]+$", description="regions/REGION/subnetworks/NAME"
    )
    public_ips: bool = Field(True, description="whether workers have addresses on the internet")


class BeamConfig(Section):
    """What runs the Beam steps, and with which options."""

    runner: Literal["direct", "flink", "spark", "dataflow"] = Field("direct", description="direct: the step's machine")
    mode: Literal["in_memory", "multi_threading", "multi_processing"] = Field(
        "multi_threading", description="of the direct runner"
    )
    workers: int = Field(0, ge=0, description="of the direct runner; 0: one per processor")
    flink: FlinkConfig | None = None
    spark: SparkConfig | None = None
    dataflow: DataflowConfig | None = None
    image: str | None = Field(
        None, description="container image of the workers, where the runner starts containers; null: the target's"
    )
    options: tuple[str, ...] = Field((), description="further Beam options, each as --name=value; they win")

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
                raise ValueError(f"beam.{name} is of the direct runner, but beam.runner is {self.runner}. Remove it.")
        for option in self.options:
            if not re.match(r"--\w", option):
                raise ValueError(f"beam.options: {option} is not of the form --name=value")
            if re.match(r"--runner\b", option):
                raise ValueError(f"beam.options: {option} stands in the way of beam.runner. Set that instead.")
        return self
