"""Settings of a Vertex AI endpoint."""

from pydantic import Field, model_validator

from components.google.machines import MachineConfig


class EndpointConfig(MachineConfig):
    """A Vertex AI endpoint that serves what is pushed."""

    name: str = Field(
        pattern=r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?|[0-9]+)$",
        description="its id; it is made where there is none, unless the id is a number",
    )
    image: str = Field(min_length=1, description="container that serves a SavedModel, as Vertex AI's for TensorFlow")
    min_replicas: int = Field(1, ge=1)
    max_replicas: int = Field(1, ge=1)
    traffic: int = Field(
        100, ge=1, le=100, description="percent for a new version; the rest stays with the version that has most"
    )
    smoke_traffic: int = Field(1, ge=1, le=10, description="percent for a new version while it is tried out")
    smoke_timeout: float = Field(600.0, gt=0.0, description="seconds in which it must answer the smoke request")
    deploy_timeout: float = Field(3600.0, gt=0.0, description="seconds for a deployment, and for an undeployment")

    @model_validator(mode="after")
    def _check_replicas(self) -> "EndpointConfig":
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is less than min_replicas {self.min_replicas}")
        return self
