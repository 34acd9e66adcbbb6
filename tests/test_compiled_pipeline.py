"""The compiled pipeline, executed: every container's command in a process of its own, as Kubeflow Pipelines runs it.

`Backend` stands for the parts of open-source Kubeflow Pipelines v2 that touch a step, and follows its source
(`backend/src/v2`: `driver/resolve.go`, `driver/container.go`, `cacheutils/cache.go`, `component/launcher_v2.go`,
`metadata/converter.go`): what a task's inputs are resolved to, what the cache goes by, what of the output is kept and
how, and that a step meets files on its own disk, copied from and to an object store, which knows no empty directories.
"""

import concurrent.futures
import hashlib
import itertools
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from apache_beam.options.pipeline_options import (
    GoogleCloudOptions,
    PipelineOptions,
    SetupOptions,
    StandardOptions,
    WorkerOptions,
)
from etils import epath
from google.protobuf import json_format
from kfp import components
from kfp.pipeline_spec import pipeline_spec_pb2

from components.library import SPLITS
from components.model_store import current_version, read_lineage, version_dir

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = REPOSITORY / "tests" / "tiny.yaml"
ALL = {
    "Planner",
    "ImportExampleGen",
    "ImportSchemaGen",
    "StatisticsGen",
    "ExampleValidator",
    "DataGate",
    "Transform",
    "Trainer",
    "Champion",
    "GateEvaluator",
    "StorePusher",
    "Reporter",
}
Json = dict[str, Any]

pytestmark = pytest.mark.slow


class StepError(Exception):
    """A step's process ended with another exit code than 0; the text is what it wrote to standard error."""


def as_mlmd(value: Any) -> Any:
    """A value of an artifact's metadata, after ML Metadata has kept it (`StructValueToMLMDValue` and back)."""
    if isinstance(value, bool | int | float):
        return float(value)
    if isinstance(value, list):
        return {"list": value}
    if isinstance(value, dict):
        return {"struct": value}
    assert isinstance(value, str), f"the backend cannot keep {value!r}"
    return value


def copy_files(source: Path, target: Path) -> None:
    """As objects in a bucket: a file or all files below a directory, and nothing else."""
    files = [source] if source.is_file() else [path for path in source.rglob("*") if path.is_file()]
    for file in files:
        to = target / file.relative_to(source) if file != source else target
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, to)


@dataclass
class Execution:
    """What became of a task in a run."""

    cached: bool
    artifacts: dict[str, Json] = field(default_factory=dict)
    """`RuntimeArtifact`s by name of the output."""
    parameters: Json = field(default_factory=dict)


