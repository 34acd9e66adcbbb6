"""Our executors of ExampleGen and Transform against TFX's own, on the same clips."""

import errno
import json
import re
import shutil
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import apache_beam as beam
import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from google.protobuf import text_format
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx.components.example_gen.import_example_gen.executor import Executor as StockExampleGen
from tfx.components.transform.executor import Executor as StockTransform
from tfx.dsl.components.base.base_beam_executor import BaseBeamExecutor
from tfx.proto import example_gen_pb2, transform_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.utils import io_utils, proto_utils

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.preprocessing import FEATURE, LABEL
from components.audio.wav import encode_wav
from components.base.errors import UserError
from components.base.json_records import sealed
from components.beam.config import BeamConfig
from components.beam.options import beam_args
from components.library.layout import Manifest, SplitCount, read_manifest
from components.library.set_aside import read_set_aside
from components.library.span_import import SpanImport
from components.library.tfrecords import RecordWriter, compression_of, encode_example
from components.nodes import example_gen, transform
from components.nodes.example_files import DamagedFilesError, FileStep
from components.nodes.parameters.example_gen import ImportParameters
from components.nodes.parameters.transform import TransformParameters

AUDIO = AudioConfig(sample_rate=8000, clip_seconds=0.5)
GENRES = ("Folk", "Rock")
CLIPS = {"train": (9, 4), "eval": (5,), "test": (3,)}
"""Clips in each file of each split."""


def features_of(representation: str) -> FeatureConfig:
    mel = MelConfig(n_fft=256, hop_length=64, n_mels=20)
    return FeatureConfig(representation=representation, genres=GENRES, audio=AUDIO, mel=mel)


