"""Settings of the model store."""

from typing import Literal

from pydantic import Field

from components.base.section import Section

ExportFormat = Literal["onnx", "tflite", "keras"]
"""Runtimes besides TensorFlow that a version can be exported for."""


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
