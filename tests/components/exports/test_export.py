"""Exports of small networks: the same answers by another runtime, or a word and no file."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from etils import epath

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.decoding import decode_clip
from components.audio.wav import encode_wav
from components.base.errors import UserError
from components.exports import export as exporting
from components.exports.export import export, export_into
from components.library.tfrecords import encode_example, write_record
from components.store.checksums import find_damage, write_checksums
from components.store.export_formats import FILES, ExportFormat
from components.store.onnx_runtime import OnnxRuntime
from components.store.predictor import Predictor, load_runtime
from components.store.saved_model import SavedModel

ROOT = Path(__file__).resolve().parents[3]
AUDIO = AudioConfig(sample_rate=8000, clip_seconds=1.5)
MEL = MelConfig(n_fft=256, hop_length=128, n_mels=16)
GENRES = ("Folk", "Rock", "Jazz")


def features(representation: str) -> FeatureConfig:
    return FeatureConfig(representation=representation, genres=GENRES, audio=AUDIO, mel=MEL)


@pytest.fixture(scope="module")
def saved(export_model: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> epath.Path:
    """A model of three windows that sees spectrograms."""
    return epath.Path(export_model(tmp_path_factory.mktemp("model") / "1", features("log_mel"), 0.5))


@pytest.fixture(scope="module")
def clips() -> list[np.ndarray]:
    """Noise, a tone, what is repeated because it ends in silence, what begins in silence, a click, and silence."""
    generator, time = np.random.default_rng(0), np.arange(AUDIO.clip_samples) / AUDIO.sample_rate
    tone = 9000.0 * np.sin(2.0 * np.pi * 440.0 * time)
    click = np.zeros(len(time))
    click[4000] = 32767.0
    composed = [generator.normal(size=len(time)) * 4000.0, tone, tone * (time < 0.4), tone * (time > 1.1), click]
    return [each.clip(-32768, 32767).astype(np.int16) for each in (*composed, 0.0 * tone)]


@pytest.fixture(scope="module")
def onnx(saved: epath.Path, clips: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory) -> epath.Path:
    path = epath.Path(tmp_path_factory.mktemp("exports") / "genre.onnx")
    export(saved, "onnx", path, clips)
    return path


def served(saved: epath.Path, signature: str, clips: list[np.ndarray]) -> dict[str, np.ndarray]:
    """What the signature answers WAV files: another way into the graph than the one that is exported."""
    wavs = tf.constant([encode_wav(pcm, AUDIO.sample_rate) for pcm in clips])
    answer = tf.saved_model.load(str(saved)).signatures[signature](audio=wavs)
    return {name: values.numpy() for name, values in answer.items()}


def test_onnx_answers_as_the_signatures_do(saved: epath.Path, onnx: epath.Path, clips: list[np.ndarray]) -> None:
    runtime = OnnxRuntime(onnx)
    assert runtime.card.features == features("log_mel")
    whole, windows = (served(saved, signature, clips) for signature in ("audio", "windows"))
    np.testing.assert_allclose(runtime.answer(clips, "audio")["probabilities"], whole["probabilities"], atol=1e-5)
    found = runtime.answer(clips, "windows")
    for name in ("probabilities", "starts", "ends", "heard"):
        np.testing.assert_allclose(found[name], windows[name], atol=1e-5, err_msg=name)
    heard = windows["heard"]
    assert heard[:3].all() and not heard[5].any()
    assert heard[4].tolist() == [False, True, True, True]  # the click is in the second window, and is repeated
    assert heard[3, -1] and not heard[3, 0]
    model = tf.saved_model.load(str(saved))
    examples = [encode_example({"audio": encode_wav(pcm, AUDIO.sample_rate)}) for pcm in clips]
    embeddings = model.signatures["embeddings"](examples=tf.constant(examples))["embedding"]
    np.testing.assert_allclose(runtime.answer(clips, "embeddings")["embedding"], embeddings, atol=1e-4)


@pytest.mark.parametrize("wanted", ["tflite", "keras"])
def test_other_formats_answer_alike(
    wanted: ExportFormat, saved: epath.Path, clips: list[np.ndarray], tmp_path: Path
) -> None:
    done = export(saved, wanted, epath.Path(tmp_path / "out"), clips)
    assert (done.clips, done.genres, done.clip_samples) == (len(clips), GENRES, 12000)
    assert done.difference < 1e-5
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert done.megabytes == (tmp_path / "out").stat().st_size / 1e6
    json.dumps(done.account())


@pytest.mark.parametrize(
    "representation",
    [
        "yamnet_mel",
        *(pytest.param(each, marks=pytest.mark.long) for each in ("descriptors", "musicnn_mel", "combined")),
    ],
)
def test_every_representation_becomes_onnx_and_what_litert_lacks_is_said(
    representation: str,
    export_model: Callable[..., Path],
    clips: list[np.ndarray],
    shared_noise: list[np.ndarray],
    tmp_path: Path,
) -> None:
    model = epath.Path(export_model(tmp_path / "1", features(representation)))
    export(model, "onnx", epath.Path(tmp_path / "genre.onnx"), shared_noise)
    whole = served(model, "audio", clips[:4])["probabilities"]
    answer = OnnxRuntime(epath.Path(tmp_path / "genre.onnx")).answer(clips[:4], "audio")
    # A rounding error can make another step of the bytes that a representation is kept in.
    np.testing.assert_allclose(answer["probabilities"], whole, atol=5e-4)
    with pytest.raises(UserError, match=r"LiteRT \(TensorFlow Lite\) cannot compute this model: it lacks \w+"):
        export(model, "tflite", epath.Path(tmp_path / "genre.tflite"), clips)
    assert not (tmp_path / "genre.tflite").exists()


@pytest.fixture(scope="module")
def shared_noise() -> list[np.ndarray]:
    """Noise of several colours."""
    generator = np.random.default_rng(1)
    return [
        (np.diff(generator.normal(size=(6, 12006)), order) * 2000.0)[0, :12000].astype(np.int16) for order in (1, 2)
    ]


@pytest.mark.parametrize("wanted", FILES)
@pytest.mark.parametrize("output", ["probabilities", "window_probabilities"])
def test_another_answer_is_not_written(
    wanted: ExportFormat,
    output: str,
    saved: epath.Path,
    clips: list[np.ndarray],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By a thousandth, on the last clip alone; what was there stays."""
    convert = exporting._CONVERSIONS[wanted]

    def wrong(graph: object, path: epath.Path, saved_model: epath.Path) -> tuple[Callable, str]:
        right, note = convert(graph, path, saved_model)

        def answer(waveform: np.ndarray) -> dict[str, np.ndarray]:
            found = {name: np.array(values) for name, values in right(waveform).items()}
            found[output][-1] += 1e-3 * np.array_equal(waveform[-1] * 32768.0, clips[-1])
            return found

        return answer, note

    monkeypatch.setitem(exporting._CONVERSIONS, wanted, wrong)
    (tmp_path / "genre").write_text("earlier")
    with pytest.raises(UserError, match=rf"as {wanted}, the dense answers otherwise: a probability differs by 0\.001"):
        export(saved, wanted, epath.Path(tmp_path / "genre"), clips)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("genre", "earlier")]


