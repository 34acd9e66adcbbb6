"""The node that takes the library's reviewed schema into the run."""

from etils import epath
from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts


@component
def ImportSchemaGen(  # noqa: N802 (the name of a node)
    schema: OutputArtifact[standard_artifacts.Schema],
    schema_file: Parameter[str],
    digest: Parameter[str],
) -> None:
    """As `tfx.components.ImportSchemaGen`, but a cache notices when the file is amended.

    Args:
      schema: the copy.
      schema_file: the schema as text.
      digest: of the file's content, for TFX's cache.
    """
    del digest
    directory = epath.Path(schema.uri)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / DEFAULT_FILE_NAME).write_bytes(epath.Path(schema_file).read_bytes())