@dataclass
class Backend:
    """Kubeflow Pipelines on this machine; artifacts go to `root/bucket`, the disks of the steps to `root/disks`."""

    root: Path
    cache: dict[str, Execution] = field(default_factory=dict)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, spec: Json, run_id: str, parameters: Json) -> dict[str, Execution]:
        """Runs all tasks, each when those it depends on are done, and two at a time."""
        tasks = spec["root"]["dag"]["tasks"]
        declared = spec["root"]["inputDefinitions"]["parameters"]
        assert set(parameters) <= set(declared)
        values = {name: parameters.get(name, what.get("defaultValue")) for name, what in declared.items()}
        done: dict[str, Execution] = {}
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            running: dict[concurrent.futures.Future[Execution], str] = {}
            while len(done) < len(tasks):
                for name, task in tasks.items():
                    ready = set(task.get("dependentTasks", ())) <= set(done)
                    if ready and name not in done and name not in running.values():
                        running[pool.submit(self._task, spec, name, run_id, values, done)] = name
                assert running, f"nothing can run, but {set(tasks) - set(done)} have not"
                finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in finished:
                    done[running.pop(future)] = future.result()
        return done

    def _task(self, spec: Json, name: str, run_id: str, values: Json, done: dict[str, Execution]) -> Execution:
        task = spec["root"]["dag"]["tasks"][name]
        component = spec["components"][task["componentRef"]["name"]]
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        with self.lock:
            disk = self.root / "disks" / f"{next(self.ids)}-{name}"
        inputs = self._inputs(task, component, run_id, values, done)
        place = f"{spec['pipelineInfo']['name']}/{run_id}/{name}"
        outputs = self._outputs(component, spec["defaultPipelineRoot"], place, disk)
        key = None
        if task.get("cachingOptions", {}).get("enableCache"):
            key = fingerprint(inputs, outputs, container)
            if key in self.cache:
                found = self.cache[key]
                return Execution(True, found.artifacts, found.parameters)
        self._start(container, {"inputs": inputs, "outputs": outputs}, disk)
        execution = self._collect(outputs)
        if key:
            self.cache[key] = execution
        return execution

    def _inputs(self, task: Json, component: Json, run_id: str, values: Json, done: dict[str, Execution]) -> Json:
        resolved: Json = {"parameterValues": {}, "artifacts": {}}
        given = task.get("inputs", {})
        assert set(given.get("parameters", {})) <= set(component.get("inputDefinitions", {}).get("parameters", {}))
        for name, source in given.get("parameters", {}).items():
            if "componentInputParameter" in source:
                value = values[source["componentInputParameter"]]
            elif "taskOutputParameter" in source:
                produced = source["taskOutputParameter"]
                value = done[produced["producerTask"]].parameters[produced["outputParameterKey"]]
            else:
                value = source["runtimeValue"]["constant"]
                value = run_id if value == "{{$.pipeline_job_uuid}}" else value
            resolved["parameterValues"][name] = value
        for name, source in given.get("artifacts", {}).items():
            produced = source["taskOutputArtifact"]
            artifact = done[produced["producerTask"]].artifacts[produced["outputArtifactKey"]]
            resolved["artifacts"][name] = {"artifacts": [artifact]}
        return resolved

    def _outputs(self, component: Json, root: str, place: str, disk: Path) -> Json:
        definitions = component.get("outputDefinitions", {})
        return {
            "artifacts": {
                name: {
                    "artifacts": [
                        {
                            "name": name,
                            "uri": f"{root}/{place}/{disk.name}/{name}",
                            "type": what["artifactType"],
                            "metadata": what.get("metadata", {}),
                        }
                    ]
                }
                for name, what in definitions.get("artifacts", {}).items()
            },
            "parameters": {
                name: {"outputFile": str(disk / "kfp" / "outputs" / name)} for name in definitions.get("parameters", {})
            },
            "outputFile": str(disk / "output_metadata.json"),
        }

    def _key(self, artifact: Json) -> str:
        return artifact["uri"].removeprefix("minio://mlpipeline/")

    def _start(self, container: Json, task: Json, disk: Path) -> None:
        """What the launcher does up to the end of the step's process."""
        # `customPath` is where the launcher keeps an artifact that is not at the place that its address gives, which
        # would be in the root of the file system.
        task = json.loads(json.dumps(task))
        for side in ("inputs", "outputs"):
            for found in task[side]["artifacts"].values():
                artifact = found["artifacts"][0]
                artifact["customPath"] = str(disk / "minio" / "mlpipeline" / self._key(artifact))
                Path(artifact["customPath"]).parent.mkdir(parents=True, exist_ok=True)
                if side == "inputs" and (self.root / "bucket" / self._key(artifact)).exists():
                    copy_files(self.root / "bucket" / self._key(artifact), Path(artifact["customPath"]))
        json_format.ParseDict(task, pipeline_spec_pb2.ExecutorInput())  # or the backend could not have said it
        filled = [word.replace("{{$}}", json.dumps(task)) for word in container["command"] + container["args"]]
        assert not [word for word in filled if "{{" in word]
        assert filled[0] == "python"
        done = subprocess.run(
            [sys.executable, *filled[1:]], cwd=REPOSITORY, capture_output=True, text=True, timeout=600, check=False
        )
        if done.returncode:
            raise StepError(done.stderr)

    def _collect(self, outputs: Json) -> Execution:
        told = json.loads(Path(outputs["outputFile"]).read_text())
        json_format.ParseDict(told, pipeline_spec_pb2.ExecutorOutput())  # strict, as the launcher is
        execution = Execution(False, parameters=told.get("parameterValues", {}))
        assert set(execution.parameters) == set(outputs["parameters"])
        disk = Path(outputs["outputFile"]).parent
        for name, found in outputs["artifacts"].items():
            provisioned = found["artifacts"][0]
            said = told.get("artifacts", {}).get(name, {"artifacts": [{}]})["artifacts"][0]
            uri = said.get("uri") or provisioned["uri"]
            assert uri == provisioned["uri"], "the launcher would look for it in vain"
            local = disk / "minio" / "mlpipeline" / self._key(provisioned)
            if local.exists():
                copy_files(local, self.root / "bucket" / self._key(provisioned))
            metadata = {**provisioned["metadata"], **said.get("metadata", {})}
            with self.lock:
                artifact_id = str(next(self.ids))
            # No type: the backend does not tell it to the next step.
            execution.artifacts[name] = {
                "name": artifact_id,
                "uri": uri,
                "metadata": {
                    **{key: as_mlmd(value) for key, value in metadata.items()},
                    "display_name": name,
                    "store_session_info": "{}",
                },
            }
        return execution

    def files(self, execution: Execution, output: str) -> Path:
        """Where an output lies in the object store."""
        return self.root / "bucket" / self._key(execution.artifacts[output])


