"""Settings of a Vertex AI endpoint."""

from pydantic import Field, model_validator

from components.google.machines import MachineConfig

VERTEX_TENSORFLOW = "us-docker.pkg.dev/vertex-ai/prediction/tf2-{}.2-15:latest"
"""Vertex AI's newest container for TensorFlow, "Prebuilt containers for inference", by `cpu` or `gpu`.

TensorFlow 2.15 answers with a model of 2.21 as that does: tests/models/kinds/test_contract.py."""


class EndpointConfig(MachineConfig):
    """A Vertex AI endpoint that serves what is pushed."""

    name: str = Field(
        pattern=r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?|[0-9]+)$",
        description="id of the endpoint; it is created if there is none, unless the id is a number",
    )
    image: str | None = Field(
        None,
        min_length=1,
        description="container image in Artifact Registry that serves a SavedModel; null: Vertex AI's for TensorFlow",
    )
    public: bool = Field(
        False,
        description="whether those who have the permission may reach the endpoint from the internet although "
        "vertex.network is set; without a network it is always so",
    )
    min_replicas: int = Field(1, ge=1, description="smallest number of machines for a version")
    max_replicas: int = Field(1, ge=1, description="largest number of machines for a version")
    traffic: int = Field(
        100,
        ge=1,
        le=100,
        description="traffic for a new version, in percent; the rest stays with the version that has most",
    )

    @property
    def container(self) -> str:
        """Returns the container image: the configured one, or Vertex AI's own for a machine with or without GPUs."""
        return self.image or VERTEX_TENSORFLOW.format("gpu" if self.accelerator else "cpu")

    @model_validator(mode="after")
    def _check_image(self) -> "EndpointConfig":
        if self.image is None and self.tpu_topology:
            raise ValueError(
                f"image: missing. Vertex AI's containers for TensorFlow do not use the TPUs of {self.machine_type}"
            )
        return self

    @model_validator(mode="after")
    def _check_replicas(self) -> "EndpointConfig":
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is less than min_replicas {self.min_replicas}")
        return self
