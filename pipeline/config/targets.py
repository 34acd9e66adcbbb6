"""Settings of Kubeflow Pipelines and Vertex AI."""

import re
from typing import TYPE_CHECKING, ClassVar, Literal

from pydantic import Field

from components.base.section import Section
from components.google.config import EndpointConfig
from components.google.machines import MachineConfig

if TYPE_CHECKING:
    pass

Target = Literal["kubeflow", "vertex"]


TRAINER = "Trainer"
"""The node that a custom job may run."""


DEFAULT = "default"
"""Stands in `resources` for every node that is not named there."""


def node_kind(node: str) -> str:
    """A node's id without the number of its slot, which `resources` does not know."""
    return re.sub(r"_\d+$", "", node)


class Resources(Section):
    """What a step is given; null: what the target gives by itself."""

    cpus: float | None = Field(None, gt=0.0)
    memory_gb: float | None = Field(None, gt=0.0)
    accelerator: str | None = Field(None, description="kind, as the target names it")
    accelerators: int = Field(1, ge=1, description="how many of the kind")


class Volume(Section):
    """A persistent volume that every step sees."""

    claim: str = Field(description="name of the PersistentVolumeClaim")
    path: str = Field(pattern="^/.", description="where the steps see it")


class CallConfig(Section):
    """Patience with the service that runs are submitted to."""

    timeout_seconds: float = Field(60.0, gt=0.0, description="for the answer to one request")
    retry_seconds: float = Field(120.0, ge=0.0, description="for how long a request is made again and again")
    wait_seconds: float = Field(1.0, gt=0.0, description="before the second try; twice as long before each further one")
    poll_seconds: float = Field(15.0, gt=0.0, description="between two looks at a run that is waited for")


class RemoteConfig(Section):
    """What both targets are told."""

    AT_SUBMISSION: ClassVar[frozenset[str]] = frozenset({"service_account", "caching", "check_buckets", "calls"})
    """Settings that are not compiled in: `genre submit --package` may set them otherwise."""

    image: str = Field("", description="container image of every step")
    resources: dict[str, Resources] = Field(default_factory=dict, description="by node; `default` for the others")
    service_account: str | None = Field(None, description="that the steps run as; null: the target's own")
    caching: bool = Field(True, description="of submitted runs; false: every node runs anew")
    check_buckets: bool = Field(
        True, description="before submitting, that you may use the buckets; false: only the steps may"
    )
    calls: CallConfig = CallConfig()

    def at_submission(self) -> frozenset[str]:
        """Those of `AT_SUBMISSION` that nothing in the compiled pipeline was told."""
        return self.AT_SUBMISSION

    def resources_of(self, node: str) -> Resources:
        """What a node is given."""
        return self.resources.get(node_kind(node), self.resources.get(DEFAULT, Resources()))


class KubeflowConfig(RemoteConfig):
    """Open-source Kubeflow Pipelines v2. Its token is no setting, but the environment variable KFP_EXISTING_TOKEN."""

    AT_SUBMISSION = RemoteConfig.AT_SUBMISSION | {"host", "namespace", "experiment", "ca_certificate", "timezone"}

    host: str | None = Field(None, description="URL; null: KF_PIPELINES_ENDPOINT, or the cluster of kubectl")
    namespace: str | None = Field(None, description="of the runs, where every user has one")
    experiment: str | None = Field(None, description="that the runs belong to; null: called as the pipeline")
    ca_certificate: str | None = Field(None, description="file with the certificate of the host's authority")
    timezone: str = Field("UTC", description="of its schedules: CRON_SCHEDULE_TIMEZONE of its scheduler")
    labels: dict[str, str] = Field(default_factory=dict, description="of every step's pod")
    pipeline_root: str | None = Field(None, description="artifacts: gs://, s3:// or minio://; null: the server's own")
    volumes: tuple[Volume, ...] = Field((), description="persistent volumes, for data and workspace outside a bucket")
    node_labels: dict[str, str] = Field(
        default_factory=dict, description="labels of the machines for steps with an accelerator"
    )


class CustomJobConfig(MachineConfig):
    """A machine for one step, by its name; with it the step runs as a custom job of Vertex AI."""

    boot_disk_gb: int = Field(100, ge=100, le=64000, description="size of its disk")
    strategy: Literal["STANDARD", "SPOT", "FLEX_START"] = Field(
        "STANDARD", description="SPOT: cheap, but may be taken away; FLEX_START: when it is its turn"
    )
    reservation: str | None = Field(
        None, pattern="^projects/[^/]+/zones/[^/]+/reservations/[^/]+$", description="of Compute Engine; null: none"
    )
    timeout_hours: float = Field(24.0, gt=0.0, le=168.0, description="until it must have ended, waiting included")


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

    project: str = ""
    region: str = ""
    pipeline_root: str | None = Field(None, description="artifacts: gs://; null: WORKSPACE/artifacts")
    labels: dict[str, str] = Field(default_factory=dict, description="of the runs")
    network: str | None = Field(None, description="peered with the steps: projects/NUMBER/global/networks/NAME")
    encryption_key: str | None = Field(
        None, description="of yours: projects/P/locations/REGION/keyRings/RING/cryptoKeys/KEY"
    )
    api_endpoint: str | None = Field(None, description="private endpoint, as https://HOST; null: the region's own")
    endpoint: EndpointConfig | None = Field(None, description="where what is pushed is served; null: nowhere")
    training: CustomJobConfig | None = Field(None, description="machine of the Trainer; null: see `resources`")

    def at_submission(self) -> frozenset[str]:
        """See `RemoteConfig`; the nodes that deploy and that start the custom job know where, and as whom."""
        known = {"project", "region", "labels", "service_account", "api_endpoint"}
        return self.AT_SUBMISSION - known if self.endpoint or self.training else self.AT_SUBMISSION


def vertex_api(settings: VertexConfig) -> str:
    """URL of Vertex AI."""
    return (settings.api_endpoint or f"https://{settings.region}-aiplatform.googleapis.com").rstrip("/")
