"""Settings of the model store."""

from pydantic import Field

from components.base.section import Section
from components.store.export_formats import ExportFormat


class DeployConfig(Section):
    """Settings of the model store: the versions that it keeps."""

    keep_versions: int = Field(
        10,
        ge=2,
        description="versions that are kept; older ones are removed, but never the served version or its parent",
    )
    export: tuple[ExportFormat, ...] = Field(
        (),
        description="runtimes that a version is exported for when it is pushed: onnx, which `genre predict` uses where "
        "it is there, tflite, keras",
    )
