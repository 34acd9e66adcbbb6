"""The gate of the data: what it lets pass, in whose name, and what it stops and has set aside."""

import json
from pathlib import Path
from typing import Any

import pytest
from etils import epath
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.types import artifact_utils, standard_artifacts

from components.base.errors import UserError
from components.library.set_aside import read_set_aside
from components.library.span_import import SpanImport
from components.nodes.data_gate import DataGate, anomalies_in_words
from components.nodes.parameters.data_gate import DataGateParameters
from components.nodes.parameters.example_gen import ImportParameters

LOUD = {"train": {"rms_dbfs": "above the maximum"}, "eval": {"genre": "unknown value ska", "artist": "missing"}}
gate = DataGate.EXECUTOR_SPEC.executor_class._FUNCTION


def anomalies(directory: Path, found: dict[str, dict[str, str]]) -> standard_artifacts.ExampleAnomalies:
    """As ExampleValidator writes them."""
    artifact = standard_artifacts.ExampleAnomalies()
    artifact.uri = str(directory)
    artifact.split_names = artifact_utils.encode_split_names(["train", "eval"])
    for split in ("train", "eval"):
        message = anomalies_pb2.Anomalies()
        for feature, words in found.get(split, {}).items():
            message.anomaly_info[feature].description = words
        path = Path(artifact_utils.get_split_uri([artifact], split))
        path.mkdir(parents=True)
        (path / "SchemaDiff.pb").write_bytes(message.SerializeToString())
    return artifact


def imported(span: int | None, set_aside: Path) -> str:
    clips = SpanImport(span=span, splits={}, digest="", manifest="of the span" if span else "")
    return ImportParameters(clips=clips, set_aside=str(set_aside), code="").model_dump_json()


def passed(
    directory: Path, found: dict[str, dict[str, str]], span: int | None, earlier: str = "", on_anomaly: Any = "continue"
) -> str:
    answer = gate(
        anomalies=anomalies(directory / f"anomalies-{span}", found),
        imported=imported(span, directory / "aside"),
        earlier=earlier,
        parameters=DataGateParameters(on_anomaly=on_anomaly).model_dump_json(),
    )
    return answer["words"]


def test_every_anomaly_is_told_in_order(tmp_path: Path) -> None:
    artifact = anomalies(tmp_path, LOUD)
    assert anomalies_in_words(artifact) == [
        "train: rms_dbfs: above the maximum",
        "eval: artist: missing",
        "eval: genre: unknown value ska",
    ]


def test_what_passes_is_told_of_all_slots(tmp_path: Path) -> None:
    first = passed(tmp_path, LOUD, 4)
    second = passed(tmp_path, {}, 5, first, on_anomaly="stop")
    assert second == first
    third = passed(tmp_path, {"train": {"audio": "too few"}}, 6, second)
    assert json.loads(third) == [
        "span 4: train: rms_dbfs: above the maximum",
        "span 4: eval: artist: missing",
        "span 4: eval: genre: unknown value ska",
        "span 6: train: audio: too few",
    ]
    assert not (tmp_path / "aside").exists()


def test_nothing_to_tell(tmp_path: Path) -> None:
    assert json.loads(passed(tmp_path, {}, 4, on_anomaly="stop")) == []
    assert json.loads(passed(tmp_path, {}, None, on_anomaly="stop")) == []


def test_a_span_at_odds_with_the_schema_stops_the_run_and_is_set_aside(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the data does not agree with the schema") as refusal:
        passed(tmp_path, LOUD, 4, on_anomaly="stop")
    told = str(refusal.value)
    assert all(words in told for words in ("  eval: genre: unknown value ska", "validation.on_anomaly=continue"))
    assert "train without span 4 from now on" in told
    [record] = read_set_aside(epath.Path(tmp_path / "aside"))
    assert record.span == 4
    assert "unknown value ska" in record.reason
