"""Settings of Kubeflow Pipelines and Vertex AI."""

import re
from typing import ClassVar, Literal

from pydantic import Field

from components.base.section import Section
from components.google.config import EndpointConfig
from components.google.machines import MachineConfig

Target = Literal["kubeflow", "vertex"]

TRAINER = "Trainer"
"""The node that a custom job may run."""

DEFAULT = "default"
"""Stands in `resources` for every node that is not named there."""


def node_kind(node: str) -> str:
    """Returns a node's id without the number of its slot, which `resources` does not know."""
    return re.sub(r"-\d+$", "", node)


class Resources(Section):
    """CPUs, memory and accelerators of a step."""

    cpus: float | None = Field(None, gt=0.0, description="number of CPUs; null: the target's default")
    memory_gb: float | None = Field(None, gt=0.0, description="memory in GB; null: the target's default")
    accelerator: str | None = Field(
        None,
        description="kind of accelerator: nvidia.com/gpu or amd.com/gpu on Kubeflow, a name such as NVIDIA_L4 on "
        "Vertex AI; null: no accelerator",
    )
    accelerators: int = Field(1, ge=1, description="number of accelerators of that kind")
    node_labels: dict[str, str] = Field(
        default_factory=dict, description="labels that a machine must have to run the step; on Kubeflow only"
    )


class Volume(Section):
    """A persistent volume that every step sees."""

    claim: str = Field(description="name of the PersistentVolumeClaim")
    path: str = Field(pattern="^/.", description="absolute path where the steps see it")


class RemoteConfig(Section):
    """Settings that both targets have."""

    AT_SUBMISSION: ClassVar[frozenset[str]] = frozenset({"service_account", "caching", "check_buckets"})
    """Settings that are not compiled in: `genre submit --package` may change them."""

    image: str = Field("", description="container image of every step; it has this project in it")
    resources: dict[str, Resources] = Field(
        default_factory=dict, description="CPUs, memory and accelerators by kind of node; `default`: of all other nodes"
    )
    service_account: str | None = Field(None, description="account that the steps run as; null: the target's default")
    caching: bool = Field(
        True, description="whether a submitted run takes unchanged nodes from earlier runs; false: every node runs"
    )
    check_buckets: bool = Field(
        True,
        description="whether `genre submit` checks that you may use the buckets; false: only the steps' account may",
    )

    retries: int = Field(
        2,
        ge=0,
        le=10,
        description="number of times that a failed step is started again, first after a minute, then after twice as "
        "long; every step can be repeated safely; 0: a failed step ends the run",
    )
    parallelism: int = Field(
        4,
        ge=1,
        description="number of spans of the window that are imported, or transformed, at the same time; others wait",
    )

    def at_submission(self) -> frozenset[str]:
        """Returns those of `AT_SUBMISSION` that nothing in the compiled pipeline depends on."""
        return self.AT_SUBMISSION

    def resources_of(self, node: str) -> Resources:
        """Returns what the step of a node gets."""
        return self.resources.get(node_kind(node), self.resources.get(DEFAULT, Resources()))


class KubeflowConfig(RemoteConfig):
    """Open-source Kubeflow Pipelines v2. Its token is no setting, but the environment variable KFP_EXISTING_TOKEN."""

    AT_SUBMISSION = RemoteConfig.AT_SUBMISSION | {"host", "namespace", "experiment", "ca_certificate", "timezone"}

    host: str | None = Field(
        None,
        description="URL of Kubeflow Pipelines; null: environment variable KF_PIPELINES_ENDPOINT, or the cluster of "
        "kubectl",
    )
    namespace: str | None = Field(
        None, description="namespace of the runs; null: yours, or none where users have no namespaces"
    )
    experiment: str | None = Field(None, description="experiment that the runs belong to; null: the setting `name`")
    ca_certificate: str | None = Field(
        None, description="file with the certificate of the host's authority; null: the system's certificates"
    )
    timezone: str = Field(
        "UTC", description="time zone of all schedules: CRON_SCHEDULE_TIMEZONE of Kubeflow Pipelines' scheduler"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="labels of every step's pod")
    pipeline_root: str | None = Field(
        None, description="folder of the artifacts: gs://, s3:// or minio://; null: the server's default"
    )
    volumes: tuple[Volume, ...] = Field((), description="persistent volumes, for data and workspace outside a bucket")
    shared: str | None = Field(
        None,
        pattern="^/.",
        description="folder at or below the path of one of `volumes`, where workers of Flink or Spark see the "
        "artifacts of a step; null: artifacts stay on the disk of the step",
    )


class CustomJobConfig(MachineConfig):
    """The machine of a step that runs as a custom job of Vertex AI."""

    strategy: Literal["STANDARD", "SPOT", "FLEX_START"] = Field(
        "STANDARD",
        description="how the machine is obtained; SPOT: cheap, but may be taken away; FLEX_START: waits for its turn",
    )
    timeout_hours: float = Field(
        24.0, gt=0.0, le=168.0, description="longest time until the job has ended, waiting included, in hours"
    )


class VertexConfig(RemoteConfig):
    """Vertex AI Pipelines. Credentials are no setting, but Google's Application Default Credentials."""

    AT_SUBMISSION = RemoteConfig.AT_SUBMISSION | {
        "project",
        "region",
        "labels",
        "network",
        "encryption_key",
        "api_endpoint",
    }

    project: str = Field("", description="id of the project on Google Cloud")
    region: str = Field("", description="region of the runs, such as europe-west4")
    pipeline_root: str | None = Field(
        None, description="folder of the artifacts: gs://; null: `artifacts` below the setting `workspace`"
    )
    labels: dict[str, str] = Field(default_factory=dict, description="labels of the runs")
    network: str | None = Field(
        None,
        description="network peered with the steps and the custom job: projects/NUMBER/global/networks/NAME; not with "
        "the endpoint, because a peered one has no traffic split (endpoint.public); null: none",
    )
    encryption_key: str | None = Field(
        None,
        description="your own key for the runs, the custom job, the registered model and the endpoint: "
        "projects/P/locations/REGION/keyRings/RING/cryptoKeys/KEY; null: Google's keys",
    )
    api_endpoint: str | None = Field(
        None, description="private endpoint of the API, as https://HOST; null: the region's public one"
    )
    endpoint: EndpointConfig | None = Field(
        None, description="endpoint that serves what is pushed; null: nothing is served on Vertex AI"
    )
    training: CustomJobConfig | None = Field(
        None, description="machine of the Trainer, as a custom job; null: a step like the others, with `resources`"
    )

    def at_submission(self) -> frozenset[str]:
        """See `RemoteConfig`; the nodes that deploy and that start the custom job have some of them compiled in."""
        compiled = {"project", "region", "labels", "service_account", "network", "encryption_key", "api_endpoint"}
        return self.AT_SUBMISSION - compiled if self.endpoint or self.training else self.AT_SUBMISSION


def vertex_api(settings: VertexConfig) -> str:
    """Returns the URL of Vertex AI in the region of `settings`."""
    return (settings.api_endpoint or f"https://{settings.region}-aiplatform.googleapis.com").rstrip("/")
