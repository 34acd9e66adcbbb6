"""The node that stops a run when the data does not agree with the schema, by ExampleValidator."""

import json

from etils import epath
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputDict, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts

from components.base.errors import UserError
from components.library.set_aside import unusable
from components.nodes.parameters.data_gate import DataGateParameters
from components.nodes.parameters.example_gen import ImportParameters


def anomalies_in_words(anomalies: standard_artifacts.ExampleAnomalies) -> list[str]:
    """Lists every anomaly of every split as `split: feature: what is wrong`."""
    words = []
    for split in artifact_utils.decode_split_names(anomalies.split_names):
        uri = artifact_utils.get_split_uri([anomalies], split)
        found = anomalies_pb2.Anomalies.FromString((epath.Path(uri) / DEFAULT_FILE_NAME).read_bytes())
        if found.HasField("dataset_anomaly_info"):
            words.append(f"{split}: {found.dataset_anomaly_info.description}")
        for feature, info in sorted(found.anomaly_info.items()):
            words.append(f"{split}: {feature}: {info.description}")
    return words


@component
def DataGate(  # noqa: N802 (the name of a node)
    anomalies: InputArtifact[standard_artifacts.ExampleAnomalies],
    imported: Parameter[str],
    earlier: Parameter[str],
    parameters: Parameter[str],
) -> OutputDict(words=str):  # type: ignore[valid-type]  # TFX reads the outputs here
    """Fails if the data has anomalies, unless `on_anomaly` is "continue".

    Args:
      anomalies: of the span.
      imported: `ImportParameters` of the span, JSON.
      earlier: `words` of the gate of the slot before this; empty for the first.
      parameters: `DataGateParameters`, JSON.

    Returns:
      words: every anomaly that it and the gates before it let pass, JSON.

    Raises:
      UserError: the data has anomalies.
    """
    span = ImportParameters.model_validate_json(imported)
    words = anomalies_in_words(anomalies)
    for line in words:
        print(f"anomaly: {line}", flush=True)
    if words and DataGateParameters.model_validate_json(parameters).on_anomaly == "stop":
        listed = "\n".join(f"  {line}" for line in words)
        problem = UserError(
            f"the data does not agree with the schema:\n{listed}\n"
            "Correct the songs and ingest them again; or, if the data is right, amend the library's schema.pbtxt; or "
            "accept the anomalies with --set validation.on_anomaly=continue."
        )
        # Of several spans, the others passed before the newest came.
        raise unusable(span.set_aside, span.clips.whole, problem)
    return {"words": json.dumps([*json.loads(earlier or "[]"), *(f"{span.clips.named}: {line}" for line in words)])}
