"""Nodes that learn from several spans, each an input of its own."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tfx.dsl.component.experimental.annotations import OutputArtifact
from tfx.dsl.component.experimental.decorators import component
from tfx.proto import trainer_pb2
from tfx.types import artifact_utils, channel_utils, standard_artifacts
from tfx.utils import proto_utils

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.preprocessing import FEATURE, GROUP, LABEL
from components.audio.wav import encode_wav
from components.library.tfrecords import encode_example
from components.nodes.trainer import Trainer, TrainerExecutor, Tuner, united
from models.config import ModelConfig, TrainConfig, TrainerParameters

GENRES = ("low", "high")
FEATURES = FeatureConfig(
    representation="log_mel",
    genres=GENRES,
    audio=AudioConfig(sample_rate=4000, clip_seconds=0.25),
    mel=MelConfig(n_fft=128, hop_length=40, n_mels=12),
)
MODEL = ModelConfig(kind="mel_cnn", window_seconds=0.1, options={"filters": [4]})
TRAIN = TrainConfig(epochs=2, batch_size=3, learning_rate=0.01)
CLIPS = 12


def artifact(uri: str = "") -> standard_artifacts.Examples:
    found = standard_artifacts.Examples()
    found.uri = uri
    return found


def test_all_examples_become_one_input_in_the_order_of_their_slots() -> None:
    single = {"schema": [standard_artifacts.Schema()]}
    names = ["examples_10", "examples", "examples_2", "examples_1"]
    inputs = {name: [artifact(name)] for name in names} | single
    found = united(inputs)
    assert [each.uri for each in found["examples"]] == ["examples", "examples_1", "examples_2", "examples_10"]
    assert {name: found[name] for name in found if name != "examples"} == single
    assert set(inputs) == {*names, "schema"}, "what was given stays as it was"
    alone = {"examples": [artifact("examples")]}
    assert united(alone) == alone


@component
def Made(examples: OutputArtifact[standard_artifacts.Examples]) -> None:  # noqa: N802 (the name of a node)
    """Something that makes examples."""
    del examples


@pytest.mark.parametrize("kind", [Trainer, Tuner])
def test_the_other_spans_are_inputs_of_this_node_alone(kind: type) -> None:
    def node(name: str, spans: int) -> tuple[Any, list[Any]]:
        examples = [Made().with_id(f"{name}-{number}").outputs["examples"] for number in range(spans)]
        graph, schema = (
            channel_utils.as_channel([artifact()])
            for artifact in (standard_artifacts.TransformGraph, standard_artifacts.Schema)
        )
        return kind(spans=examples, transform_graph=graph, schema=schema, parameters="{}").with_id(name), examples

    window, spans = node("window", 3)
    alone, _ = node("alone", 1)
    assert [window.inputs[name] for name in ("examples", "examples_1", "examples_2")] == spans
    assert "examples_1" not in alone.inputs
    assert "examples_1" not in kind.SPEC_CLASS.INPUTS


@pytest.fixture(scope="module")
def transformed(transform: Callable) -> tuple[list[bytes], str]:
    """Transformed records of `CLIPS` clips, and the Transform graph."""
    generator = np.random.default_rng(0)
    time = np.arange(FEATURES.audio.clip_samples) / FEATURES.audio.sample_rate
    notes = [np.sin(2 * np.pi * (300 + 900 * (index % 2)) * time) for index in range(CLIPS)]
    clips = [(20000 * note + generator.normal(0, 500, time.size)).astype(np.int16) for note in notes]
    wavs = [encode_wav(clip, FEATURES.audio.sample_rate) for clip in clips]
    rows, graph = transform(FEATURES, wavs, [GENRES[index % 2].encode() for index in range(CLIPS)])
    return [
        encode_example({FEATURE: bytes(row[FEATURE]), LABEL: int(row[LABEL]), GROUP: int(row[GROUP])}) for row in rows
    ], graph


def examples(directory: Path, records: Sequence[bytes], validation: Sequence[bytes]) -> standard_artifacts.Examples:
    """As Transform writes them."""
    found = artifact(str(directory))
    found.split_names = artifact_utils.encode_split_names(["train", "eval"])
    for split, content in (("train", records), ("eval", validation)):
        path = Path(artifact_utils.get_split_uri([found], split))
        path.mkdir(parents=True)
        with tf.io.TFRecordWriter(str(path / "part-0.gz"), "GZIP") as writer:
            for record in content:
                writer.write(record)
    return found


def trained(
    directory: Path, spans: Sequence[standard_artifacts.Examples], graph: str
) -> tuple[dict[str, Any], list[np.ndarray]]:
    """What the executor makes of spans: the figures of each epoch, and the weights."""
    inputs = {("examples" if number == 0 else f"examples_{number}"): [span] for number, span in enumerate(spans)}
    inputs["transform_graph"] = [standard_artifacts.TransformGraph()]
    inputs["transform_graph"][0].uri = graph
    outputs = {"model": [standard_artifacts.Model()], "model_run": [standard_artifacts.ModelRun()]}
    for name, [made] in outputs.items():
        made.uri = str(directory / name)
        (directory / name).mkdir(parents=True)
    parameters = TrainerParameters(
        features=FEATURES, model=MODEL, train=TRAIN, weights="", checkpoints=str(directory / "checkpoints"), code=""
    )
    properties = {
        "run_fn": "models.fitting.training.run_fn",
        "train_args": proto_utils.proto_to_json(trainer_pb2.TrainArgs(splits=["train"])),
        "eval_args": proto_utils.proto_to_json(trainer_pb2.EvalArgs(splits=["eval"])),
        "custom_config": parameters.model_dump_json(),
    }
    TrainerExecutor().Do(inputs, outputs, properties)
    history = json.loads((directory / "model_run" / "history.json").read_text())
    figures = [{key: value for key, value in epoch.items() if key != "seconds"} for epoch in history["epochs"]]
    variables = tf.train.load_checkpoint(str(directory / "model" / "Format-Serving" / "variables" / "variables"))
    names = sorted(name for name in variables.get_variable_to_shape_map() if "_CHECKPOINTABLE" not in name)
    return {"epochs": figures, "accuracy": history["train_accuracy"]}, [variables.get_tensor(name) for name in names]


@pytest.mark.long
def test_several_spans_give_the_model_that_one_with_all_their_clips_gives(transformed: tuple, tmp_path: Path) -> None:
    records, graph = transformed
    parts = [(records[:3], records[6:7]), (records[3:5], []), (records[5:6], records[7:])]
    apart = [examples(tmp_path / f"span-{number}", *part) for number, part in enumerate(parts)]
    whole = [examples(tmp_path / "whole", records[:6], records[6:])]
    expected, weights = trained(tmp_path / "of-one", whole, graph)
    told, found = trained(tmp_path / "of-three", apart, graph)
    assert told == expected
    assert weights
    assert all(np.array_equal(one, other) for one, other in zip(found, weights, strict=True))
    less, _ = trained(tmp_path / "of-two", apart[::2], graph)
    assert less != expected, "a span that is missing is noticed"
