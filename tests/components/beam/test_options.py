"""Options of the Beam steps, as Beam itself reads them, and what is wrong with a `beam` section."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from apache_beam.options.pipeline_options import (
    DirectOptions,
    FlinkRunnerOptions,
    GoogleCloudOptions,
    PipelineOptions,
    PortableOptions,
    SetupOptions,
    SparkRunnerOptions,
    StandardOptions,
    WorkerOptions,
)
from apache_beam.options.pipeline_options_validator import PipelineOptionsValidator
from apache_beam.portability import common_urns
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.transforms import environments
from tfx.utils import dependency_utils

from components.base.errors import UserError
from components.beam.config import BeamConfig
from components.beam.options import beam_args, check_local, with_defaults
from pipeline.config.settings import load_config

REPOSITORY = Path(__file__).resolve().parents[3]
MODES = ("in_memory", "multi_threading", "multi_processing")
FLINK: dict[str, Any] = {"runner": "flink", "flink": {"master": "genre-flink-rest:8081"}}
SPARK: dict[str, Any] = {"runner": "spark", "spark": {"master": "spark://genre-spark:7077"}}
DATAFLOW: dict[str, Any] = {
    "runner": "dataflow",
    "dataflow": {"temp_location": "gs://b/tmp", "project": "p", "region": "europe-west4"},
}


def parsed(section: dict[str, Any], *, tfx_workers: bool = False) -> PipelineOptions:
    return PipelineOptions(beam_args(BeamConfig.model_validate(section), tfx_workers=tfx_workers))


def changed(section: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """A section of `FLINK`'s sort with more about its runner."""
    name = section["runner"]
    return section | {name: section[name] | changes}


# --- What Beam is told -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("workers", [0, 3])
def test_beam_understands_mode_and_workers(mode: str, workers: int) -> None:
    options = parsed({"mode": mode, "workers": workers})
    assert options.view_as(StandardOptions).runner == "components.beam.runner.LocalRunner"
    direct = options.view_as(DirectOptions)
    assert direct.direct_running_mode == mode
    assert direct.direct_num_workers == (1 if mode == "in_memory" else workers)
    assert not options.view_as(SetupOptions).beam_plugins


def test_a_flink_cluster_is_given_the_jar_and_its_workers() -> None:
    options = parsed(changed(FLINK, parallelism=4, job_server_jar="/genre/flink.jar"))
    assert options.view_as(StandardOptions).runner == "FlinkRunner"
    flink = options.view_as(FlinkRunnerOptions)
    assert flink.flink_master == "genre-flink-rest:8081"
    assert flink.flink_submit_uber_jar
    assert flink.flink_job_server_jar == "/genre/flink.jar"
    assert flink.parallelism == 4
    assert "direct" not in " ".join(beam_args(BeamConfig.model_validate(FLINK)))


def test_a_flink_of_its_own_is_started_by_the_job_server() -> None:
    options = parsed(changed(FLINK, master="[local]"))
    assert options.view_as(FlinkRunnerOptions).flink_master == "[local]"
    assert not options.view_as(FlinkRunnerOptions).flink_submit_uber_jar


def test_spark() -> None:
    options = parsed(changed(SPARK, job_server_jar="/genre/spark.jar"))
    assert options.view_as(StandardOptions).runner == "SparkRunner"
    assert options.view_as(SparkRunnerOptions).spark_master_url == "spark://genre-spark:7077"
    assert options.view_as(SparkRunnerOptions).spark_job_server_jar == "/genre/spark.jar"


