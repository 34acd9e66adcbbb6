"""The node that stops a run when ExampleValidator found the data at odds with the schema."""

import json

from etils import epath
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.example_validator.executor import DEFAULT_FILE_NAME
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputDict, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.types import artifact_utils, standard_artifacts

from components.base.errors import UserError
from components.library.layout import SpanImport
from components.library.set_aside import unusable


def anomalies_in_words(anomalies: standard_artifacts.ExampleAnomalies) -> list[str]:
    """Every anomaly of every split as `split: feature: what is wrong`."""
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
    on_anomaly: Parameter[str],
    earlier: Parameter[str],
    source: Parameter[str],
    set_aside: Parameter[str],
) -> OutputDict(words=str):
    """Fails, with the anomalies in words, unless there are none or `on_anomaly` is "continue".

    Args:
      anomalies: of the span.
      on_anomaly: "stop" or "continue".
      earlier: `words` of the gate of the slot before this; empty for the first.
      source: what the span was imported from, a `SpanImport` as JSON.
      set_aside: directory for the record that the span cannot be used.

    Returns:
      words: every anomaly that it and the gates before it let pass, JSON.

    Raises:
      UserError: the data has anomalies.
    """
    words = anomalies_in_words(anomalies)
    for line in words:
        print(f"anomaly: {line}", flush=True)
    if words and on_anomaly == "stop":
        listed = "\n".join(f"  {line}" for line in words)
        problem = UserError(
            f"the data does not agree with the schema:\n{listed}\n"
            "Mend the library and ingest it again; or, if the data is right, amend the library's schema.pbtxt; or go "
            "on all the same with --set validation.on_anomaly=continue."
        )
        raise unusable(set_aside, SpanImport.model_validate_json(source), problem)
    span = SpanImport.model_validate_json(source).span
    return {"words": json.dumps([*json.loads(earlier or "[]"), *(f"span {span}: {line}" for line in words)])}
