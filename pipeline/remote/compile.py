"""Compiles the DAG for Kubeflow Pipelines and Vertex AI. Needs neither of them, nor the data.

TFX's compiler writes the intermediate representation (IR) of Kubeflow Pipelines v2. Open-source Kubeflow Pipelines
knows less of it than Vertex AI does: no resolvers and no driver hooks, so our DAG has none.
"""

import json
import re
from importlib.metadata import version
from typing import Any

import yaml
from kfp.pipeline_spec import pipeline_spec_pb2
from tfx.dsl.components.base.executor_spec import BeamExecutorSpec
from tfx.orchestration.data_types import RuntimeParameter
from tfx.orchestration.kubeflow.v2.kubeflow_v2_dag_runner import KubeflowV2DagRunner, KubeflowV2DagRunnerConfig
from tfx.orchestration.pipeline import Pipeline

from components.base.errors import UserError
from components.beam.options import with_defaults
from components.nodes.retrain_policy import RETRAIN
from pipeline.config.settings import PipelineConfig
from pipeline.config.targets import (
    DEFAULT,
    TRAINER,
    CustomJobConfig,
    KubeflowConfig,
    RemoteConfig,
    Resources,
    Target,
    VertexConfig,
    vertex_api,
)
from pipeline.dag import POLICY, create_pipeline, waiting_nodes
from pipeline.planning.planner import MAX_WINDOW, Planner
from pipeline.planning.source_digest import package_digest
from pipeline.remote.checks import check_nodes, check_target
from pipeline.remote.setup_check import ArtifactCheck, SetupCheck, create_setup_check
from pipeline.remote.setup_problems import DISTRIBUTION, Setup
from pipeline.workspace import Workspace, root_path

ResourceSpec = pipeline_spec_pb2.PipelineDeploymentConfig.PipelineContainerSpec.ResourceSpec

STEP = ("python", "-m", "pipeline.remote.step")
CUSTOM_JOB = ("python", "-m", "pipeline.remote.custom_job")
BOOT_DISK_GB = 100
"""Disk of a custom job's machine, in GB; the data stay in the bucket."""
_RUN = "{{$.pipeline_job_uuid}}"
"""The backend puts the run's own name here."""
_DECISION = "decision"
_BACK_OFF = {"backoffDuration": "60s", "backoffFactor": 2.0, "backoffMaxDuration": "86400s"}
"""Waits between attempts. The last one is how long after a task's first start Argo begins another attempt: a Trainer
may fail after hours. Vertex AI takes an hour for it at most."""
_ARGO_NAME = re.compile(r"[a-zA-Z0-9][-a-zA-Z0-9]{0,127}")
EXECUTOR = "{}_executor"
"""Name of a node's executor in TFX's compiled pipelines."""


def run_parameters(config: PipelineConfig) -> dict[str, Any]:
    """Returns the run parameters with their defaults; see `planner.Planner`."""
    return {"data": config.data, "span": str(config.span), "settings": ""}


def compile_remote(config: PipelineConfig, target: Target) -> str:
    """Compiles the pipeline to a file's text: YAML for Kubeflow Pipelines, a PipelineJob in JSON for Vertex AI.

    Raises:
      UserError: the configuration does not fit the target.
    """
    settings = check_target(config, target)
    if config.window > MAX_WINDOW:
        raise UserError(f"window: {config.window} spans are too many for a compiled pipeline; at most {MAX_WINDOW}")
    parameters = run_parameters(config)
    pipeline = _create(config, settings, parameters)
    nodes = [node.id for node in pipeline.components]
    check_nodes(settings.resources, nodes, target)
    resources = {node: settings.resources_of(node) for node in nodes}
    job = _compiled(pipeline, settings, parameters, resources)
    spec = job["pipelineSpec"]
    # It would be served what an earlier run saw.
    spec["root"]["dag"]["tasks"][Planner.__name__].pop("cachingOptions")
    _limit(spec, settings, config.window)
    _wait_for_policy(spec, waiting_nodes(pipeline))
    if isinstance(settings, VertexConfig) and settings.training is not None:
        container = spec["deploymentSpec"]["executors"][EXECUTOR.format(TRAINER)]["container"]
        container["command"] = [*_custom_job(config.name, settings, settings.training), *container["command"]]
    return _text_of(job, settings, resources)


