"""The compiled pipeline, executed: every container's command in a process of its own, as Kubeflow Pipelines runs it.

`Backend` stands for the parts of open-source Kubeflow Pipelines v2 that touch a step, and follows its source
(`backend/src/v2`: `compiler/argocompiler/dag.go`, `driver/resolve.go`, `driver/container.go`,
`expression/expression.go`, `cacheutils/cache.go`, `component/launcher_v2.go`, `metadata/converter.go`): which tasks are
started, what a task's inputs are resolved to, what the cache goes by, what of the output is kept and how, and that a
step meets files on its own disk, copied from and to an object store, which knows no empty directories.
"""

import concurrent.futures
import hashlib
import itertools
import json
import re
import shutil
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import pytest
import yaml
from etils import epath
from google.protobuf import json_format
from kfp.pipeline_spec import pipeline_spec_pb2

from components.library.layout import SPLITS
from components.library.tfrecords import compression_of
from components.store.model_store import current_version, read_lineage, version_dir

REPOSITORY = Path(__file__).resolve().parents[1]
TINY = REPOSITORY / "tests" / "tiny.yaml"
WINDOW = 2


def in_slot(number: int, *kinds: str) -> set[str]:
    return {f"{kind}-{number}" for kind in kinds}


DATA = ("ImportExampleGen", "StatisticsGen", "ExampleValidator", "DataGate")
DECIDING = {
    *("Planner", "ImportSchemaGen", "HeldOutExampleGen", "Champion"),
    *(node for number in range(WINDOW) for node in in_slot(number, *DATA)),
    *("DriftDetector", "DistributionValidator", "RetrainPolicy"),
}
TRANSFORMS = {node for number in range(WINDOW) for node in in_slot(number, "Transform")}
TRAINING = {"Trainer", "GateEvaluator", "ReferenceProfile", "StorePusher", "Recorder", "Reporter"}
ALL = DECIDING | TRANSFORMS | TRAINING
UNTRAINED = ("train.epochs=1", "train.learning_rate=1e-12")
TIMES = {"time", "measured", "started", "ended"}
OF_THE_PROCESS = {"latency_ms", "megabytes"}
"""Figures of a verdict: its speed, and the length of names in a SavedModel, which count what was traced before."""
LOGS = "executor-logs"
EVICTED = frozenset({"ImportExampleGen-1", "Transform-0", "Trainer", "StorePusher", "Recorder"})
"""Tasks whose first pod is lost in every run."""
Json = dict[str, Any]


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

    state: Literal["ran", "cached", "not triggered", "omitted"]
    artifacts: dict[str, Json] = field(default_factory=dict)
    """`RuntimeArtifact`s by name of the output."""
    parameters: Json = field(default_factory=dict)

    @property
    def succeeded(self) -> bool:
        """Whether tasks that depend on it may run."""
        return self.state in ("ran", "cached")


def condition(expression: str, inputs: Json) -> bool:
    """What the driver makes of a trigger condition: CEL on the `ExecutorInput`, of which we use just this form."""
    form = re.fullmatch(r"inputs\.parameter_values\['(\w+)'\] == '(\w+)'", expression)
    assert form, f"this is more CEL than the test knows: {expression}"
    return inputs["parameterValues"][form[1]] == form[2]