def test_a_model_of_an_earlier_release_is_named(
    save_model: Callable[..., Path], clips: list[np.ndarray], tmp_path: Path
) -> None:
    old = epath.Path(save_model(tmp_path / "1", signature="audio"))
    with pytest.raises(UserError, match=r"it has no signature `waveform`\. Train again with `genre run`"):
        export(old, "onnx", epath.Path(tmp_path / "genre.onnx"), clips)


def test_what_is_no_export_is_said(onnx: epath.Path, tmp_path: Path) -> None:
    import onnx as library

    (tmp_path / "cut.onnx").write_bytes(onnx.read_bytes()[:1000])
    with pytest.raises(UserError, match="ONNX Runtime does not load it"):
        OnnxRuntime(epath.Path(tmp_path / "cut.onnx"))
    other = library.load(str(onnx))
    del other.metadata_props[:]
    library.save(other, str(tmp_path / "other.onnx"))
    with pytest.raises(UserError, match="it has no model card"):
        OnnxRuntime(epath.Path(tmp_path / "other.onnx"))


# --- Beside the pushed model -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pushed(
    export_model: Callable[..., Path], clips: list[np.ndarray], tmp_path_factory: pytest.TempPathFactory
) -> epath.Path:
    """A version with an export, compared on the test split of a library, and checksums."""
    root = tmp_path_factory.mktemp("pushed")
    (root / "data" / "span-1" / "test").mkdir(parents=True)
    (root / "data" / "library.json").write_text(json.dumps(LIBRARY))
    (root / "data" / "span-1" / "manifest.json").touch()
    with (root / "data" / "span-1" / "test" / "part-0.tfrecord").open("wb") as file:
        for pcm in clips:
            write_record(file, encode_example({"audio": encode_wav(pcm, AUDIO.sample_rate)}))
    version = epath.Path(export_model(root / "1", features("log_mel"), 0.5))
    told = export_into(version, ("onnx", "tflite"), epath.Path(root / "data"))
    assert [line.partition(":")[0] for line in told] == ["exported to onnx", "exported to tflite"]
    assert "6 clips compared" in told[0]
    write_checksums(version)
    return version