def compile_setup_check(config: PipelineConfig, target: Target) -> str:
    """Compiles the pipeline of `genre submit --smoke`, which checks where `config` is to run; see `compile_remote`.

    Its first step has the resources of the Trainer, which asks for most.
    """
    settings = check_target(config, target)
    of_trainer = settings.resources_of(TRAINER)
    setup = Setup(
        target=target,
        version=version(DISTRIBUTION),
        digest=package_digest(),
        config=_with_workers(config, settings),
        accelerators=of_trainer.accelerators if of_trainer.accelerator else 0,
    )
    pipeline = create_setup_check(setup, _artifacts(config, settings))
    resources = {SetupCheck.__name__: of_trainer, ArtifactCheck.__name__: settings.resources_of(DEFAULT)}
    return _text_of(_compiled(pipeline, settings, {}, resources), settings, resources)


def _compiled(
    pipeline: Pipeline,
    settings: KubeflowConfig | VertexConfig,
    parameters: dict[str, Any],
    resources: dict[str, Resources],
) -> dict[str, Any]:
    """Returns a PipelineJob that has the steps' image, commands and resources, with `parameters` to set for a run."""
    for node in pipeline.components:
        node.platform_config = _resource_spec(resources[node.id])
    command = STEP if isinstance(settings, VertexConfig) else (*STEP, "--copied")
    runner = KubeflowV2DagRunner(
        KubeflowV2DagRunnerConfig(
            default_image=settings.image, default_commands=list(command), use_pipeline_spec_2_1=True
        )
    )
    job = runner.run(pipeline, parameter_values=parameters, write_out=False)
    spec = job["pipelineSpec"]
    _amend(spec, parameters)
    if isinstance(settings, KubeflowConfig) and settings.shared is not None:
        beam = [node.id for node in pipeline.components if isinstance(node.executor_spec, BeamExecutorSpec)]
        _share(spec, beam, settings.shared)
    _declare_outputs(spec)
    _check_names(spec)
    return job


def _text_of(job: dict[str, Any], settings: KubeflowConfig | VertexConfig, resources: dict[str, Resources]) -> str:
    """Returns a compiled pipeline as the text of a file for the target of `settings`."""
    if isinstance(settings, VertexConfig):
        job["labels"] = {**job.get("labels", {}), **settings.labels}
        return json.dumps(job, indent=2, sort_keys=True)
    if settings.pipeline_root is not None:
        job["pipelineSpec"]["defaultPipelineRoot"] = settings.pipeline_root
    return yaml.safe_dump_all([job["pipelineSpec"], _kubernetes(settings, resources)], sort_keys=True, width=120)


def _artifacts(config: PipelineConfig, settings: KubeflowConfig | VertexConfig) -> str:
    """Returns the folder of the artifacts; empty: the server's own."""
    if settings.pipeline_root is None and isinstance(settings, VertexConfig):
        return str(Workspace(root_path(config.workspace)).artifacts)
    return settings.pipeline_root or ""


def _with_workers(config: PipelineConfig, settings: KubeflowConfig | VertexConfig) -> PipelineConfig:
    """Returns `config` so that Beam's workers, wherever they are, find everything in the image."""
    places = (settings.project, settings.region) if isinstance(settings, VertexConfig) else ()
    return config.model_copy(update={"beam": with_defaults(config.beam, settings.image, *places)})


