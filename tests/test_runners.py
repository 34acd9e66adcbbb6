"""The same library, ingested and trained on by every kind of Beam runner, comes to the same model.

Flink is a session cluster on this machine, made as kubeflow/flink.yaml makes it: pipelines are sent to it inside Beam's
job server, and its workers are processes that a worker pool starts by Beam's own boot program. What it is made of comes
from Maven Central and the Go module proxy, and is kept in pytest's cache.
"""

import csv
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from pyarrow import parquet

from components.library.layout import SPLITS, span_dir
from components.library.tfrecords import compression_of

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = REPOSITORY / "tests" / "tiny.yaml"
BEAM = metadata.version("apache-beam")
RELEASES = ((BEAM, "1.20", "1.20.0"), ("2.62.0", "1.19", "1.19.0"))
"""Beam and Flink, in order of preference: mirrors of Maven Central lack some, and Beam takes older job servers too."""
OPEN = tuple(
    f"java.base/{package}"
    for package in (
        *("java.io", "java.lang", "java.lang.reflect", "java.net", "java.nio", "java.text", "java.time", "java.util"),
        *("java.util.concurrent", "java.util.concurrent.atomic", "java.util.concurrent.locks", "sun.nio.ch"),
    )
)
"""What Flink looks into, as its own start scripts say."""

Compose = Callable[[Path, dict[str, int]], Path]

pytestmark = pytest.mark.long


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def require(*command: str | Path, cwd: Path) -> None:
    """Runs a tool that fetches something; skips the test if there is no such tool, or nothing to be had."""
    if shutil.which(str(command[0])) is None:
        pytest.skip(f"there is no {command[0]} on this machine")
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=500, check=False)
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "downloading" not in line]
        pytest.skip(f"{command[0]} could not get what it should: {' '.join(lines[:3])[:600]}")


@pytest.fixture(scope="module")
def job_server(pytestconfig: pytest.Config) -> Path:
    """Beam's job server for Flink, with all of Flink in it."""
    problem = ""
    for beam, minor, flink in RELEASES:
        out = pytestconfig.cache.mkdir(f"flink-{flink}-beam-{beam}")
        jar = out / "job-server-1.jar"
        if jar.is_file():
            return jar
        given = {"beam.version": beam, "flink.minor": minor, "flink.version": flink, "out": out}
        try:
            pom = REPOSITORY / "tests" / "flink" / "pom.xml"
            require(
                "mvn", "-B", "-q", "-f", pom, "package", *(f"-D{key}={value}" for key, value in given.items()), cwd=out
            )
        except pytest.skip.Exception as reason:
            problem = str(reason)
            continue
        return jar
    pytest.skip(problem)


@pytest.fixture(scope="module")
def boot(pytestconfig: pytest.Config) -> Path:
    """The program that starts a worker in an image of Beam."""
    out = pytestconfig.cache.mkdir(f"boot-beam-{BEAM}")
    if not (out / "container").is_file():
        module = f"github.com/apache/beam/sdks/v2/python/container@v{BEAM}"
        require("env", f"GOBIN={out}", "go", "install", module, cwd=out)
    return out / "container"


@dataclass
class Flink:
    """A session cluster, and the pool that it has its workers from."""

    rest: str
    pool: str
    log: Path

    def ask(self, path: str) -> dict[str, Any]:
        with urllib.request.urlopen(f"http://{self.rest}/v1/{path}", timeout=60) as answer:
            return json.load(answer)

    def jobs(self) -> Counter[str]:
        """Number of jobs by state."""
        return Counter(job["state"] for job in self.ask("jobs/overview")["jobs"])

    def workers(self) -> int:
        """Number of processes that were started for them."""
        return (self.log / "pool").read_text().count("Starting worker with command")


