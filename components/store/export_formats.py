"""The runtimes besides TensorFlow that a version can be exported for."""

from typing import Literal

ExportFormat = Literal["onnx", "tflite", "keras"]
FILES: dict[ExportFormat, str] = {"onnx": ".onnx", "tflite": ".tflite", "keras": ".keras"}
"""How a file of each format ends."""
