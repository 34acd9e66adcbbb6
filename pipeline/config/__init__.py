"""The whole configuration of a pipeline."""
