"""Settings of the model store."""

from pydantic import Field

from components.base.section import Section


class DeployConfig(Section):
    """Settings of the model store: the versions that it keeps."""

    keep_versions: int = Field(
        10,
        ge=2,
        description="versions that are kept; older ones are removed, but never the served version or its parent",
    )