def _create(config: PipelineConfig, settings: KubeflowConfig | VertexConfig, parameters: dict[str, Any]) -> Pipeline:
    planner = Planner(
        compiled=config.model_dump_json(),
        run=_RUN,
        **{name: RuntimeParameter(name=name, ptype=str) for name in parameters},
    )
    return create_pipeline(
        _with_workers(config, settings),
        {name: channel.future()[0].value for name, channel in planner.outputs.items()},
        first=(planner,),
        artifacts=_artifacts(config, settings),
        endpoint=isinstance(settings, VertexConfig) and settings.endpoint is not None,
    )


def _custom_job(pipeline: str, settings: VertexConfig, training: CustomJobConfig) -> list[str]:
    """Returns what to put before a step's command so that it runs as a custom job; see `pipeline.remote.custom_job`."""
    machine: dict[str, Any] = {"machineType": training.machine_type}
    if training.accelerator is not None:
        machine |= {"acceleratorType": training.accelerator, "acceleratorCount": training.accelerators}
    if training.tpu_topology:
        machine["tpuTopology"] = training.tpu_topology
    worker = {
        "machineSpec": machine,
        "replicaCount": 1,
        "diskSpec": {"bootDiskType": "pd-ssd", "bootDiskSizeGb": BOOT_DISK_GB},
        "containerSpec": {"imageUri": settings.image},
    }
    scheduling = {"timeout": f"{round(training.timeout_hours * 3600)}s", "strategy": training.strategy}
    spec: dict[str, Any] = {"workerPoolSpecs": [worker], "scheduling": scheduling}
    if settings.service_account is not None:
        spec["serviceAccount"] = settings.service_account
    if settings.network is not None:
        spec["network"] = settings.network
    job: dict[str, Any] = {
        "displayName": f"{pipeline}-{TRAINER.lower()}",
        "labels": settings.labels,
        "jobSpec": spec,
    }
    if settings.encryption_key is not None:
        job["encryptionSpec"] = {"kmsKeyName": settings.encryption_key}
    parent = f"projects/{settings.project}/locations/{settings.region}"
    return [*CUSTOM_JOB, "--job", json.dumps(job), "--parent", parent, "--api", vertex_api(settings), "--"]


def _resource_spec(given: Resources) -> Any:
    spec = ResourceSpec()
    if given.cpus is not None:
        spec.cpu_limit = spec.cpu_request = given.cpus
    if given.memory_gb is not None:
        spec.memory_limit = spec.memory_request = given.memory_gb
    if given.accelerator is not None:
        spec.accelerator.type = given.accelerator
        spec.accelerator.count = given.accelerators
    return spec


def _amend(spec: dict[str, Any], defaults: dict[str, Any]) -> None:
    """Corrects what TFX's compiler leaves out of, or gets wrong in, a pipeline spec."""
    tasks = spec["root"]["dag"]["tasks"]
    for task in tasks.values():
        for parameter in task.get("inputs", {}).get("parameters", {}).values():
            if produced := parameter.get("taskOutputParameter"):
                # TFX calls the task so here, but nowhere else.
                produced["producerTask"] = produced["producerTask"].removesuffix("_task")
    for name, value in defaults.items():
        spec["root"]["inputDefinitions"]["parameters"][name] |= {"defaultValue": value, "isOptional": True}


def _share(spec: dict[str, Any], nodes: list[str], folder: str) -> None:
    """Passes to the steps that use Beam the folder that its workers see; the others read their own disk, fastest."""
    for node in nodes:
        spec["deploymentSpec"]["executors"][EXECUTOR.format(node)]["container"]["command"] += ["--shared", folder]


def _declare_outputs(spec: dict[str, Any]) -> None:
    """Passes to each step the names of its artifacts: the backend adds some of its own; see `pipeline.remote.step`."""
    executors = spec["deploymentSpec"]["executors"]
    for component in spec["components"].values():
        names = sorted(component.get("outputDefinitions", {}).get("artifacts", {}))
        executors[component["executorLabel"]]["container"]["command"] += ["--outputs", json.dumps(names)]