@pytest.fixture(scope="module")
def flink(job_server: Path, boot: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flink]:
    root = tmp_path_factory.mktemp("flink")
    rest, rpc, pool = free_port(), free_port(), free_port()
    settings = {
        "jobmanager.rpc.address": "localhost",
        "jobmanager.rpc.port": rpc,
        "rest.address": "localhost",
        "rest.port": rest,
        "io.tmp.dirs": str(root),
        "web.tmpdir": str(root),
        # The start scripts would work these out.
        "taskmanager.numberOfTaskSlots": 2,
        "taskmanager.host": "localhost",
        "taskmanager.cpu.cores": 2.0,
        "taskmanager.memory.framework.heap.size": "128m",
        "taskmanager.memory.framework.off-heap.size": "128m",
        "taskmanager.memory.task.heap.size": "512m",
        "taskmanager.memory.task.off-heap.size": "64m",
        "taskmanager.memory.network.min": "256m",
        "taskmanager.memory.network.max": "256m",
        "taskmanager.memory.managed.size": "128m",
        "taskmanager.memory.jvm-metaspace.size": "256m",
        "taskmanager.memory.jvm-overhead.min": "192m",
        "taskmanager.memory.jvm-overhead.max": "192m",
        # As in kubeflow/flink.yaml.
        "taskmanager.network.sort-shuffle.min-buffers": 64,
        "restart-strategy.type": "fixed-delay",
        "restart-strategy.fixed-delay.attempts": 3,
        "restart-strategy.fixed-delay.delay": "1 s",
    }
    (root / "config.yaml").write_text(yaml.safe_dump(settings))
    worker = root / "worker.sh"
    worker.write_text(f'#!/bin/sh\nexec {boot} --semi_persist_dir={root} "$@"\n')
    worker.chmod(0o755)
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(REPOSITORY),
        "RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT": "1",  # as in the image
    }
    java = ["java", "-Xmx1g", *(f"--add-opens={package}=ALL-UNNAMED" for package in OPEN), "-cp", str(job_server)]
    runtime = "org.apache.flink.runtime"
    commands = {
        "job manager": [*java, f"{runtime}.entrypoint.StandaloneSessionClusterEntrypoint", "--configDir", str(root)],
        "task manager": [*java, f"{runtime}.taskexecutor.TaskManagerRunner", "--configDir", str(root)],
        "pool": [
            *(sys.executable, "-m", "apache_beam.runners.worker.worker_pool_main"),
            *(f"--service_port={pool}", f"--container_executable={worker}"),
        ],
    }
    processes = []
    cluster = Flink(f"localhost:{rest}", f"localhost:{pool}", root)
    try:
        for name, command in commands.items():
            with (root / name).open("wb") as log:
                processes.append(
                    # A session of its own: a worker outlives the pool that started it.
                    subprocess.Popen(command, cwd=root, env=environment, stdout=log, stderr=log, start_new_session=True)
                )
        deadline = time.monotonic() + 500
        while True:
            assert all(process.poll() is None for process in processes), told(root)
            assert time.monotonic() < deadline, told(root)
            try:
                if cluster.ask("overview")["slots-available"] == 2:
                    break
            except OSError:
                pass  # not there yet
            time.sleep(0.2)
        yield cluster
    finally:
        for process in reversed(processes):
            process.terminate()
        for process in processes:
            process.wait(timeout=300)


def told(root: Path) -> str:
    """The ends of the logs, for whoever has to find out."""
    logs = (root / name for name in ("job manager", "task manager", "pool"))
    return "\n".join(f"--- {log.name}\n{log.read_text()[-2000:]}" for log in logs)


# --- One library, one model --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def songs(compose: Compose, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compose(tmp_path_factory.mktemp("songs"), {"train": 24, "eval": 8, "test": 10})


@dataclass
class Outcome:
    """What a runner made of the library."""

    span: dict[str, bytes]
    """The files of the span, by name."""
    summary: dict[str, Any]
    examples: dict[str, int]
    """Records by node and split."""
    records: dict[str, str]
    """Digest of them, likewise."""
    counted: dict[str, int]
    """Examples that StatisticsGen saw, by split."""
    predictions: list[dict[str, str]]
    """Of the test clips."""
    named: list[dict[str, Any]]
    """What `genre predict --beam` says of every song, by path."""


