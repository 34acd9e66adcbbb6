"""The node that takes the library's reviewed schema into the run."""

from etils import epath
from tfx.components.schema_gen.executor import DEFAULT_FILE_NAME
from tfx.dsl.component.experimental.annotations import OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import standard_artifacts

from components.nodes.parameters.import_schema import ImportSchemaParameters


@component
def ImportSchemaGen(  # noqa: N802 (the name of a node)
    schema: OutputArtifact[standard_artifacts.Schema],
    parameters: Parameter[str],
) -> None:
    """Copies the schema, as `tfx.components.ImportSchemaGen` does; but a cache notices when the file is amended.

    Args:
      schema: the copy.
      parameters: `ImportSchemaParameters`, JSON.
    """
    known = ImportSchemaParameters.model_validate_json(parameters)
    directory = epath.Path(schema.uri)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / DEFAULT_FILE_NAME).write_bytes(epath.Path(known.file).read_bytes())