def fingerprint(inputs: Json, outputs: Json, container: Json) -> str:
    """What the cache goes by: ids of input artifacts, values of parameters, kinds of outputs, image and command."""
    key = {
        "artifacts": {
            name: [item["name"] for item in found["artifacts"]] for name, found in inputs["artifacts"].items()
        },
        "parameters": inputs["parameterValues"],
        "outputs": {
            name: {key: value for key, value in found["artifacts"][0].items() if key != "uri"}
            for name, found in outputs["artifacts"].items()
        },
        "output parameters": sorted(outputs["parameters"]),
        "container": [container["image"], *container["command"], *container["args"]],
    }
    return hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()


def genre(*arguments: object) -> None:
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", *map(str, arguments)]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr


@dataclass
class Cluster:
    """A compiled pipeline, the volume with its data and models, and a backend to run it on."""

    volume: Path
    documents: list[Json]
    backend: Backend
    ingest: Callable[[int], None]
    """Adds a span of songs drawn with a seed."""

    @property
    def spec(self) -> Json:
        return self.documents[0]

    @property
    def store(self) -> epath.Path:
        return epath.Path(self.volume / "models")


@pytest.fixture(scope="module")
def cluster(compose: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    root = tmp_path_factory.mktemp("cluster")
    volume, config = root / "volume", root / "kubeflow.yaml"
    target = {
        "name": "tiny",
        "data": str(volume / "data"),
        "workspace": str(volume),
        "kubeflow": {
            "image": "registry.example.com/genre:1",
            "pipeline_root": "minio://mlpipeline/genre",
            "volumes": [{"claim": "genre", "path": str(volume)}],
            "resources": {
                "default": {"cpus": 2, "memory_gb": 4},
                "Trainer": {"accelerator": "nvidia.com/gpu", "accelerators": 2},
            },
            "node_labels": {"pool": "gpu"},
        },
    }
    config.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | target))

    def ingest(seed: int) -> None:
        songs = root / f"songs-{seed}"
        tracks = compose(songs, {"train": 24, "eval": 8, "test": 10}, seed)
        places = ("--audio-root", songs, "--split-column", "split", "--data", volume / "data")
        genre("ingest", "csv", tracks, *places, "--config", config)

    # Before there is any data: compiling needs none.
    genre("compile", "--target", "kubeflow", "--config", config, "-o", root / "pipeline.yaml")
    ingest(1)
    documents = list(yaml.safe_load_all((root / "pipeline.yaml").read_text()))
    return Cluster(volume, documents, Backend(root), ingest)


@pytest.fixture(scope="module")
def story(cluster: Cluster) -> dict[str, dict[str, Execution]]:
    """Runs of the one compiled pipeline, in order; each test looks at some of them."""
    run = cluster.backend.run
    told = {"first": run(cluster.spec, "run-1", {"settings": "train.epochs=1; train.learning_rate=1e-12"})}
    cluster.ingest(2)
    told["new span"] = run(cluster.spec, "run-2", {})
    told["unchanged"] = run(cluster.spec, "run-3", {})
    return told


def cached(run: dict[str, Execution]) -> set[str]:
    return {name for name, execution in run.items() if execution.cached}