@dataclass
class Backend:
    """Kubeflow Pipelines on this machine; artifacts go to `root/bucket`, the disks of the steps to `root/disks`."""

    root: Path
    zygote: Any
    evicted: frozenset[str]
    """Tasks whose first pod is lost when its work is done; another one starts them again."""
    cache: dict[str, Execution] = field(default_factory=dict)
    ids: "itertools.count[int]" = field(default_factory=lambda: itertools.count(1))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, spec: Json, run_id: str, parameters: Json) -> dict[str, Execution]:
        """Runs all tasks, each when those it depends on are done, and two at a time.

        As Argo does with `depends: "A.Succeeded && B.Succeeded"`, it omits a task, driver and all, if one of those was
        not triggered or was omitted.
        """
        tasks = spec["root"]["dag"]["tasks"]
        declared = spec["root"]["inputDefinitions"]["parameters"]
        assert set(parameters) <= set(declared)
        assert all(re.fullmatch(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,127}", name) for name in tasks), "Argo refuses a name"
        values = {name: parameters.get(name, what.get("defaultValue")) for name, what in declared.items()}
        done: dict[str, Execution] = {}
        after = {name: task.get("dependentTasks", ()) for name, task in tasks.items()}
        order = TopologicalSorter(after)
        order.prepare()
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            running: dict[concurrent.futures.Future[Execution], str] = {}
            while order.is_active():
                for name in order.get_ready():
                    if all(done[each].succeeded for each in after[name]):
                        running[pool.submit(self._task, spec, name, run_id, values, done)] = name
                    else:
                        done[name] = Execution("omitted")
                        order.done(name)
                finished, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
                for future in finished:
                    name = running.pop(future)
                    done[name] = future.result()
                    order.done(name)
        return done

    def _task(self, spec: Json, name: str, run_id: str, values: Json, done: dict[str, Execution]) -> Execution:
        task = spec["root"]["dag"]["tasks"][name]
        component = spec["components"][task["componentRef"]["name"]]
        container = spec["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        with self.lock:
            disk = self.root / "disks" / f"{next(self.ids)}-{name}"
        inputs = self._inputs(task, component, run_id, values, done)
        policy = task.get("triggerPolicy", {})
        assert set(policy) <= {"condition"}
        if policy and not condition(policy["condition"], inputs):
            return Execution("not triggered")
        place = f"{spec['pipelineInfo']['name']}/{run_id}/{name}"
        outputs = self._outputs(component, spec["defaultPipelineRoot"], place, disk)
        key = None
        if task.get("cachingOptions", {}).get("enableCache"):
            key = fingerprint(inputs, outputs, container)
            if key in self.cache:
                found = self.cache[key]
                return Execution("cached", found.artifacts, found.parameters)
        given = {
            "inputs": inputs,
            "outputs": self._with_logs(outputs, f"{spec['defaultPipelineRoot']}/{place}/{disk.name}"),
        }
        self._start(container, given, disk)
        if name in self.evicted:  # with all that it had made, before anything of it was uploaded
            assert task["retryPolicy"]["maxRetryCount"] > 0
            shutil.rmtree(disk)
            self._start(container, given, disk)
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

    def _with_logs(self, outputs: Json, uri: str) -> Json:
        """Adds the output that a default install has for every step (`PUBLISH_LOGS=true`), though never compiled in."""
        logs = {"name": LOGS, "type": {"schemaTitle": "system.Artifact"}, "uri": f"{uri}/{LOGS}"}
        return outputs | {"artifacts": outputs["artifacts"] | {LOGS: {"artifacts": [logs]}}}

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
        assert filled[:2] == ["python", "-m"]
        done = self.zygote.run(*filled[2:])
        if done.returncode:
            raise StepError(done.stderr)

    def _collect(self, outputs: Json) -> Execution:
        told = json.loads(Path(outputs["outputFile"]).read_text())
        json_format.ParseDict(told, pipeline_spec_pb2.ExecutorOutput())  # strict, as the launcher is
        execution = Execution("ran", parameters=told.get("parameterValues", {}))
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
            execution.artifacts[name] = {
                "name": artifact_id,
                "uri": uri,
                "type": {"instanceSchema": ""},  # present and empty, as recorded
                "metadata": {
                    **{key: as_mlmd(value) for key, value in metadata.items()},
                    "display_name": name,
                    "store_session_info": json.dumps({"Provider": "minio", "Params": {"fromEnv": "true"}}),
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


@pytest.fixture(scope="module")
def genre(zygote: Any) -> Callable[..., str]:
    """Runs the command, and returns what it said."""

    def run(*arguments: object) -> str:
        done = zygote.run("genre", *arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@dataclass
class Cluster:
    """A compiled pipeline, the volume with its data and models, and a backend to run it on."""

    config: Path
    volume: Path
    documents: list[Json]
    backend: Backend
    ingest: Callable[[int, int], None]
    """Adds a span of songs drawn with a seed, with so many of each genre to train on."""

    @property
    def spec(self) -> Json:
        return self.documents[0]

    @property
    def store(self) -> epath.Path:
        return epath.Path(self.volume / "models")


@pytest.fixture(scope="module")
def cluster(
    compose: Callable[..., Path], zygote: Any, genre: Callable[..., str], tmp_path_factory: pytest.TempPathFactory
) -> Cluster:
    root = tmp_path_factory.mktemp("cluster")
    volume, config = root / "volume", root / "kubeflow.yaml"
    target = {
        "name": "tiny",
        "data": str(volume / "data"),
        "workspace": str(volume),
        "window": WINDOW,
        "retrain": {"min_new_clips": 50},
        "kubeflow": {
            "image": "registry.example.com/genre:1",
            "pipeline_root": "minio://mlpipeline/genre",
            "volumes": [{"claim": "genre", "path": str(volume)}],
            "resources": {
                "default": {"cpus": 2, "memory_gb": 4},
                "Trainer": {"accelerator": "nvidia.com/gpu", "accelerators": 2, "node_labels": {"pool": "gpu"}},
            },
            "shared": str(volume / "steps"),
        },
    }
    config.write_text(yaml.safe_dump(yaml.safe_load(TINY.read_text()) | target))

    def ingest(seed: int, per_genre: int) -> None:
        songs = root / f"songs-{seed}"
        tracks = compose(songs, {"train": per_genre, "eval": 8, "test": 10}, seed)
        places = ("--audio-root", songs, "--split-column", "split", "--data", volume / "data")
        genre("ingest", "csv", tracks, *places, "--config", config)

    # Before there is any data: compiling needs none.
    genre("compile", "--target", "kubeflow", "--config", config, "-o", root / "pipeline.yaml")
    ingest(1, 24)
    documents = list(yaml.safe_load_all((root / "pipeline.yaml").read_text()))
    return Cluster(config, volume, documents, Backend(root, zygote, EVICTED), ingest)


@pytest.fixture(scope="module")
def story(cluster: Cluster) -> dict[str, dict[str, Execution]]:
    """Runs of the one compiled pipeline, in order; each test looks at some of them."""
    run = cluster.backend.run
    told = {"first": run(cluster.spec, "run-1", {"settings": "; ".join(UNTRAINED)})}
    cluster.ingest(2, 24)
    told["new span"] = run(cluster.spec, "run-2", {})
    told["unchanged"] = run(cluster.spec, "run-3", {"settings": "retrain.when=now"})
    cluster.ingest(3, 8)
    told["quiet span"] = run(cluster.spec, "run-4", {})
    return told


@dataclass
class Loop:
    """What `genre retrain` made of the same spans on this machine, in a workspace of its own."""

    workspace: Path
    said: dict[str, str] = field(default_factory=dict)
    summaries: dict[str, Json] = field(default_factory=dict)
    """Of the decisions that needed a run."""

    @property
    def store(self) -> epath.Path:
        return epath.Path(self.workspace / "models")


@pytest.fixture(scope="module")
def loop(
    cluster: Cluster,
    story: dict[str, dict[str, Execution]],
    genre: Callable[..., str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Loop:
    loop = Loop(tmp_path_factory.mktemp("loop"))
    decisions = {
        "first": ("span=1", *UNTRAINED),
        "new span": ("span=2",),
        "unchanged": ("span=2", "retrain.when=now"),
        "quiet span": ("span=3",),
    }
    assert set(decisions) == set(story)
    for name, settings in decisions.items():
        summary = loop.workspace / f"{name}.json"
        places = ("--config", cluster.config, "--workspace", loop.workspace, "--summary", summary)
        loop.said[name] = genre("retrain", *places, *(word for each in settings for word in ("--set", each)))
        if summary.exists():
            loop.summaries[name] = json.loads(summary.read_text())
    return loop


def nodes(run: dict[str, Execution], state: str) -> set[str]:
    return {name for name, execution in run.items() if execution.state == state}


def decision(cluster: Cluster, run: dict[str, Execution]) -> Json:
    return json.loads(cluster.backend.files(run["RetrainPolicy"], "account").read_text())["decision"]


def records(directory: Path) -> int:
    """Number of the records in the shards of a split."""
    import tensorflow as tf

    files = [str(path) for path in directory.iterdir()]
    return sum(1 for _ in tf.data.TFRecordDataset(files, compression_of(files)))


def history(workspace: Path) -> list[Json]:
    """The records of a workspace without times."""

    def timeless(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: timeless(each) for key, each in value.items() if key not in (*TIMES, "sha256")}
        return [timeless(each) for each in value] if isinstance(value, list) else value

    found = [json.loads(path.read_text()) for path in (workspace / "history").glob("*.json")]
    return [timeless(record) for record in sorted(found, key=lambda record: record["span"])]


def comparable(verdict: Json) -> Json:
    """A verdict with all that must be the same wherever it is given."""
    kept = {key: value for key, value in verdict.items() if key not in OF_THE_PROCESS}
    measured = {f"max_{name}" for name in OF_THE_PROCESS}
    assert measured <= {check["name"] for check in verdict["checks"]}
    return kept | {
        "checks": [
            check | ({"value": None, "text": ""} if check["name"] in measured else {}) for check in verdict["checks"]
        ]
    }


def weights(store: epath.Path, version: int) -> bytes:
    return (version_dir(store, version) / "variables" / "variables.data-00000-of-00001").read_bytes()


def verdict(cluster: Cluster, run: dict[str, Execution]) -> Json:
    return json.loads((cluster.backend.files(run["GateEvaluator"], "evaluation") / "verdict.json").read_text())


def test_kubeflow_pipelines_own_loader_takes_it(cluster: Cluster) -> None:
    from kfp import components

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


def test_vertex_ai_is_given_the_same_nodes(cluster: Cluster, genre: Callable[..., str], tmp_path: Path) -> None:
    from apache_beam.options import pipeline_options as beam

    config = REPOSITORY / "configs" / "vertex.yaml"
    places = ("--config", config, "-o", tmp_path / "pipeline.json")
    dataflow = "beam={runner: dataflow, dataflow: {temp_location: 'gs://my-bucket/dataflow'}}"
    settings = ("--set", f"window={WINDOW}", "--set", "tune.enabled=true", "--set", dataflow)
    genre("compile", "--target", "vertex", *places, *settings)
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
    command = trainer["command"]
    assert command[:4] == ["python", "-m", "pipeline.remote.step", "--outputs"]  # TensorFlow reads the bucket by itself
    for name in ("ImportExampleGen-0", "StatisticsGen-1", "Transform-0", "GateEvaluator"):
        container = spec["deploymentSpec"]["executors"][f"{name}_executor"]["container"]
        given = beam.PipelineOptions(container["args"])
        cloud = given.view_as(beam.GoogleCloudOptions)
        assert given.view_as(beam.StandardOptions).runner == "DataflowRunner"
        assert (cloud.project, cloud.region) == ("my-project", "europe-west4")
        assert given.view_as(beam.WorkerOptions).sdk_container_image == container["image"]
        assert given.view_as(beam.SetupOptions).beam_plugins == ["tfx"]


def test_steps_get_their_resources(cluster: Cluster) -> None:
    executors = cluster.spec["deploymentSpec"]["executors"]
    assert executors["Transform-1_executor"]["container"]["resources"]["cpuLimit"] == 2
    assert executors["Transform-1_executor"]["container"]["resources"]["memoryLimit"] == 4
    accelerator = executors["Trainer_executor"]["container"]["resources"]["accelerator"]
    assert accelerator == {"type": "nvidia.com/gpu", "count": "2"}
    kubernetes = cluster.documents[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    assert set(kubernetes) == set(executors)
    assert all(what["pvcMount"][0]["mountPath"] == str(cluster.volume) for what in kubernetes.values())
    assert kubernetes["Trainer_executor"]["nodeSelector"] == {"labels": {"pool": "gpu"}}
    assert "nodeSelector" not in kubernetes["Transform-1_executor"]


@pytest.mark.long
def test_beam_works_on_the_shared_volume_and_leaves_nothing_there(
    cluster: Cluster, story: dict[str, dict[str, Execution]]
) -> None:
    shared = cluster.volume / "steps"
    container = cluster.spec["deploymentSpec"]["executors"]["Transform-1_executor"]["container"]
    assert container["command"][4:6] == ["--shared", str(shared)]
    assert list(shared.iterdir()) == []


@pytest.mark.long
def test_the_first_run_pushes_a_model(cluster: Cluster, story: dict[str, dict[str, Execution]]) -> None:
    first = story["first"]
    assert nodes(first, "ran") == ALL
    assert decision(cluster, first)["reasons"] == ["no model is served yet"]
    assert verdict(cluster, first)["champion"] is None
    assert first["StorePusher"].artifacts["pushed_model"]["metadata"]["pushed_version"] == "1"
    lineage = read_lineage(cluster.store, 1)
    assert (lineage.parent, lineage.window, lineage.data) == (None, (1,), str(cluster.volume / "data"))
    for number, clips in ((1, 72), (0, 0)):  # span 1 is in slot 1, and nothing yet in the other
        examples = cluster.backend.files(first[f"ImportExampleGen-{number}"], "examples")
        assert {path.name for path in examples.iterdir()} == {f"Split-{split}" for split in SPLITS}
        assert records(examples / "Split-train") == clips
    page = (cluster.backend.files(first["Reporter"], "report") / "report.html").read_text()
    assert "Music genres, span 1" in page


@pytest.mark.long
def test_settings_of_a_run_reach_the_trainer(cluster: Cluster, story: dict[str, dict[str, Execution]]) -> None:
    def epochs(run: str) -> int:
        file = cluster.backend.files(story[run]["Trainer"], "model_run") / "history.json"
        return len(json.loads(file.read_text())["epochs"])

    assert (epochs("first"), epochs("new span")) == (1, 4)


@pytest.mark.long
def test_a_new_span_is_seen_and_judged_against_the_first_model(
    cluster: Cluster, story: dict[str, dict[str, Execution]]
) -> None:
    second = story["new span"]
    # The library's schema is the same for every span, and span 1 stays in its slot.
    assert nodes(second, "cached") == {"ImportSchemaGen", *in_slot(1, *DATA, "Transform")}
    assert nodes(second, "ran") == ALL - nodes(second, "cached")
    reason = "72 training clips are new to version 1, at least retrain.min_new_clips 50"
    assert reason in decision(cluster, second)["reasons"]
    judged = verdict(cluster, second)
    assert judged["champion"]["version"] == "1"
    assert judged["candidate"]["accuracy"] > judged["champion"]["metrics"]["accuracy"]
    assert judged["candidate"]["clips"] == 30
    assert judged["golden"]["span"] == 1
    assert current_version(cluster.store) == 2
    lineage = read_lineage(cluster.store, 2)
    assert (lineage.parent, lineage.window) == (1, (1, 2))
    assert "Music genres, span 2" in (cluster.backend.files(second["Reporter"], "report") / "report.html").read_text()


@pytest.mark.long
def test_what_was_judged_is_not_trained_again(cluster: Cluster, story: dict[str, dict[str, Execution]]) -> None:
    unchanged = story["unchanged"]
    assert nodes(unchanged, "ran") == {"Planner", "RetrainPolicy"}
    assert nodes(unchanged, "cached") == DECIDING - {"Planner", "RetrainPolicy"}
    (reason,) = decision(cluster, unchanged)["reasons"]
    assert reason == "this data with these settings was judged before: pushed as version 2"


@pytest.mark.long
def test_nothing_runs_behind_a_decision_to_wait(cluster: Cluster, story: dict[str, dict[str, Execution]]) -> None:
    for run in (story["unchanged"], story["quiet span"]):
        assert decision(cluster, run)["action"] == "wait"
        assert nodes(run, "not triggered") == TRANSFORMS
        assert nodes(run, "omitted") == TRAINING
    quiet = story["quiet span"]
    assert nodes(quiet, "cached") == {"ImportSchemaGen", *in_slot(0, *DATA)}  # span 2 is in slot 0
    assert nodes(quiet, "ran") == DECIDING - nodes(quiet, "cached")
    assert decision(cluster, quiet)["reasons"][0].startswith("24 training clips are new to version 2, fewer than")
    assert current_version(cluster.store) == 2


@pytest.mark.long
def test_the_loop_on_this_machine_decides_the_same(
    cluster: Cluster, story: dict[str, dict[str, Execution]], loop: Loop
) -> None:
    for name, run in story.items():
        told = decision(cluster, run)
        line = f"{told['action']}: {'; '.join(told['reasons'])}"
        if name in loop.summaries:
            assert loop.summaries[name]["decision"] == told
        else:
            assert line in loop.said[name].splitlines()
    assert set(loop.summaries) == {"first", "new span", "quiet span"}
    assert history(loop.workspace) == history(cluster.volume)
    assert len(history(cluster.volume)) == 3


@pytest.mark.long
def test_the_loop_on_this_machine_promotes_the_same(
    cluster: Cluster, story: dict[str, dict[str, Execution]], loop: Loop
) -> None:
    for name in ("first", "new span"):
        assert comparable(loop.summaries[name]["verdict"]) == comparable(verdict(cluster, story[name]))
    for version in (1, 2):
        here, there = (read_lineage(store, version) for store in (loop.store, cluster.store))
        assert here.model_copy(update={"config": there.config}) == there
        assert weights(loop.store, version) == weights(cluster.store, version)
    assert current_version(loop.store) == current_version(cluster.store)


@pytest.mark.long
def test_no_address_on_a_step_s_disk_outlives_the_step(
    cluster: Cluster, story: dict[str, dict[str, Execution]]
) -> None:
    disks = str(cluster.backend.root / "disks")
    for run in story.values():
        for execution in run.values():
            assert disks not in json.dumps([execution.artifacts, execution.parameters])


@pytest.mark.long
def test_the_pushed_model_names_genres(cluster: Cluster, story: dict[str, dict[str, Execution]]) -> None:
    from components.store.predictor import Predictor

    assert story["new span"]["StorePusher"].state == "ran"
    predictor = Predictor(version_dir(cluster.store, 2))
    songs = sorted((cluster.backend.root / "songs-2").glob("*/test-*.wav"))
    answers = zip(songs, predictor.predict_all(songs), strict=True)
    right = sum(next(iter(answer.probabilities)) == song.parent.name for song, answer in answers)
    assert right >= 0.9 * len(songs)


def test_a_wrong_run_parameter_ends_the_run_in_words(cluster: Cluster) -> None:
    with pytest.raises(StepError) as failure:
        cluster.backend.run(cluster.spec, "wrong", {"span": "7"})
    assert "genre: " in str(failure.value)
    assert "no complete span 7 (complete spans: 1" in str(failure.value)
    assert "Traceback" not in str(failure.value)
