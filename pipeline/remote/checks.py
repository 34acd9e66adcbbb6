"""Finds what is wrong with the settings of a target before TensorFlow is loaded."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from components.base.errors import UserError
from components.beam.config import BeamConfig
from components.google.machines import Finding, step_finding
from pipeline.config.targets import DEFAULT, TRAINER, KubeflowConfig, Resources, Target, VertexConfig, node_kind
from pipeline.remote.artifact_paths import ON_DISK
from pipeline.remote.credentials import is_loopback

if TYPE_CHECKING:
    from pipeline.config.settings import PipelineConfig

_POD_LABEL_VALUE = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_POD_LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
_LABELS = (
    "Kubernetes allows letters, digits, `-`, `_` and `.`, at most 63, with a letter or digit first and last; a key may "
    "have a `domain/` before it."
)
KUBERNETES_ACCELERATORS = ("nvidia.com/gpu", "amd.com/gpu")
"""Resources of Kubernetes that TensorFlow can use."""


def check_target(config: "PipelineConfig", target: Target) -> KubeflowConfig | VertexConfig:
    """Returns the section of `config` for `target` if a pipeline can be compiled with it.

    Raises:
      UserError: there is no such section, or the list of all that is wrong with it.
    """
    settings = config.kubeflow if target == "kubeflow" else config.vertex
    if settings is None:
        other = next((name for name in ("kubeflow", "vertex") if getattr(config, name) is not None), None)
        meant = f"it is for --target {other}" if other else f"see configs/{target}.yaml for an example"
        raise UserError(f"the configuration has no section `{target}`: {meant}.")
    if isinstance(settings, KubeflowConfig):
        problems = _kubeflow_problems(config, settings)
    else:
        problems = _vertex_problems(config, settings)
    if listed := "\n".join(f"  {problem}" for problem in problems):
        raise UserError(f"the pipeline cannot be compiled for {target}:\n{listed}")
    return settings


def _kubeflow_problems(config: "PipelineConfig", settings: KubeflowConfig) -> Iterator[str]:
    if not settings.image:
        yield "kubeflow.image: missing. Name the container image that has this project in it."
    volumes = [volume.path for volume in settings.volumes]
    for key in ("data", "workspace"):
        root = getattr(config, key)
        if not root.startswith("gs://") and not any(_is_below(root, path) for path in volumes):
            below = f", or below one of the volumes ({', '.join(volumes)})" if volumes else ""
            yield (
                f"{key}: {root} is not where the steps can see it. Name a bucket, gs://...{below}; or mount a "
                "volume: kubeflow.volumes."
            )
    root = settings.pipeline_root
    if root is not None and not root.startswith(("gs://", "s3://", "minio://")):
        yield f"kubeflow.pipeline_root: {root} is not in a bucket. Name one, gs://, s3:// or minio://, or null."
    if settings.host is not None and not re.match(r"https?://[^/]", settings.host):
        yield f"kubeflow.host: {settings.host} is no URL. Write it as https://kubeflow.example.com/pipeline."
    for key, value in settings.labels.items():
        if not (_POD_LABEL_KEY.fullmatch(key) and _POD_LABEL_VALUE.fullmatch(value)):
            yield f"kubeflow.labels.{key}: {value!r}: {_LABELS}"
    for node, given in settings.resources.items():
        for key, value in given.node_labels.items():
            if not (_POD_LABEL_KEY.fullmatch(key) and _POD_LABEL_VALUE.fullmatch(value)):
                yield f"kubeflow.resources.{node}.node_labels.{key}: {value!r}: {_LABELS}"
        if given.accelerator is not None and given.accelerator not in KUBERNETES_ACCELERATORS:
            allowed = ", ".join(KUBERNETES_ACCELERATORS)
            yield (
                f"kubeflow.resources.{node}.accelerator: {given.accelerator} is no resource of Kubernetes that "
                f"TensorFlow can use; choose from {allowed}. Choose its model by node_labels, beside it."
            )
    yield from _kubeflow_beam_problems(config.beam, settings)


def _kubeflow_beam_problems(beam: BeamConfig, settings: KubeflowConfig) -> Iterator[str]:
    """Kubeflow Pipelines copies artifacts to the disk of the step that needs them: Beam's workers must see copies."""
    copied = "the artifacts, which Kubeflow Pipelines copies to the disk of each step"
    for volume in settings.volumes:
        if place := next((at.rstrip("/") for at in ON_DISK.values() if _is_below(volume.path, at)), ""):
            yield (
                f"kubeflow.volumes: {volume.claim} is mounted at {volume.path}, but Kubeflow Pipelines copies the "
                f"inputs of each step to {place}: a step would empty files that another one reads. Mount it elsewhere; "
                "for workers of Flink or Spark, name its path in kubeflow.shared."
            )
    if settings.shared is not None and not any(_is_below(settings.shared, each.path) for each in settings.volumes):
        yield (
            f"kubeflow.shared: {settings.shared} is on none of the volumes. Mount one there, in the steps "
            "(kubeflow.volumes) and in Beam's workers."
        )
    cluster = beam.flink or beam.spark
    if beam.dataflow:
        yield f"beam.runner: workers of dataflow would not see {copied}. Choose flink, or --target vertex."
    elif cluster and not cluster.on_this_machine and settings.shared is None:
        yield (
            f"kubeflow.shared: missing. Workers of {beam.runner} would not see {copied}. Mount a volume at the same "
            "path in the steps (kubeflow.volumes) and in the workers, and name that path here."
        )