def verdict(cluster: Cluster, run: dict[str, Execution]) -> Json:
    return json.loads((cluster.backend.files(run["GateEvaluator"], "evaluation") / "verdict.json").read_text())


def test_kubeflow_pipelines_own_loader_takes_it(cluster: Cluster) -> None:
    loaded = components.load_component_from_text(yaml.safe_dump_all(cluster.documents))
    inputs = loaded.component_spec.inputs
    assert {name: (what.type, what.default) for name, what in inputs.items()} == {
        "data": ("String", str(cluster.volume / "data")),
        "span": ("String", "last"),
        "settings": ("String", ""),
    }
    strict = json_format.ParseDict(cluster.spec, pipeline_spec_pb2.PipelineSpec())
    assert strict.schema_version == "2.1.0"
    json_format.ParseDict(cluster.spec["deploymentSpec"], pipeline_spec_pb2.PipelineDeploymentConfig())
    json_format.ParseDict(cluster.documents[1], pipeline_spec_pb2.PlatformSpec())


def test_it_has_only_what_the_open_source_backend_implements(cluster: Cluster) -> None:
    executors = cluster.spec["deploymentSpec"]["executors"]
    assert all(list(executor) == ["container"] for executor in executors.values())
    assert not any("lifecycle" in executor["container"] for executor in executors.values())
    tasks = cluster.spec["root"]["dag"]["tasks"]
    assert set(tasks) == ALL
    for name, task in tasks.items():
        given = task.get("inputs", {})
        sources = [*given.get("parameters", {}).values(), *given.get("artifacts", {}).values()]
        produced = [source.get("taskOutputParameter") or source.get("taskOutputArtifact") for source in sources]
        # Argo starts a task after its `dependentTasks`, whatever else it may refer to.
        assert {what["producerTask"] for what in produced if what} <= set(task.get("dependentTasks", ())), name
        assert not any("runtimeParameter" in source.get("runtimeValue", {}) for source in sources)
    kept = {name for name, task in tasks.items() if task.get("cachingOptions", {}).get("enableCache")}
    assert kept == ALL - {"Planner"}


def test_vertex_ai_is_given_the_same_nodes(cluster: Cluster, tmp_path: Path) -> None:
    config = REPOSITORY / "configs" / "vertex.yaml"
    places = ("--config", config, "-o", tmp_path / "pipeline.json")
    dataflow = "beam={runner: dataflow, dataflow: {temp_location: 'gs://my-bucket/dataflow'}}"
    genre("compile", "--target", "vertex", *places, "--set", "tune.enabled=true", "--set", dataflow)
    text = (tmp_path / "pipeline.json").read_text()
    job = json_format.Parse(text, pipeline_spec_pb2.PipelineJob())
    assert job.runtime_config.gcs_output_directory == "gs://my-bucket/genre/artifacts"
    assert dict(job.runtime_config.parameter_values.items())["span"].string_value == "last"
    spec = json.loads(text)["pipelineSpec"]
    json_format.ParseDict(spec, pipeline_spec_pb2.PipelineSpec())
    tasks = spec["root"]["dag"]["tasks"]
    assert set(tasks) == ALL | {"Tuner"}
    assert {name: tasks[name]["dependentTasks"] for name in ALL - {"Planner", "Trainer"}} == {
        name: cluster.spec["root"]["dag"]["tasks"][name]["dependentTasks"] for name in ALL - {"Planner", "Trainer"}
    }
    trainer = spec["deploymentSpec"]["executors"]["Trainer_executor"]["container"]
    assert trainer["resources"]["accelerator"] == {"type": "NVIDIA_TESLA_T4", "count": "1"}
    assert trainer["command"] == ["python", "-m", "pipeline.step"]  # TensorFlow reads the bucket by itself
    for name in ("ImportExampleGen", "StatisticsGen", "Transform", "GateEvaluator"):
        container = spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"]
        given = PipelineOptions(container["args"])
        cloud = given.view_as(GoogleCloudOptions)
        assert given.view_as(StandardOptions).runner == "DataflowRunner"
        assert (cloud.project, cloud.region) == ("my-project", "europe-west4")
        assert given.view_as(WorkerOptions).sdk_container_image == container["image"]
        assert given.view_as(SetupOptions).beam_plugins == ["tfx"]