LIBRARY = {"genres": list(GENRES), "audio": AUDIO.model_dump()}


def test_predictions_are_the_same_with_and_without_tensorflow(pushed: epath.Path, tmp_path: Path) -> None:
    song = tmp_path / "song.wav"
    pcm = (np.random.default_rng(2).normal(size=5 * 8000).cumsum() * 50.0).clip(-32768, 32767).astype(np.int16)
    song.write_bytes(encode_wav(pcm, 8000))
    one, other = Predictor(pushed, "onnx"), Predictor(pushed, "tensorflow")
    first, second = (next(each.predict_all([song], segments=True, hop=0.25)) for each in (one, other))
    assert first.clips == second.clips == 3
    assert first.probabilities == pytest.approx(second.probabilities, abs=exporting.TOLERANCE)
    for ours, theirs in zip(first.segments, second.segments, strict=True):
        assert (ours.start, ours.end) == (theirs.start, theirs.end)
        assert ours.probabilities == pytest.approx(theirs.probabilities, abs=exporting.TOLERANCE)
    np.testing.assert_allclose(*(next(each.embed_all([song])) for each in (one, other)), atol=1e-4)
    code = """if True:
        import sys
        from etils import epath
        from components.store.predictor import Predictor
        print(next(Predictor(epath.Path(sys.argv[1])).predict_all([sys.argv[2]])).clips)
        print(*sorted({'tensorflow', 'keras', 'librosa', 'scipy', 'pandas'} & set(sys.modules)))
    """
    command = [sys.executable, "-c", code, str(pushed), str(song)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "3\n\n"


def test_a_damaged_export_answers_nothing(pushed: epath.Path) -> None:
    file = SavedModel(pushed).onnx
    content = file.read_bytes()
    try:
        file.write_bytes(content[:-1] + b"\0")
        assert find_damage(pushed) == f"{file}: damaged: it is not what was pushed"
        with pytest.raises(UserError, match="damaged"):
            load_runtime(pushed)
    finally:
        file.write_bytes(content)


def test_what_cannot_be_exported_is_pushed_without(saved: epath.Path, tmp_path: Path) -> None:
    [told] = export_into(saved, ("onnx",), epath.Path(tmp_path))
    assert told.startswith(f"not exported to onnx: {tmp_path}: not an ingested library")
    assert not SavedModel(saved).exported(FILES["onnx"]).exists()
    with pytest.raises(UserError, match="it was not exported to ONNX when it was pushed"):
        load_runtime(saved, "onnx")


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            ValueError("Graph has cycles,\n node.name='x'"),
            r".*: ValueError: Graph has cycles, node.name",
        ),
        (KeyError("Size"), r"a dense cannot be exported to onnx: KeyError: 'Size'\. Export to keras\."),
        (ModuleNotFoundError(name="tf2onnx"), r"the package tf2onnx is not installed: pip install '\.\[export\]'"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_whatever_a_converter_raises_the_push_goes_on(
    saved: epath.Path, pushed: epath.Path, monkeypatch: pytest.MonkeyPatch, error: Exception, words: str
) -> None:
    def fail(graph: object, path: epath.Path, saved_model: epath.Path) -> None:
        path.write_bytes(b"half")
        raise error

    monkeypatch.setitem(exporting._CONVERSIONS, "onnx", fail)
    before = {path.name for path in saved.iterdir()}
    told = export_into(saved, ("onnx", "keras"), pushed.parent / "data")
    assert re.match(f"not exported to onnx: .*{words}", told[0]), told
    assert told[1].startswith("exported to keras: ")
    SavedModel(saved).exported(".keras").unlink()
    assert {path.name for path in saved.iterdir()} == before


def test_a_damaged_test_split_does_not_stop_a_push(saved: epath.Path, pushed: epath.Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(pushed.parent / "data", tmp_path / "data"))
    shard = data / "span-1" / "test" / "part-0.tfrecord"
    shard.write_bytes(shard.read_bytes()[:-5])
    [told] = export_into(saved, ("onnx",), epath.Path(data))
    assert "span-1: clips of the test split cannot be read" in told and "`genre ingest verify`" in told


def test_real_clips(export_model: Callable[..., Path], shared_data: Path, tmp_path: Path) -> None:
    """ESC-10's fifth fold, which is its test fold here."""
    songs = sorted((shared_data / "esc10").glob("*/5-*.ogg"))
    model = epath.Path(export_model(tmp_path / "1", features("log_mel"), 0.5))
    done = export(model, "onnx", epath.Path(tmp_path / "o"), [decode_clip(song, AUDIO).pcm for song in songs])
    assert done.clips > 50
    assert done.difference < 1e-5