@pytest.fixture(scope="module")
def span(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A span as `genre ingest` lays it out; of the features, those that Transform needs."""
    root, generator, number = tmp_path_factory.mktemp("data") / "span-7", np.random.default_rng(1), 0
    files = {}
    for split, sizes in CLIPS.items():
        (root / split).mkdir(parents=True)
        for index, size in enumerate(sizes):
            name = f"{split}/part-{index:05d}-of-{len(sizes):05d}.tfrecord"
            with (root / name).open("wb") as out:
                writer = RecordWriter(out)
                for _ in range(size):
                    pcm = generator.integers(-20000, 20000, AUDIO.clip_samples).astype(np.int16)
                    wav = encode_wav(pcm, AUDIO.sample_rate)
                    names = {"artist": "Ann", "genre": GENRES[number % 2], "track_id": str(number)}
                    text = {name: value.encode() for name, value in names.items()}
                    writer.write(encode_example({"audio": wav, **text}))
                    number += 1
            files[name] = writer.written()
    manifest = Manifest(
        span=7,
        source="test",
        digest="of the span",
        input_files=number,
        splits={split: SplitCount(clips=sum(sizes), groups=1, genres={}) for split, sizes in CLIPS.items()},
        rejects={},
        genres=GENRES,
        schema_digest="",
        files=files,
    )
    (root / "manifest.json").write_text(sealed(manifest))
    return root


@pytest.fixture
def context(tmp_path: Path) -> Callable[[str], BaseBeamExecutor.Context]:
    def make(name: str) -> BaseBeamExecutor.Context:
        (tmp_path / name).mkdir()
        return BaseBeamExecutor.Context(
            beam_pipeline_args=beam_args(BeamConfig(mode="in_memory")), tmp_dir=str(tmp_path / name), unique_id="1"
        )

    return make


def import_with(executor: BaseBeamExecutor, properties: dict[str, Any], target: Path) -> standard_artifacts.Examples:
    examples = standard_artifacts.Examples()
    examples.uri = str(target)
    executor.Do({}, {"examples": [examples]}, properties)
    return examples


def source_of(span: Path, number: int | None = 7, **splits: tuple[str, ...]) -> SpanImport:
    """What imports the whole of a span; or, where `splits` say so, other directories."""
    whole = {split: (str(span / split),) for split in CLIPS}
    return SpanImport(span=number, splits=splits or whole, digest="", manifest="" if splits else "of the span")


def import_source(
    context: BaseBeamExecutor.Context, source: SpanImport, target: Path, set_aside: Path = Path("/none")
) -> standard_artifacts.Examples:
    parameters = ImportParameters(clips=source, set_aside=str(set_aside), code="")
    return import_with(example_gen.Executor(context), {"parameters": parameters.model_dump_json()}, target)


def import_stock(context: BaseBeamExecutor.Context, span: Path, target: Path) -> standard_artifacts.Examples:
    splits = [example_gen_pb2.Input.Split(name=split, pattern=f"{split}/*") for split in CLIPS]
    properties = {
        "input_base": str(span),
        "input_config": proto_utils.proto_to_json(example_gen_pb2.Input(splits=splits)),
        "output_config": proto_utils.proto_to_json(example_gen_pb2.Output()),
        "output_data_format": example_gen_pb2.FORMAT_TF_EXAMPLE,
    }
    return import_with(StockExampleGen(context), properties, target)


def records_of(directory: str) -> list[bytes]:
    files = sorted(tf.io.gfile.glob(f"{directory}/*"))
    return list(tf.data.TFRecordDataset(files, compression_of(files)).as_numpy_iterator())


def test_example_gen_imports_what_tfx_does(span: Path, context: Callable, tmp_path: Path) -> None:
    ours = import_source(context("ours-temporary"), source_of(span), tmp_path / "ours")
    stock = import_stock(context("stock-temporary"), span, tmp_path / "stock")
    assert ours.split_names == stock.split_names
    for name in ("payload_format", "file_format"):
        assert ours.has_custom_property(name) == stock.has_custom_property(name)
    assert ours.get_string_custom_property("payload_format") == stock.get_string_custom_property("payload_format")
    for split, sizes in CLIPS.items():
        # TFX parses and serializes anew, with the features in another order: so the examples are compared, not bytes.
        found, expected = (
            {
                example.features.feature["track_id"].bytes_list.value[0]: example
                for example in map(tf.train.Example.FromString, records_of(f"{artifact.uri}/Split-{split}"))
            }
            for artifact in (ours, stock)
        )
        assert len(found) == sum(sizes)
        assert found == expected


def ids_of(directory: str) -> list[int]:
    examples = map(tf.train.Example.FromString, records_of(directory))
    return sorted(int(each.features.feature["track_id"].bytes_list.value[0]) for each in examples)


def test_a_split_may_come_from_several_directories_or_from_none(span: Path, context: Callable, tmp_path: Path) -> None:
    source = source_of(span, None, window=(f"{span}/eval", f"{span}/train"), golden=())
    found = import_source(context("temporary"), source, tmp_path / "ours")
    assert artifact_utils.decode_split_names(found.split_names) == ["window", "golden"]
    assert ids_of(f"{found.uri}/Split-window") == list(range(18))
    files = sorted(path.name for path in Path(found.uri, "Split-window").iterdir())
    assert files == [f"data_tfrecord-{number:05d}-of-00003" for number in range(3)]
    assert [path.name for path in Path(found.uri, "Split-golden").iterdir()] == ["data_tfrecord-00000-of-00001"]
    assert records_of(f"{found.uri}/Split-golden") == []
    assert json.loads(found.get_string_custom_property("records")) == {"window": 18, "golden": 0}
    assert not found.span
    assert import_source(context("other"), source_of(span), tmp_path / "whole").span == 7


def part(span: Path, split: str, number: int = 0) -> Path:
    return sorted((span / split).iterdir())[number]


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def exchange(span: Path) -> None:
    """An eval and a test shard, each a TFRecord file as any other."""
    contents = part(span, "eval").read_bytes(), part(span, "test").read_bytes()
    part(span, "test").write_bytes(contents[0])
    part(span, "eval").write_bytes(contents[1])


DAMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a wrong bit": (lambda span: flip(part(span, "train")), r"train/part-00000-of-00002\.tfrecord: .*damaged"),
    "cut off": (
        lambda span: part(span, "train").write_bytes(part(span, "train").read_bytes()[:-1]),
        r"train/part-00000-of-00002\.tfrecord: .*cut off",
    ),
    "emptied": (
        lambda span: part(span, "train", 1).write_bytes(b""),
        r"train/part-00001-of-00002\.tfrecord: damaged: it has 0 bytes, and \d+ in the manifest",
    ),
    "missing": (lambda span: part(span, "eval").unlink(), r"eval/part-00000-of-00001\.tfrecord: missing"),
    "a split missing": (lambda span: shutil.rmtree(span / "test"), r"test/part-00000-of-00001\.tfrecord: missing"),
    "one more": (
        lambda span: shutil.copy(part(span, "train"), span / "train" / "part-00002-of-00003.tfrecord"),
        r"train/part-00002-of-00003\.tfrecord: not in the manifest",
    ),
    "exchanged": (exchange, r"(?s)eval/part-00000.*: damaged: .*test/part-00000.*: damaged: "),
}


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_span_is_set_aside(span: Path, context: Callable, tmp_path: Path, kind: str) -> None:
    harm, reason = DAMAGES[kind]
    broken = shutil.copytree(span, tmp_path / "data" / "span-7")
    harm(broken)
    with pytest.raises(UserError, match="train without span 7 from now on") as refusal:
        import_source(context("temporary"), source_of(broken), tmp_path / "ours", tmp_path / "aside")
    assert "damaged TFRecord files" in str(refusal.value)
    [record] = read_set_aside(epath.Path(tmp_path / "aside"))
    assert (record.span, record.digest) == (7, "of the span")
    assert re.search(reason, record.reason)
    assert "Restore them, or ingest the library again" in record.reason
    assert not list((tmp_path / "ours").rglob("*.damaged"))


def test_clips_that_are_held_out_set_their_span_aside_too(span: Path, context: Callable, tmp_path: Path) -> None:
    """A later run reads them anew, while the clips to train on come from a cache."""
    broken = shutil.copytree(span, tmp_path / "data" / "span-7")
    flip(part(broken, "eval"))
    source = source_of(broken, 8, window=(f"{broken}/eval", f"{broken}/test"), golden=())
    with pytest.raises(UserError, match="train without span 7 from now on"):
        import_source(context("temporary"), source, tmp_path / "ours", tmp_path / "aside")
    assert [record.digest for record in read_set_aside(epath.Path(tmp_path / "aside"))] == ["of the span"]


def test_the_span_of_the_golden_set_alone_is_not_set_aside(span: Path, context: Callable, tmp_path: Path) -> None:
    broken = shutil.copytree(span, tmp_path / "data" / "span-7")
    flip(part(broken, "test"))
    source = source_of(broken, 8, test=(), golden=(f"{broken}/test",))
    with pytest.raises(UserError, match="damaged TFRecord files") as refusal:
        import_source(context("temporary"), source, tmp_path / "ours", tmp_path / "aside")
    assert "without span" not in str(refusal.value)
    assert not (tmp_path / "aside").exists()


def test_a_span_of_an_earlier_version_is_imported(span: Path, context: Callable, tmp_path: Path) -> None:
    """Its manifest has no SHA-256 of itself, and of a file the SHA-256 alone."""
    old = shutil.copytree(span, tmp_path / "data" / "span-7")
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["sha256"]
    manifest["files"] = {name: file["sha256"] for name, file in manifest["files"].items()}
    (old / "manifest.json").write_text(json.dumps(manifest))
    (old / "train" / ".DS_Store").touch()
    found = import_source(context("temporary"), source_of(old), tmp_path / "ours")
    assert ids_of(f"{found.uri}/Split-train") == list(range(13))
    (old / "train" / "part-00001-of-00002.tfrecord").write_bytes(b"")
    with pytest.raises(UserError, match=r"part-00001-of-00002\.tfrecord: damaged: its SHA-256"):
        import_source(context("other"), source_of(old), tmp_path / "again", tmp_path / "aside")


@pytest.mark.parametrize("harm", ["changed", "damaged", "of another span", "gone"])
def test_a_manifest_that_is_not_the_planned_one_is_an_error(
    span: Path, context: Callable, tmp_path: Path, harm: str
) -> None:
    other = shutil.copytree(span, tmp_path / "data" / ("span-8" if harm == "of another span" else "span-7"))
    manifest, text = other / "manifest.json", (other / "manifest.json").read_text()
    source, words = source_of(other), "it has changed since this run was planned"
    if harm == "changed":
        source = source.model_copy(update={"manifest": "of what was planned"})
    elif harm == "damaged":
        manifest.write_text(text.replace('"input_files": 21', '"input_files": 23'))
        words = "manifest.json: damaged: its content does not match its sha256"
    elif harm == "of another span":
        words = "manifest.json: it is the manifest of span 7"
    else:
        manifest.unlink()
        words = "no complete span 7"
    with pytest.raises(UserError, match=words):
        import_source(context("temporary"), source, tmp_path / "ours", tmp_path / "aside")
    assert not (tmp_path / "aside").exists()


def test_a_span_that_is_stated_again_while_it_is_read_is_not_set_aside(
    span: Path, context: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stated = shutil.copytree(span, tmp_path / "data" / "span-7")
    source = source_of(stated)

    def read_meanwhile(*_: object, **__: object) -> None:
        manifest = read_manifest(epath.Path(stated.parent), 7)
        (stated / "manifest.json").write_text(sealed(manifest.model_copy(update={"digest": "of right labels"})))
        raise DamagedFilesError({str(part(stated, "train")): "damaged"})

    monkeypatch.setattr(example_gen, "make_files", read_meanwhile)
    with pytest.raises(UserError, match="it has changed since this run was planned"):
        import_source(context("temporary"), source, tmp_path / "ours", tmp_path / "aside")
    assert not (tmp_path / "aside").exists()


def test_what_cannot_be_read_now_sets_nothing_aside(
    span: Path, context: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = epath.Path(part(span, "train"))

    def refuse(path: epath.Path, *args: Any, **kwargs: Any) -> Any:
        if path == whole:
            raise OSError(errno.ESTALE, "")
        return opened(path, *args, **kwargs)

    opened = type(whole).open
    monkeypatch.setattr(type(whole), "open", refuse)
    with pytest.raises(UserError, match=r"cannot be read now:\n  .*part-00000.*: ESTALE \(Stale file handle\)"):
        import_source(context("temporary"), source_of(span), tmp_path / "ours", tmp_path / "aside")
    assert not (tmp_path / "aside").exists()


@pytest.fixture
def examples(span: Path, context: Callable, tmp_path: Path) -> standard_artifacts.Examples:
    return import_source(context("import-temporary"), source_of(span), tmp_path / "examples")


@pytest.fixture
def schema(tmp_path: Path) -> standard_artifacts.Schema:
    artifact = standard_artifacts.Schema()
    artifact.uri = str(tmp_path / "schema")
    text = "".join(
        f'feature {{ name: "{name}" type: BYTES presence {{ min_fraction: 1 }} shape {{ dim {{ size: 1 }} }} }}\n'
        for name in ("artist", "audio", "genre", "track_id")
    )
    (tmp_path / "schema").mkdir()
    message = text_format.Parse(text, schema_pb2.Schema())
    io_utils.write_pbtxt_file(f"{artifact.uri}/schema.pbtxt", message)
    return artifact


def run_transform(
    executor: BaseBeamExecutor,
    examples: list[standard_artifacts.Examples],
    schema: standard_artifacts.Schema,
    target: Path,
    representation: str,
) -> list[standard_artifacts.Examples]:
    graph, transformed = standard_artifacts.TransformGraph(), standard_artifacts.Examples()
    graph.uri, transformed.uri = str(target / "graph"), str(target / "examples")
    outputs = {"transform_graph": [graph], "transformed_examples": [transformed]}
    properties = {
        "preprocessing_fn": "components.audio.preprocessing.preprocessing_fn",
        "splits_config": proto_utils.proto_to_json(
            transform_pb2.SplitsConfig(analyze=["train"], transform=["train", "eval"])
        ),
        "custom_config": TransformParameters(features=features_of(representation), code="").model_dump_json(),
        "disable_statistics": 1,
        "force_tf_compat_v1": 0,
    }
    executor.Do({"examples": examples, "schema": [schema]}, outputs, properties)
    return outputs["transformed_examples"]


@pytest.mark.parametrize(
    "representation", ["log_mel", *(pytest.param(each, marks=pytest.mark.long) for each in ("waveform", "descriptors"))]
)
def test_transform_computes_what_tfx_does(
    examples: standard_artifacts.Examples,
    schema: standard_artifacts.Schema,
    context: Callable,
    tmp_path: Path,
    representation: str,
) -> None:
    def rows(artifact: standard_artifacts.Examples, split: str) -> list[tuple[int, bytes]]:
        spec = {FEATURE: tf.io.FixedLenFeature([], tf.string), LABEL: tf.io.FixedLenFeature([], tf.int64)}
        parsed = tf.io.parse_example(records_of(f"{artifact.uri}/Split-{split}"), spec)
        return list(zip(parsed[LABEL].numpy().tolist(), parsed[FEATURE].numpy().tolist(), strict=True))

    [ours] = run_transform(
        transform.Executor(context("ours-temporary")), [examples], schema, tmp_path / "ours", representation
    )
    [stock] = run_transform(
        StockTransform(context("stock-temporary")), [examples], schema, tmp_path / "stock", representation
    )
    assert ours.split_names == stock.split_names
    for split in ("train", "eval"):
        assert len(rows(ours, split)) == sum(CLIPS[split])
        assert sorted(rows(ours, split)) == sorted(rows(stock, split))
    assert not tf.io.gfile.exists(f"{ours.uri}/Split-test")


def test_transform_makes_its_graph_without_looking_at_a_clip(
    examples: standard_artifacts.Examples,
    schema: standard_artifacts.Schema,
    context: Callable,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In one Beam pipeline, ours. TFX asks for another if an analyzer, or an op with effects, needs the clips."""
    pipelines = []
    make_pipeline = transform.Executor._make_beam_pipeline

    def counted(executor: transform.Executor) -> beam.Pipeline:
        pipelines.append(make_pipeline(executor))
        return pipelines[-1]

    monkeypatch.setattr(transform.Executor, "_make_beam_pipeline", counted)
    run_transform(transform.Executor(context("temporary")), [examples], schema, tmp_path / "ours", "log_mel")
    assert len(pipelines) == 1


def test_workers_that_are_threads_do_not_mix_their_clips(
    examples: standard_artifacts.Examples, schema: standard_artifacts.Schema, context: Callable, tmp_path: Path
) -> None:
    run_transform(transform.Executor(context("temporary")), [examples], schema, tmp_path / "ours", "log_mel")
    convert = transform._ApplyGraph(str(tmp_path / "ours" / "graph"))
    files = sorted(map(str, Path(examples.uri, "Split-train").iterdir()))

    def converted(file: str) -> list[bytes]:
        return list(convert(FileStep(file, "")))

    alone = {file: converted(file) for file in files}
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as threads:
            together = list(threads.map(converted, files * 20))
    finally:
        sys.setswitchinterval(interval)
    assert together == [alone[file] for file in files * 20]


def test_transform_takes_the_examples_of_several_spans(
    examples: standard_artifacts.Examples, schema: standard_artifacts.Schema, context: Callable, tmp_path: Path
) -> None:
    found = run_transform(
        transform.Executor(context("temporary")), [examples, examples], schema, tmp_path / "ours", "log_mel"
    )
    assert len(found) == 2
    assert len({artifact.uri for artifact in found}) == 2
    for artifact in found:
        assert len(records_of(f"{artifact.uri}/Split-train")) == sum(CLIPS["train"])


def test_transform_names_a_damaged_file(
    examples: standard_artifacts.Examples, schema: standard_artifacts.Schema, context: Callable, tmp_path: Path
) -> None:
    damaged = min(Path(examples.uri, "Split-train").iterdir())
    data = bytearray(damaged.read_bytes())
    data[len(data) // 2] ^= 1
    damaged.write_bytes(data)
    with pytest.raises(UserError, match=damaged.name):
        run_transform(transform.Executor(context("temporary")), [examples], schema, tmp_path / "ours", "log_mel")
