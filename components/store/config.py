"""Settings of the model store."""

from pydantic import Field

from components.base.section import Section


class DeployConfig(Section):
    """Which versions the model store keeps."""

    keep_versions: int = Field(
        10,
        ge=2,
        description="versions that are kept; older ones are removed, but never the served version or its parent",
    )
