"""Connects to the service of a target."""

from pipeline.config.settings import PipelineConfig
from pipeline.config.targets import KubeflowConfig, Target
from pipeline.remote.checks import check_target
from pipeline.remote.service import Service


def connect(config: PipelineConfig, target: Target) -> Service:
    """Returns the service of a target; nothing is asked of it yet.

    Raises:
      UserError: the configuration has no section for the target, or something is wrong with it.
    """
    settings = check_target(config, target)
    if isinstance(settings, KubeflowConfig):
        from pipeline.remote.kubeflow import KubeflowService

        return KubeflowService(config.name, settings)
    from pipeline.remote.vertex import VertexService

    return VertexService(config.name, settings)
