"""The runtimes besides TensorFlow that a version can be exported for."""

from typing import Literal

ExportFormat = Literal["onnx", "tflite", "keras"]
FILES: dict[ExportFormat, str] = {"onnx": ".onnx", "tflite": ".tflite", "keras": ".keras"}
"""How a file of each format ends."""
PACKAGES: dict[ExportFormat, tuple[str, ...]] = {"onnx": ("onnx", "onnxruntime", "tf2onnx"), "tflite": (), "keras": ()}
"""What each needs besides TensorFlow: the extra `export` of setup.py."""
INSTALL = "pip install '.[export]'"
"""Installs them where the source is."""
CLIPS = 32
"""Clips of a test split that are enough to compare an export on."""