def ran(zygote: Any, songs: Path, root: Path, beam: dict[str, Any]) -> Outcome:
    """Ingests the library and runs the DAG, with the section `beam`."""
    import tensorflow as tf
    from tensorflow_metadata.proto.v0 import statistics_pb2

    def genre(*arguments: object) -> None:
        done = zygote.run("genre", *arguments)
        assert done.returncode == 0, done.stdout + done.stderr

    config = root / "config.yaml"
    config.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | {"beam": beam}))
    places = ("--audio-root", songs.parent, "--split-column", "split", "--data", root / "data")
    genre("ingest", "csv", songs, *places, "--config", config)
    summary = root / "summary.json"
    genre("run", "--data", root / "data", "--workspace", root, "--summary", summary, "--config", config)
    answers = root / "answers"
    asked = ("--input", songs.parent, "-o", answers, "--shards", 4, "--segments", "--embed")
    genre("predict", "--beam", *asked, "--workspace", root, "--config", config)
    rows_of_songs = [row for file in answers.glob("part-*.parquet") for row in parquet.read_table(file).to_pylist()]
    named = sorted(rows_of_songs, key=lambda row: row["path"])

    artifacts = root / "artifacts"
    examples: Counter[str] = Counter()
    digests: dict[str, Any] = {}
    nodes = ("ImportExampleGen", "HeldOutExampleGen", "Transform")
    for file in sorted(file for node in nodes for file in artifacts.glob(f"{node}/*/*/Split-*/*")):
        name = f"{file.relative_to(artifacts).parts[0]} {file.parent.name}"
        for record in tf.data.TFRecordDataset(str(file), compression_of([file.name])).as_numpy_iterator():
            examples[name] += 1
            digests.setdefault(name, hashlib.sha256()).update(record)
    counted = {
        file.parent.name: statistics_pb2.DatasetFeatureStatisticsList.FromString(file.read_bytes())
        .datasets[0]
        .num_examples
        for file in artifacts.glob("StatisticsGen/*/*/Split-*/FeatureStats.pb")
    }
    (table,) = artifacts.glob("GateEvaluator/*/*/predictions.csv")
    with table.open() as file:
        rows = list(csv.DictReader(file))
    span = span_dir(root / "data", 1)
    files = {str(path.relative_to(span)): path.read_bytes() for path in span.rglob("*") if path.is_file()}
    hashes = {name: digest.hexdigest() for name, digest in digests.items()}
    return Outcome(files, json.loads(summary.read_text()), dict(examples), hashes, counted, rows, named)


@pytest.fixture(scope="module")
def in_memory(zygote: Any, songs: Path, tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return ran(zygote, songs, tmp_path_factory.mktemp("in_memory"), {"mode": "in_memory"})


def assert_same(other: Outcome, reference: Outcome) -> None:
    assert other.span == reference.span
    assert other.examples == reference.examples
    assert other.records == reference.records
    assert other.counted == reference.counted
    assert other.summary["accuracy"] == reference.summary["accuracy"]
    assert other.summary["metrics"]["confusion"] == reference.summary["metrics"]["confusion"]
    assert other.predictions == reference.predictions
    assert other.named == reference.named


def test_the_reference_is_not_empty(in_memory: Outcome) -> None:
    sizes = dict(zip(SPLITS, (72, 24, 30), strict=True))
    assert in_memory.examples == {
        **{f"ImportExampleGen Split-{split}": size for split, size in sizes.items()},
        **{f"HeldOutExampleGen Split-{split}": sizes[split] for split in ("eval", "test")},
        **{f"Transform Split-{split}": sizes[split] for split in ("train", "eval")},
    }
    assert in_memory.counted == {f"Split-{split}": size for split, size in sizes.items()}
    assert len(in_memory.predictions) == sizes["test"]
    assert len(in_memory.named) == sum(sizes.values())
    assert 0.9 <= in_memory.summary["accuracy"] <= 1.0
    assert in_memory.summary["pushed"]["version"] == 1


def test_worker_processes_make_the_same(zygote: Any, in_memory: Outcome, songs: Path, tmp_path: Path) -> None:
    if shutil.which("mvn") and shutil.which("go"):
        pytest.skip("Flink's workers, of the next test, are processes of their own, too")
    assert_same(ran(zygote, songs, tmp_path, {"mode": "multi_processing", "workers": 2}), in_memory)


def test_flink_makes_the_same(
    zygote: Any, in_memory: Outcome, flink: Flink, job_server: Path, songs: Path, tmp_path: Path
) -> None:
    section = {
        "runner": "flink",
        "flink": {
            "master": flink.rest,
            "job_server_jar": str(job_server),
            "parallelism": 2,
        },
        "options": [f"--environment_config={flink.pool}"],
    }
    assert_same(ran(zygote, songs, tmp_path, section), in_memory)
    # Ingest, ImportExampleGen and HeldOutExampleGen, StatisticsGen, Transform, GateEvaluator, genre predict; none
    # had to be repeated.
    assert flink.jobs() == {"FINISHED": 7}
    assert flink.workers() >= 7
