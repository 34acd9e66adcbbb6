"""The formats of exports, and what is exported at a push."""

from typing import Literal

Format = Literal["onnx", "tflite", "keras"]
FILES: dict[Format, str] = {"onnx": ".onnx", "tflite": ".tflite", "keras": ".keras"}
"""How a file of each format ends."""
