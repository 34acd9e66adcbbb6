"""Frozen, typed configuration of what `components` does. One section per concern; no TensorFlow, no TFX.

`pipeline.config` composes the sections and reads them from YAML. Nodes receive their sections as plain JSON (TFX keys
its cache on it) and validate them again with `Section.model_validate`.
"""

import json
import math
import re
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

Representation = Literal["log_mel", "waveform", "yamnet_mel", "descriptors"]
"""What a network may ask to see of a clip; see `components.features`."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]


class Section(BaseModel):
    """A frozen part of the configuration in which an unknown or ill-typed key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


def problems(error: ValidationError) -> list[str]:
    """What is wrong with each key of what was to be a `Section`, as `section.key: what (found this)`."""

    def told(key: str, kind: str, words: str, found: object) -> str:
        if kind == "json_invalid":
            return words
        if kind in ("extra_forbidden", "missing"):
            return f"{key}: {'missing' if kind == 'missing' else 'unknown key'}"
        value = "" if kind == "value_error" else f" (found {json.dumps(found, default=str)})"
        return f"{key}: {words.removeprefix('Value error, ')}{value}"

    return [
        told(".".join(map(str, item["loc"])) or "(top level)", item["type"], item["msg"], item["input"])
        for item in error.errors()
    ]


class AudioConfig(Section):
    """What a clip is: mono PCM16 of one rate and one length."""

    sample_rate: int = Field(22050, ge=4000, le=192000, description="Hz")
    clip_seconds: float = Field(
        30.0, gt=0.0, le=600.0, description="longer is cut from the middle, shorter zero-padded"
    )

    @property
    def clip_samples(self) -> int:
        """Samples in a clip."""
        return round(self.sample_rate * self.clip_seconds)


class MelConfig(Section):
    """Short-time Fourier transform and mel filter bank, named and valued as in librosa."""

    n_fft: int = Field(2048, ge=64, le=65536, description="samples per frame")
    hop_length: int = Field(512, ge=16, description="samples between frame starts")
    n_mels: int = Field(128, ge=8, le=512, description="mel bins")
    fmin: float = Field(0.0, ge=0.0, description="Hz")
    fmax: float | None = Field(None, gt=0.0, description="Hz; null: half the sample rate")
    top_db: float = Field(80.0, gt=0.0, le=200.0, description="dynamic range kept below the clip's loudest bin")

    @model_validator(mode="after")
    def _check(self) -> "MelConfig":
        if self.hop_length > self.n_fft:
            raise ValueError(f"hop_length {self.hop_length} exceeds n_fft {self.n_fft}: samples would be skipped")
        if self.fmax is not None and self.fmax <= self.fmin:
            raise ValueError(f"fmax {self.fmax} must exceed fmin {self.fmin}")
        return self


class FeatureConfig(Section):
    """Everything that the Transform graph depends on."""

    representation: Representation
    genres: tuple[str, ...]
    audio: AudioConfig
    mel: MelConfig


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


class DeployConfig(Section):
    """What the model store keeps."""

    keep_versions: int = Field(10, ge=2, description="older ones are removed, but never what is served")


def _n1(cpus: int) -> tuple[str, ...]:
    """Machines of the N1 series with up to so many CPUs: the ones to which accelerators are attached at will."""
    kinds, sizes = ("standard", "highmem", "highcpu"), (2, 4, 8, 16, 32, 64, 96)
    return tuple(f"n1-{kind}-{size}" for kind in kinds for size in sizes if size <= cpus)


MACHINES = {
    "NVIDIA_TESLA_P4": {1: _n1(16), 2: _n1(32), 4: _n1(96)},
    "NVIDIA_TESLA_T4": {1: _n1(32), 2: _n1(32), 4: _n1(96)},
    "NVIDIA_TESLA_P100": {1: _n1(16), 2: _n1(32), 4: _n1(96)},
    "NVIDIA_TESLA_V100": {1: _n1(8), 2: _n1(16), 4: _n1(32), 8: _n1(96)},
    "NVIDIA_L4": {
        1: tuple(f"g2-standard-{size}" for size in (4, 8, 12, 16, 32)),
        2: ("g2-standard-24",),
        4: ("g2-standard-48",),
        8: ("g2-standard-96",),
    },
    "NVIDIA_TESLA_A100": {n: (f"a2-highgpu-{n}g",) for n in (1, 2, 4, 8)} | {16: ("a2-megagpu-16g",)},
    "NVIDIA_A100_80GB": {n: (f"a2-ultragpu-{n}g",) for n in (1, 2, 4, 8)},
    "NVIDIA_H100_80GB": {n: (f"a3-highgpu-{n}g",) for n in (1, 2, 4, 8)},
}
"""By accelerator and number: the machines of Vertex AI that have so many of them."""


class MachineConfig(Section):
    """A machine of Vertex AI by its name."""

    machine_type: str = Field("n1-standard-4", pattern=r"^[a-z][a-z0-9]*-[a-z]+-[0-9]+g?$")
    accelerator: str | None = Field(None, description="kind, as Vertex AI names it; null: none")
    accelerators: int = Field(1, ge=1, description="how many of the kind")

    @model_validator(mode="after")
    def _check_machine(self) -> "MachineConfig":
        machine, kind, number = self.machine_type, self.accelerator, self.accelerators
        if kind is None:
            for built_in, machines in MACHINES.items():
                count = next((count for count, names in machines.items() if machine in names), None)
                if count and not machine.startswith("n1-"):
                    raise ValueError(f"{machine} has {count} of {built_in}: set accelerator and accelerators to that")
        elif kind not in MACHINES:
            raise ValueError(f"accelerator {kind} is none of {', '.join(MACHINES)}")
        elif number not in MACHINES[kind]:
            raise ValueError(f"no machine has {number} of {kind}; choose {' or '.join(map(str, MACHINES[kind]))}")
        elif machine not in MACHINES[kind][number]:
            allowed = ", ".join(MACHINES[kind][number])
            raise ValueError(f"{machine} cannot have {number} of {kind}; choose {allowed}")
        return self


class EndpointConfig(MachineConfig):
    """A Vertex AI endpoint that serves what is pushed."""

    name: str = Field(
        pattern=r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?|[0-9]+)$",
        description="its id; it is made where there is none, unless the id is a number",
    )
    image: str = Field(min_length=1, description="container that serves a SavedModel, as Vertex AI's for TensorFlow")
    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)
    traffic: int = Field(
        100, ge=1, le=100, description="percent for a new version; the rest stays with the version that has most"
    )
    smoke_traffic: int = Field(1, ge=1, le=10, description="percent for a new version while it is tried out")
    smoke_timeout: float = Field(600.0, gt=0.0, description="seconds in which it must answer the smoke request")
    deploy_timeout: float = Field(3600.0, gt=0.0, description="seconds for a deployment, and for an undeployment")

    @model_validator(mode="after")
    def _check_replicas(self) -> "EndpointConfig":
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is less than min_replicas {self.min_replicas}")
        return self


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