@pytest.mark.parametrize("section", [FLINK, SPARK])
@pytest.mark.parametrize(
    ("environment", "further", "urn", "where"),
    [
        ({}, (), "EXTERNAL", "localhost:50000"),
        ({}, ("--environment_config=pool:1234",), "EXTERNAL", "pool:1234"),
        ({"environment": "docker"}, (), "DOCKER", "r/genre:1"),
        ({"environment": "process"}, (), "PROCESS", "/opt/apache/beam/boot"),
        ({"environment": "process"}, ('--environment_config={"command": "/bin/w"}',), "PROCESS", "/bin/w"),
    ],
)
def test_workers_are_started_as_configured(
    section: dict[str, Any], environment: dict[str, str], further: tuple[str, ...], urn: str, where: str
) -> None:
    more = {"image": "r/genre:1", "options": further}
    options = parsed(changed(section, **environment) | more).view_as(PortableOptions)
    assert not options.validate(PipelineOptionsValidator(options, None))
    told = environments.Environment.from_options(options).to_runner_api(None)
    assert told.urn == getattr(common_urns.environments, urn).urn
    payload = {
        "EXTERNAL": lambda: beam_runner_api_pb2.ExternalPayload.FromString(told.payload).endpoint.url,
        "DOCKER": lambda: beam_runner_api_pb2.DockerPayload.FromString(told.payload).container_image,
        "PROCESS": lambda: beam_runner_api_pb2.ProcessPayload.FromString(told.payload).command,
    }[urn]()
    assert payload == where
    assert int(options.environment_cache_millis) >= 10_000


def test_workers_in_the_process_that_submits() -> None:
    options = parsed(changed(FLINK, master="[local]", environment="loopback")).view_as(PortableOptions)
    assert options.environment_type == "LOOPBACK"
    assert not options.validate(PipelineOptionsValidator(options, None))


def test_dataflow() -> None:
    section = changed(
        DATAFLOW,
        service_account="genre@p.iam.gserviceaccount.com",
        machine_type="n2-standard-8",
        max_workers=20,
    )
    network = ("--subnetwork=regions/europe-west4/subnetworks/s", "--no_use_public_ips", "--disk_size_gb=50")
    options = parsed(section | {"image": "r/genre:1", "options": network})
    cloud, workers = options.view_as(GoogleCloudOptions), options.view_as(WorkerOptions)
    assert options.view_as(StandardOptions).runner == "DataflowRunner"
    assert (cloud.project, cloud.region, cloud.temp_location) == ("p", "europe-west4", "gs://b/tmp")
    assert cloud.service_account_email == "genre@p.iam.gserviceaccount.com"
    assert (workers.machine_type, workers.max_num_workers, workers.disk_size_gb) == ("n2-standard-8", 20, 50)
    assert workers.subnetwork == "regions/europe-west4/subnetworks/s"
    assert workers.use_public_ips is False
    assert workers.sdk_container_image == "r/genre:1"


def test_a_target_fills_in_what_is_not_set() -> None:
    bare = BeamConfig.model_validate({"runner": "dataflow", "dataflow": {"temp_location": "gs://b/tmp"}})
    filled = with_defaults(bare, "r/genre:1", "p", "europe-west4")
    assert filled.image == "r/genre:1"
    assert filled.dataflow and (filled.dataflow.project, filled.dataflow.region) == ("p", "europe-west4")
    own = BeamConfig.model_validate(DATAFLOW | {"image": "r/workers:1"})
    assert with_defaults(own, "r/genre:1", "q", "us-east1") == own


@pytest.mark.parametrize("section", [{}, FLINK, SPARK, DATAFLOW])
def test_further_options_have_the_last_word(section: dict[str, Any]) -> None:
    options = parsed(section | {"options": ("--save_main_session", "--sdk_container_image=r/own:1")})
    assert options.view_as(SetupOptions).save_main_session
    assert options.view_as(WorkerOptions).sdk_container_image == "r/own:1"


# --- Workers that import TFX first -------------------------------------------------------------------------------


@pytest.mark.parametrize("section", [*({"mode": mode} for mode in MODES), FLINK, SPARK, DATAFLOW])
def test_workers_of_every_runner_import_tfx_first(section: dict[str, Any]) -> None:
    assert parsed(section, tfx_workers=True).view_as(SetupOptions).beam_plugins == ["tfx"]


