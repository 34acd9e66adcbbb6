"""Translates the `beam` section to the options of a Beam pipeline, for each runner."""

import json
import os
import shutil
from urllib.parse import urlsplit

from components.base.errors import UserError
from components.beam.config import BeamConfig, DataflowConfig, FlinkConfig, PortableConfig, SparkConfig
from components.beam.direct import direct_args

BOOT = "/opt/apache/beam/boot"
"""The program in Beam's images, and in ours, that starts a worker."""
WORKER_POOL = "localhost:50000"
"""Address of a worker pool that `boot --worker_pool` has started in the same pod."""

_REST_SECONDS = 30
"""Longest wait of a worker of Flink or Spark for more work."""


def beam_args(config: BeamConfig, *, tfx_workers: bool = False) -> list[str]:
    """Returns command-line options for a Beam pipeline, such as `beam_pipeline_args` of a TFX pipeline.

    Args:
      config: the section.
      tfx_workers: the steps use TFX, so that workers in other processes, of whatever runner, must import it before
        anything else: tfx puts a stand-in for a part of tfx_bsl in place, without which tensorflow_data_validation
        cannot be imported. Workers that are threads of this process do not look at it.
    """
    if config.flink:
        args = _flink(config.flink, config.image)
    elif config.spark:
        args = _spark(config.spark, config.image)
    elif config.dataflow:
        args = _dataflow(config.dataflow)
    else:
        args = direct_args(config.mode, config.workers)
    if tfx_workers:
        args.append("--beam_plugins=tfx")
    # Workers have what we have: they are on this machine or of the same image. Without this option TFX would pack all
    # of itself up for them, in every node: seconds for a package that nobody opens.
    args.append(f"--sdk_container_image={config.image or 'none'}")
    return [*args, *config.options]


def _flink(config: FlinkConfig, image: str | None) -> list[str]:
    args = ["--runner=FlinkRunner", f"--flink_master={config.master}", *_portable(config, image)]
    if config.master != "[local]":
        # The pipeline goes to the cluster inside the jar, so that the step needs no Java.
        args.append("--flink_submit_uber_jar")
    if config.job_server_jar is not None:
        args.append(f"--flink_job_server_jar={config.job_server_jar}")
    if config.parallelism is not None:
        args.append(f"--parallelism={config.parallelism}")
    return args


def _spark(config: SparkConfig, image: str | None) -> list[str]:
    args = ["--runner=SparkRunner", f"--spark_master_url={config.master}", *_portable(config, image)]
    if config.job_server_jar is not None:
        args.append(f"--spark_job_server_jar={config.job_server_jar}")
    return args


def _portable(config: PortableConfig, image: str | None) -> list[str]:
    """Options for the start of workers by Flink and Spark."""
    where = {
        "external": WORKER_POOL,
        "docker": image,
        "process": json.dumps({"command": BOOT}),
        "loopback": None,
    }[config.environment]
    args = [
        f"--environment_type={config.environment.upper()}",
        # A batch job runs stage by stage, and between two of them nobody needs the worker. Without a rest it would be
        # stopped there, and another one started, which has TensorFlow to import.
        f"--environment_cache_millis={_REST_SECONDS * 1000}",
    ]
    return args if where is None else [*args, f"--environment_config={where}"]


def _dataflow(config: DataflowConfig) -> list[str]:
    named = {
        "project": config.project,
        "region": config.region,
        "temp_location": config.temp_location,
        "service_account_email": config.service_account,
        "worker_machine_type": config.machine_type,
        "max_num_workers": config.max_workers,
    }
    return ["--runner=DataflowRunner", *(f"--{name}={value}" for name, value in named.items() if value is not None)]


def with_defaults(config: BeamConfig, image: str, project: str | None = None, region: str | None = None) -> BeamConfig:
    """Returns `config` with a target's image, project and region where it has none of its own."""
    changes: dict[str, object] = {"image": config.image or image}
    if config.dataflow:
        own = {"project": config.dataflow.project or project, "region": config.dataflow.region or region}
        changes["dataflow"] = config.dataflow.model_copy(update=own)
    return config.model_copy(update=changes)


def check_local(config: BeamConfig) -> None:
    """Checks that the Beam steps of a process on this machine, with its data on this machine, can run as configured.

    Raises:
      UserError: the runner's workers would not see the data, or a program that starts them is missing here.
    """
    if config.dataflow:
        raise UserError(
            "beam.runner: workers of dataflow see buckets only, not this machine. Compile the pipeline for Vertex "
            "AI, or choose another runner here: --set beam.runner=direct --set beam.dataflow=null"
        )
    cluster = config.flink or config.spark
    if cluster is None:
        return
    jar = cluster.job_server_jar
    if jar is not None and not urlsplit(jar).scheme and not os.path.isfile(jar):
        raise UserError(
            f"beam.{config.runner}.job_server_jar: {jar}: no such file. See kubeflow/README.md for how to get it."
        )
    if (config.spark or cluster.master == "[local]") and shutil.which("java") is None:
        raise UserError(f"beam.{config.runner}.master: {cluster.master} needs Java on this machine. Install Java 17.")
    if cluster.environment == "docker" and not config.image:
        raise UserError(f"beam.{config.runner}.environment: docker needs an image. Name it as beam.image.")
