"""Names of the features of an example that describe its audio and the file that it was decoded from."""

HEALTH = ("duration_seconds", "rms_dbfs", "peak_dbfs", "silence_ratio", "clipping_ratio")
"""Floats: seconds, dBFS, dBFS, and two shares from 0 to 1."""
FILE_FORMAT = ("source_rate", "source_channels")
"""Integers: Hz, and a number of channels."""
