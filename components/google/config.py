"""Settings of a Vertex AI endpoint."""

from pydantic import Field, model_validator

from components.google.machines import MachineConfig


class EndpointConfig(MachineConfig):
    """A Vertex AI endpoint that serves what is pushed."""

    name: str = Field(
        pattern=r"^([a-z]([a-z0-9-]{0,61}[a-z0-9])?|[0-9]+)$",
        description="id of the endpoint; it is created if there is none, unless the id is a number",
    )
    image: str = Field(
        min_length=1, description="container image that serves a SavedModel, such as Vertex AI's for TensorFlow"
    )
    public: bool = Field(
        False,
        description="whether who has the permission may reach the endpoint from the internet although vertex.network is "
        "set; without a network it is always so",
    )
    min_replicas: int = Field(1, ge=1, description="smallest number of machines for a version")
    max_replicas: int = Field(1, ge=1, description="largest number of machines for a version")
    traffic: int = Field(
        100,
        ge=1,
        le=100,
        description="traffic for a new version, in percent; the rest stays with the version that has most",
    )

    @model_validator(mode="after")
    def _check_replicas(self) -> "EndpointConfig":
        if self.max_replicas < self.min_replicas:
            raise ValueError(f"max_replicas {self.max_replicas} is less than min_replicas {self.min_replicas}")
        return self
