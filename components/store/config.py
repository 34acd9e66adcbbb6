"""Settings of the model store."""

from pydantic import Field

from components.base.section import Section


class DeployConfig(Section):
    """What the model store keeps."""

    keep_versions: int = Field(10, ge=2, description="older ones are removed, but never what is served")