def _limit(spec: dict[str, Any], settings: RemoteConfig, window: int) -> None:
    """Has failed tasks started again, and lets only so many spans be imported or transformed at the same time.

    Neither backend can limit how many tasks of a run are at work, so a slot of the window waits for an earlier one.
    """
    tasks = spec["root"]["dag"]["tasks"]
    if settings.retries:
        for task in tasks.values():
            task["retryPolicy"] = {"maxRetryCount": settings.retries, **_BACK_OFF}
    for number in range(settings.parallelism, window):
        for node, end in (("ImportExampleGen", "DataGate"), ("Transform", "Transform")):
            task = tasks[f"{node}-{number}"]
            earlier = f"{end}-{number - settings.parallelism}"
            task["dependentTasks"] = sorted({*task.get("dependentTasks", ()), earlier})


def _check_names(spec: dict[str, Any]) -> None:
    """Checks that Argo takes the names of the tasks as its own.

    A name that it does not take is found only when a run is created; a schedule is accepted, and fails every time.

    Raises:
      ValueError: it does not: a fault of this project.
    """
    for name in spec["root"]["dag"]["tasks"]:
        if not _ARGO_NAME.fullmatch(name):
            raise ValueError(f"{name}: Argo takes no task of that name, but letters, digits and `-`, at most 128")


def _wait_for_policy(spec: dict[str, Any], nodes: list[str]) -> None:
    """Makes the tasks of `nodes` run only if the decision is to retrain.

    TFX's own conditions look at artifacts, which open-source Kubeflow Pipelines does not; both backends know
    conditions on parameters.
    """
    tasks = spec["root"]["dag"]["tasks"]
    source = {"taskOutputParameter": {"producerTask": POLICY, "outputParameterKey": _DECISION}}
    output = spec["components"][tasks[POLICY]["componentRef"]["name"]]["outputDefinitions"]
    output.setdefault("parameters", {})[_DECISION] = {"parameterType": "STRING"}
    for node in nodes:
        task = tasks[node]
        declared = spec["components"][task["componentRef"]["name"]].setdefault("inputDefinitions", {})
        declared.setdefault("parameters", {})[_DECISION] = {"parameterType": "STRING"}
        task.setdefault("inputs", {}).setdefault("parameters", {})[_DECISION] = source
        task["triggerPolicy"] = {"condition": f"inputs.parameter_values['{_DECISION}'] == '{RETRAIN}'"}
        task["dependentTasks"] = sorted({*task.get("dependentTasks", ()), POLICY})


def _kubernetes(settings: KubeflowConfig, resources: dict[str, Resources]) -> dict[str, Any]:
    """Returns the second document of the file, with what only Kubernetes knows."""
    executors = {}
    for node, given in resources.items():
        # A cluster may make the container's own file system read-only. Everything that a step writes is here, on its
        # volumes, or where Kubeflow Pipelines mounts the artifacts.
        wanted: dict[str, Any] = {"emptyDirMounts": [{"volumeName": "genre-tmp", "mountPath": "/tmp"}]}
        if settings.labels:
            wanted["podMetadata"] = {"labels": settings.labels}
        if settings.volumes:
            wanted["pvcMount"] = [
                {
                    "constant": volume.claim,
                    "mountPath": volume.path,
                    "pvcNameParameter": {"runtimeValue": {"constant": volume.claim}},
                }
                for volume in settings.volumes
            ]
        if given.accelerator is not None:
            # Machines with accelerators keep everything off that does not say it wants one.
            wanted["tolerations"] = [{"key": given.accelerator, "operator": "Exists", "effect": "NoSchedule"}]
        if given.node_labels:
            wanted["nodeSelector"] = {"labels": given.node_labels}
        executors[EXECUTOR.format(node)] = wanted
    return {"platforms": {"kubernetes": {"deploymentSpec": {"executors": executors}}}}
