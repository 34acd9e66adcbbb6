"""Chooses the kinds of model that are compared, and their settings."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from components.audio.config import FeatureConfig
    from components.library.layout import Library
    from models.config import ModelConfig
    from pipeline.config.settings import PipelineConfig


def models_to_compare(
    config: "PipelineConfig", library: "Library", kinds: str | None
) -> dict[str, tuple["ModelConfig", "FeatureConfig"]]:
    """Chooses the settings and features of every kind that is compared.

    Args:
      kinds: names of kinds, separated by commas; None or empty: all.

    Returns:
      Both, by kind.

    Raises:
      UserError: there is no such kind, or it does not take the settings that it is given.
    """
    from components.audio.config import FeatureConfig
    from models import registry
    from models.config import ModelConfig

    names: list[str] = [name.strip() for name in kinds.split(",")] if kinds else list(registry.KINDS)
    models = {}
    for name in [*names, *config.compare]:
        registry.kind_of(ModelConfig(kind=name))
    for name in names:
        other = config.compare.get(name)
        model = ModelConfig(
            kind=name,
            window_seconds=(other and other.window_seconds) or config.model.window_seconds,
            options=other.options if other else (config.model.options if config.model.kind == name else {}),
        )
        registry.load(model)
        features = FeatureConfig(
            representation=registry.kind_of(model).representation,
            genres=library.genres,
            audio=config.audio,
            mel=config.mel,
        )
        models[name] = (model, features)
    return models
