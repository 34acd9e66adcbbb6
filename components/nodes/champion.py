"""The node that fetches the champion: the served model, which a candidate must not be worse than.

It reads where models are served from, not a metadata store: what is served is what counts, and it works alike on every
target (open-source Kubeflow Pipelines has no resolver nodes).
"""

from etils import epath
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils, path_utils

from components.nodes.artifacts import VERSION_PROPERTY
from components.nodes.parameters.champion import ChampionParameters
from components.store.checksums import require_sound
from components.store.model_store import version_dir


@component
def Champion(  # noqa: N802 (the name of a node)
    champion: OutputArtifact[standard_artifacts.Model],
    parameters: Parameter[str],
) -> None:
    """Copies a version of the model store, so that what a run was judged against outlives a clean-up of the store.

    Args:
      champion: the model; left empty before there is any champion.
      parameters: `ChampionParameters`, JSON.

    Raises:
      UserError: the version is damaged.
    """
    known = ChampionParameters.model_validate_json(parameters)
    champion.set_int_custom_property(VERSION_PROPERTY, known.version or 0)
    if known.version is not None:
        version = version_dir(epath.Path(known.store), known.version)
        require_sound(version)
        io_utils.copy_dir(str(version), path_utils.serving_model_dir(champion.uri))