def _is_below(path: str, folder: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")


def _vertex_problems(config: "PipelineConfig", settings: VertexConfig) -> Iterator[str]:
    for key, meaning in (
        ("image", "the container image that has this project in it"),
        ("project", "the project on Google Cloud"),
        ("region", "where to run, such as europe-west4"),
    ):
        if not getattr(settings, key):
            yield f"vertex.{key}: missing. Name {meaning}."
    roots = {"data": config.data, "workspace": config.workspace}
    if settings.pipeline_root is not None:
        roots["vertex.pipeline_root"] = settings.pipeline_root
    for key, root in roots.items():
        if not root.startswith("gs://"):
            yield f"{key}: {root} is not in a bucket of Google Cloud. Name one: gs://..."
    for node, given in settings.resources.items():
        if given.node_labels:
            yield (
                f"vertex.resources.{node}.node_labels: Vertex AI has no labels of machines; they are for --target "
                "kubeflow. Remove them, and choose by cpus, memory_gb and accelerator."
            )
        if (found := _step(given)).text and found.certain:
            yield f"vertex.resources.{node}: {found.text}"
    if settings.training is not None and settings.resources_of(TRAINER).accelerator is not None:
        yield (
            f"vertex.resources.{TRAINER}: its accelerator would idle, for training is on the machine of "
            "vertex.training. Ask for accelerators there."
        )
    yield from _vertex_submission_problems(settings)


def _step(given: Resources) -> Finding:
    return step_finding(given.cpus or 0.0, given.memory_gb or 0.0, given.accelerator, given.accelerators)


def doubts(settings: KubeflowConfig | VertexConfig) -> list[str]:
    """Lists what may be wrong with the machines of a target: no public table states it, so it is not refused."""
    if isinstance(settings, KubeflowConfig):
        return []
    findings = {f"vertex.resources.{node}": _step(given) for node, given in settings.resources.items()}
    for name, machine in (("endpoint", settings.endpoint), ("training", settings.training)):
        if machine is not None:
            findings[f"vertex.{name}"] = machine.finding
    return [
        f"{key}: {found.text}. No public table of Google states it, so it is not refused."
        for key, found in findings.items()
        if found.text and not found.certain
    ]


def _vertex_submission_problems(settings: VertexConfig) -> Iterator[str]:
    account, key, endpoint = settings.service_account, settings.encryption_key, settings.api_endpoint
    if account is not None and not re.fullmatch(r"[^@\s]+@[^@\s]+", account):
        yield f"vertex.service_account: {account} is no e-mail address, as name@project.iam.gserviceaccount.com."
    if settings.network is not None and not re.fullmatch(r"projects/[0-9]+/global/networks/[^/\s]+", settings.network):
        yield (
            f"vertex.network: {settings.network} is no full name: projects/NUMBER/global/networks/NAME, with the "
            "project's number, not its name: `gcloud projects describe PROJECT --format='value(projectNumber)'`."
        )
    if settings.network is not None and settings.endpoint is not None and not settings.endpoint.public:
        yield (
            "vertex.endpoint: an endpoint that is peered with vertex.network cannot split its traffic, so no version "
            "could be tried out before it serves. Set vertex.endpoint.public to true for one on the internet, where "
            "callers need the permission aiplatform.endpoints.predict; or remove vertex.endpoint or vertex.network."
        )
    if key is not None:
        location = re.fullmatch(r"projects/[^/]+/locations/([^/]+)/keyRings/[^/]+/cryptoKeys/[^/]+", key)
        if not location:
            yield f"vertex.encryption_key: {key} is no key: projects/P/locations/REGION/keyRings/RING/cryptoKeys/KEY."
        elif location[1] != settings.region:
            yield f"vertex.encryption_key: it is in {location[1]}, but must be where the runs are: {settings.region}."
    if endpoint is not None and not (re.match(r"https://[^/]", endpoint) or is_loopback(endpoint)):
        yield f"vertex.api_endpoint: {endpoint} is no https:// URL (http:// is for this machine alone)."
    for name, value in settings.labels.items():
        if not (re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", name) and re.fullmatch(r"[a-z0-9_-]{0,63}", value)):
            yield (
                f"vertex.labels.{name}: {value!r}: Google Cloud allows small letters, digits, `-` and `_`, at most 63; "
                "a key begins with a letter."
            )


def check_nodes(resources: dict[str, Resources], nodes: list[str], target: Target) -> None:
    """Checks that `resources` are for nodes of the pipeline.

    Raises:
      UserError: the pipeline has no such node.
    """
    kinds = list(dict.fromkeys(map(node_kind, nodes)))
    if unknown := sorted(set(resources) - {DEFAULT, *kinds}):
        raise UserError(
            f"{target}.resources: the pipeline has no node {', '.join(unknown)}; it has {', '.join(kinds)}, and "
            f"`{DEFAULT}` stands for all the others"
        )