def test_steps_get_their_resources(cluster: Cluster) -> None:
    executors = cluster.spec["deploymentSpec"]["executors"]
    assert executors["Transform_executor"]["container"]["resources"]["cpuLimit"] == 2
    assert executors["Transform_executor"]["container"]["resources"]["memoryLimit"] == 4
    accelerator = executors["Trainer_executor"]["container"]["resources"]["accelerator"]
    assert accelerator == {"type": "nvidia.com/gpu", "count": "2"}
    kubernetes = cluster.documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(kubernetes) == set(executors)
    assert all(what["pvcMount"][0]["mountPath"] == str(cluster.volume) for what in kubernetes.values())
    assert kubernetes["Trainer_executor"]["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert "nodeSelector" not in kubernetes["Transform_executor"]


def test_the_first_run_pushes_a_model(cluster: Cluster, story: dict[str, dict[str, Execution]]) -> None:
    first = story["first"]
    assert set(first) == ALL and cached(first) == set()
    assert verdict(cluster, first)["champion"] is None
    assert first["StorePusher"].artifacts["pushed_model"]["metadata"]["pushed_version"] == "1"
    lineage = read_lineage(cluster.store, 1)
    assert (lineage.parent, lineage.span, lineage.data) == (None, 1, str(cluster.volume / "data"))
    examples = cluster.backend.files(first["ImportExampleGen"], "examples")
    assert sorted(path.name for path in examples.iterdir()) == sorted(f"Split-{split}" for split in SPLITS)
    page = (cluster.backend.files(first["Reporter"], "report") / "report.html").read_text()
    assert "Music genres, span 1" in page


def test_settings_of_a_run_reach_the_trainer(cluster: Cluster, story: dict[str, dict[str, Execution]]) -> None:
    def epochs(run: str) -> int:
        file = cluster.backend.files(story[run]["Trainer"], "model_run") / "history.json"
        return len(json.loads(file.read_text())["epochs"])

    assert (epochs("first"), epochs("new span")) == (1, 8)


def test_a_new_span_is_seen_and_judged_against_the_first_model(
    cluster: Cluster, story: dict[str, dict[str, Execution]]
) -> None:
    second = story["new span"]
    assert cached(second) == {"ImportSchemaGen"}  # the library's schema is the same for every span
    judged = verdict(cluster, second)
    assert judged["champion"]["version"] == "1"
    assert judged["candidate"]["accuracy"] > judged["champion"]["metrics"]["accuracy"]
    assert judged["candidate"]["clips"] == 30
    assert current_version(cluster.store) == 2
    lineage = read_lineage(cluster.store, 2)
    assert (lineage.parent, lineage.span) == (1, 2)
    assert "Music genres, span 2" in (cluster.backend.files(second["Reporter"], "report") / "report.html").read_text()


def test_an_unchanged_run_only_looks_whether_anything_has_changed(
    cluster: Cluster, story: dict[str, dict[str, Execution]]
) -> None:
    assert cached(story["unchanged"]) == ALL - {"Planner"}
    assert current_version(cluster.store) == 2


def test_no_address_on_a_step_s_disk_outlives_the_step(
    cluster: Cluster, story: dict[str, dict[str, Execution]]
) -> None:
    disks = str(cluster.backend.root / "disks")
    for run in story.values():
        for execution in run.values():
            assert disks not in json.dumps([execution.artifacts, execution.parameters])


def test_the_pushed_model_names_genres(cluster: Cluster, story: dict[str, dict[str, Execution]]) -> None:
    from components.predictor import Predictor

    assert not story["new span"]["StorePusher"].cached
    predictor = Predictor(version_dir(cluster.store, 2))
    songs = sorted((cluster.backend.root / "songs-2").glob("*/test-*.wav"))
    right = sum(next(iter(predictor.predict(song).probabilities)) == song.parent.name for song in songs)
    assert right >= 0.9 * len(songs)


def test_a_wrong_run_parameter_ends_the_run_in_words(cluster: Cluster) -> None:
    with pytest.raises(StepError) as failure:
        cluster.backend.run(cluster.spec, "wrong", {"span": "7"})
    assert "genre: " in str(failure.value)
    assert "no complete span 7 (complete spans: 1" in str(failure.value)
    assert "Traceback" not in str(failure.value)
