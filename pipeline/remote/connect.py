"""Connects to the service of a target."""

from pipeline.config.settings import PipelineConfig
from pipeline.config.targets import Target
from pipeline.remote.service import Service


def connect(config: PipelineConfig, target: Target) -> Service:
    """The service of a target; nothing is asked of it yet."""
    if target == "kubeflow":
        from pipeline.remote.kubeflow import KubeflowService

        return KubeflowService(config)
    from pipeline.remote.vertex import VertexService

    return VertexService(config)
