"""The node that fetches the champion: the served model, which a candidate must not be worse than.

It reads where models are served from, not a metadata store: what is served is what counts, and it works alike on every
target (open-source Kubeflow Pipelines has no resolver nodes).
"""

from etils import epath
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts
from tfx.utils import io_utils, path_utils

from components.store.model_store import version_dir

VERSION_PROPERTY = "version"


@component
def Champion(  # noqa: N802 (the name of a node)
    champion: OutputArtifact[standard_artifacts.Model],
    store: Parameter[str],
    version: Parameter[str],
) -> None:
    """Copies version `version` of the model store, so that a later clean-up of the store leaves the account intact.

    Args:
      champion: the model; left empty before there is any champion.
      store: root of the model store.
      version: number of the version, explicitly, never "the latest"; 0 for none. Text, as nodes tell it each other.
    """
    champion.set_int_custom_property(VERSION_PROPERTY, int(version))
    if int(version):
        source = version_dir(epath.Path(store), int(version))
        io_utils.copy_dir(str(source), path_utils.serving_model_dir(champion.uri))