@pytest.mark.parametrize("section", [{}, FLINK, SPARK, DATAFLOW | {"image": "r/genre:1"}])
def test_tfx_packs_itself_up_for_no_worker(section: dict[str, Any]) -> None:
    args = beam_args(BeamConfig.model_validate(section), tfx_workers=True)
    assert dependency_utils.make_beam_dependency_flags(args) == args


LOOK = """
import os, sys
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions

def look(_):
    import tensorflow_data_validation
    return f"{os.getpid()} {tensorflow_data_validation.__version__}"

with beam.Pipeline(options=PipelineOptions(sys.argv[2:])) as pipeline:
    pipeline | beam.Create([0]) | beam.Map(look) | beam.io.WriteToText(sys.argv[1], shard_name_template="")
print(os.getpid())
"""


@pytest.mark.long
def test_another_process_imports_tensorflow_data_validation(tmp_path: Path) -> None:
    args = beam_args(BeamConfig(mode="multi_processing", workers=1), tfx_workers=True)
    command = [sys.executable, "-c", LOOK, tmp_path / "seen", *args]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    worker, version = (tmp_path / "seen").read_text().split()
    assert worker != done.stdout.strip()
    assert version


# --- What is refused ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("beam.runner=hadoop", ["beam.runner: "]),
        ("beam.runner=flink", ["beam.flink is missing. Set beam.flink.master"]),
        ("beam.runner=spark", ["beam.spark is missing. Set beam.spark.master"]),
        ("beam.runner=dataflow", ["beam.dataflow is missing. Set beam.dataflow.temp_location"]),
        ("beam.flink.master=f:8081", ["beam.flink is set, but beam.runner is direct"]),
        ("beam={runner: flink, flink: {}}", ["beam.flink.master: missing"]),
        ("beam={runner: flink, flink: {master: genre-flink}}", ["beam.flink.master: ", '"genre-flink"']),
        ("beam={runner: spark, spark: {master: 'yarn'}}", ["beam.spark.master: ", '"yarn"']),
        ("beam={runner: flink, flink: {master: 'f:1', parallelism: 0}}", ["beam.flink.parallelism: "]),
        ("beam={runner: flink, flink: {master: 'f:1'}, workers: 4}", ["beam.workers is for the direct runner only"]),
        ("beam={runner: flink, flink: {master: 'f:1'}, mode: in_memory}", ["beam.mode is for the direct runner only"]),
        (
            "beam={runner: flink, flink: {master: 'f:1', environment: loopback}}",
            ["beam.flink: environment: loopback", "external, docker or process"],
        ),
        ("beam={runner: dataflow, dataflow: {temp_location: /tmp}}", ["beam.dataflow.temp_location: ", '"/tmp"']),
        ("beam.options=[--runner=FlinkRunner]", ["beam.options: --runner=FlinkRunner", "Set that instead"]),
        ("beam.options=[parallelism=2]", ["beam.options: parallelism=2 is not of the form --name=value"]),
    ],
)
def test_wrong_sections(text: str, told: list[str]) -> None:
    with pytest.raises(UserError) as refusal:
        load_config(None, [text])
    assert all(words in str(refusal.value) for words in told), str(refusal.value)


def test_a_run_on_this_machine_has_what_its_runner_needs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(section: dict[str, Any]) -> str:
        with pytest.raises(UserError) as refusal:
            check_local(BeamConfig.model_validate(section))
        return str(refusal.value)

    for fine in ({}, FLINK, changed(FLINK, job_server_jar=str(Path(__file__))), changed(FLINK, job_server_jar="s://x")):
        check_local(BeamConfig.model_validate(fine))
    assert "dataflow see buckets only" in refused(DATAFLOW)
    assert "beam.flink.job_server_jar: " in refused(changed(FLINK, job_server_jar=str(tmp_path / "no.jar")))
    assert "Name it as beam.image" in refused(changed(FLINK, environment="docker"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "beam.flink.master: [local] needs Java" in refused(changed(FLINK, master="[local]"))
    assert "beam.spark.master: spark://genre-spark:7077 needs Java" in refused(SPARK)
