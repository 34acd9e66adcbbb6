"""The formats of exports."""

from components.store.config import ExportFormat

FILES: dict[ExportFormat, str] = {"onnx": ".onnx", "tflite": ".tflite", "keras": ".keras"}
"""How a file of each format ends."""
