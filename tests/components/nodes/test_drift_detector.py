"""The nodes that measure drift, run as TFX runs them, on clips of many artists."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray
from tensorflow_metadata.proto.v0 import anomalies_pb2
from tfx.components.distribution_validator.executor import DEFAULT_FILE_NAME
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.descriptors import descriptors
from components.audio.wav import encode_wav
from components.audio.waveform import decode_wavs
from components.base.errors import UserError
from components.drift.config import DriftConfig
from components.drift.permutations import permute_blocks
from components.drift.profile import (
    SCALARS,
    Profile,
    choose_groups,
    profile_clips,
    read_profile,
    write_profile,
)
from components.drift.report import DRIFT_REPORT, DriftReport
from components.drift.validator_distances import jensen_shannon, l_infinity
from components.library.tfrecords import encode_example
from components.nodes.artifacts import PROFILE, VERSION_PROPERTY
from components.nodes.distribution_validator import DistributionValidator, add_anomalies
from components.nodes.drift_detector import SPLIT, DriftDetector
from components.nodes.parameters.drift_detector import DriftParameters
from components.nodes.parameters.reference_profile import ReferenceParameters
from components.nodes.reference_profile import ReferenceProfile
from components.store.saved_model import SavedModel

AUDIO = AudioConfig(sample_rate=8000, clip_seconds=0.25)
FEATURES = FeatureConfig(
    representation="log_mel",
    genres=("Folk", "Rock"),
    audio=AUDIO,
    mel=MelConfig(n_fft=256, hop_length=128, n_mels=16),
)
CONFIG = DriftConfig(false_alarm_rate=0.05)


def clip(generator: np.random.Generator, artist: str, number: int, rate: int, style: str) -> bytes:
    """An example: an artist has a pitch, a loudness and a genre of its own; a new style is darker, quieter and folk."""
    voice = np.random.default_rng(list(artist.encode()))
    time = np.arange(AUDIO.clip_samples) / rate
    pitch, level = voice.uniform(200.0, 900.0), voice.uniform(0.1, 0.6)
    noise = generator.normal(size=time.size)
    if style == "new":
        noise = np.convolve(noise, np.ones(8) / 8.0, mode="same")
        level *= 0.3
    samples = level * (np.sin(2 * np.pi * pitch * time) + 0.2 * noise)
    pcm = np.clip(samples * 20000.0, -32768, 32767).astype(np.int16)
    return encode_example(
        {
            "track_id": f"{artist}-{number}".encode(),
            "genre": b"Folk" if style == "new" or voice.random() < 0.3 else b"Rock",
            "artist": artist.encode(),
            "audio": encode_wav(pcm, rate),
            "duration_seconds": 30.0,
            "rms_dbfs": float(20.0 * np.log10(samples.std())),
            "peak_dbfs": float(20.0 * np.log10(np.abs(samples).max())),
            "silence_ratio": 0.0,
            "clipping_ratio": 0.0,
            "source_rate": int(voice.choice([44100, 44100, 48000])),
            "source_channels": 2,
        }
    )


def clips(artists: Sequence[str], seed: int = 0, per_artist: int = 3, rate: int = 8000, style: str = "") -> list[bytes]:
    generator = np.random.default_rng(seed)
    return [clip(generator, artist, number, rate, style) for artist in artists for number in range(per_artist)]


def write(path: Path, examples: Sequence[bytes]) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for example in examples:
            writer.write(example)
    return str(path)


def held_out(root: Path, **splits: Sequence[bytes]) -> standard_artifacts.Examples:
    """An Examples artifact; a split that is not given has one file without records, as from HeldOutExampleGen."""
    artifact = standard_artifacts.Examples()
    artifact.uri = str(root)
    names = ("test", "joined", "eval", "window", "golden")
    artifact.split_names = artifact_utils.encode_split_names(list(names))
    for name in names:
        examples = splits.get(name, ())
        half = len(examples) // 2
        write(root / f"Split-{name}" / "data_tfrecord-00000-of-00002.gz", examples[:half])
        write(root / f"Split-{name}" / "data_tfrecord-00001-of-00002.gz", examples[half:])
    return artifact


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, export_model: Callable) -> standard_artifacts.Model:
    artifact = standard_artifacts.Model()
    artifact.uri = str(tmp_path_factory.mktemp("model"))
    export_model(Path(artifact.uri) / "Format-Serving", FEATURES)
    return artifact


def saved_model(model: standard_artifacts.Model) -> epath.Path:
    return epath.Path(model.uri) / "Format-Serving"


def facts(examples: Sequence[bytes], name: str) -> list[str]:
    return [tf.train.Example.FromString(each).features.feature[name].bytes_list.value[0].decode() for each in examples]


# --- Profiles ----------------------------------------------------------------------------------------------------


def test_a_profile_is_of_the_clips(model: standard_artifacts.Model, tmp_path: Path) -> None:
    examples = clips(["a", "b", "c"])
    files = [write(tmp_path / "one.gz", examples[:4]), write(tmp_path / "two.gz", examples[4:])]
    profile = profile_clips(saved_model(model), files, 100)
    assert profile.track_ids.tolist() == facts(examples, "track_id")
    assert profile.groups.tolist() == facts(examples, "artist")
    assert profile.genres.tolist() == facts(examples, "genre")
    parsed = [tf.train.Example.FromString(example).features.feature for example in examples]
    assert profile.health[:, SCALARS.index("rms_dbfs")].tolist() == [
        feature["rms_dbfs"].float_list.value[0] for feature in parsed
    ]
    assert profile.health[:, SCALARS.index("source_rate")].tolist() == [
        feature["source_rate"].int64_list.value[0] for feature in parsed
    ]
    samples = decode_wavs(tf.constant([feature["audio"].bytes_list.value[0] for feature in parsed]), AUDIO)
    expected = descriptors(tf.cast(samples, tf.float32) / 32768.0, AUDIO, FEATURES.mel)
    np.testing.assert_allclose(profile.descriptors, expected, rtol=1e-4, atol=1e-4)
    served = tf.saved_model.load(str(saved_model(model))).signatures["serving_default"]
    np.testing.assert_allclose(
        profile.probabilities, served(examples=tf.constant(examples))["probabilities"], rtol=1e-5
    )
    assert profile.embeddings.shape == (9, 5)


def test_the_same_clips_give_the_same_bytes(model: standard_artifacts.Model, tmp_path: Path) -> None:
    """However they are ordered and divided; and what is left out is the same too, and whole groups."""
    examples = clips(list("abcdefgh"))
    shuffled = [examples[index] for index in np.random.default_rng(0).permutation(len(examples))]
    files = {
        "in order": [write(tmp_path / "all.gz", examples)],
        "shuffled": [write(tmp_path / "0.gz", shuffled[:7]), write(tmp_path / "1.gz", shuffled[7:])],
    }
    written = []
    for name, paths in files.items():
        profile = profile_clips(saved_model(model), paths, 10)
        write_profile(profile, epath.Path(tmp_path / name / PROFILE))
        written.append((tmp_path / name / PROFILE).read_bytes())
    assert written[0] == written[1]
    assert sorted(set(profile.groups)) == sorted(choose_groups(dict.fromkeys("abcdefgh", 3), 10))
    assert len(profile.track_ids) == 9
    again = read_profile(epath.Path(tmp_path / "in order" / PROFILE))
    for name, values in vars(profile).items():
        assert getattr(again, name).dtype == values.dtype
        assert np.array_equal(getattr(again, name), values)


def test_groups_are_chosen_whole_and_without_regard_to_the_others() -> None:
    counts = {f"artist {number}": 1 + number % 5 for number in range(100)}
    chosen = choose_groups(counts, 50)
    assert 46 <= sum(counts[group] for group in chosen) <= 50
    assert chosen == choose_groups(dict(reversed(counts.items())), 50)
    assert choose_groups(counts, 1000) == set(counts)
    assert choose_groups({"enormous": 51, "small": 2}, 50) == {"small"}
    assert len(chosen & choose_groups({**counts, "new": 3}, 50)) >= len(chosen) - 3


def test_no_clips_make_an_empty_profile(model: standard_artifacts.Model, tmp_path: Path) -> None:
    profile = profile_clips(saved_model(model), [write(tmp_path / "none.gz", [])], 10)
    assert {len(values) for values in vars(profile).values()} == {0}
    write_profile(profile, epath.Path(tmp_path / PROFILE))
    assert len(read_profile(epath.Path(tmp_path / PROFILE)).groups) == 0


def test_damage_is_named(model: standard_artifacts.Model, tmp_path: Path) -> None:
    file = Path(write(tmp_path / "clips.gz", clips(["a", "b"])))
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"damaged.*clips\.gz"):
        profile_clips(saved_model(model), [str(file)], 10)
    profile = epath.Path(tmp_path / PROFILE)
    for content in (b"", b"nothing of the kind", b"PK\x03\x04 cut off"):
        profile.write_bytes(content)
        with pytest.raises(UserError, match=f"{PROFILE}: not a profile"):
            read_profile(profile)


# --- The nodes ---------------------------------------------------------------------------------------------------


def refer(model: standard_artifacts.Model, examples: standard_artifacts.Examples, root: Path) -> Path:
    """The file that ReferenceProfile writes."""
    reference = simple_artifacts.File()
    reference.uri = str(root / "reference")
    executor = ReferenceProfile.EXECUTOR_SPEC.executor_class()
    properties = {"parameters": ReferenceParameters(code="").model_dump_json()}
    executor.Do({"model": [model], "held_out": [examples]}, {"reference": [reference]}, properties)
    return root / "reference" / PROFILE


@pytest.fixture(scope="module")
def champion(
    tmp_path_factory: pytest.TempPathFactory, model: standard_artifacts.Model
) -> Callable[[bool], standard_artifacts.Model]:
    """A model as the node Champion leaves it, with or without the reference of a library of 20 artists."""
    root = tmp_path_factory.mktemp("champion")
    old = [f"old {number}" for number in range(20)]
    before = held_out(root / "held-out", test=clips(old[:8]), eval=clips(old[8:14]), window=clips(old[14:]))
    reference = refer(model, before, root)

    def make(with_reference: bool = True) -> standard_artifacts.Model:
        artifact = standard_artifacts.Model()
        artifact.uri = str(root / f"champion-{with_reference}")
        target = epath.Path(artifact.uri) / "Format-Serving"
        if not target.exists():
            copy(saved_model(model), target)
            if with_reference:
                SavedModel(target).reference.write_bytes(reference.read_bytes())
        artifact.set_int_custom_property(VERSION_PROPERTY, 3)
        return artifact

    return make


def copy(source: epath.Path, target: epath.Path) -> None:
    for path in source.iterdir():
        if path.is_dir():
            copy(path, target / path.name)
        else:
            target.mkdir(parents=True, exist_ok=True)
            path.copy(target / path.name)


def detect(
    examples: standard_artifacts.Examples, champion: standard_artifacts.Model, root: Path
) -> tuple[DriftReport, DriftReport, standard_artifacts.ExampleAnomalies]:
    """What DriftDetector reports; the same with what DistributionValidator found; and that itself."""
    outputs = {
        "drift": simple_artifacts.File(),
        "statistics": standard_artifacts.ExampleStatistics(),
        "baseline_statistics": standard_artifacts.ExampleStatistics(),
        "thresholds": simple_artifacts.File(),
    }
    for name, artifact in outputs.items():
        artifact.uri = str(root / name)  # which does not exist yet, as on some backends
    lists = {name: [artifact] for name, artifact in outputs.items()}
    properties = {"parameters": DriftParameters(drift=CONFIG, code="").model_dump_json()}
    executor = DriftDetector.EXECUTOR_SPEC.executor_class()
    executor.Do({"held_out": [examples], "champion": [champion]}, lists, properties)
    report = DriftReport.model_validate_json((root / "drift" / DRIFT_REPORT).read_text())
    anomalies = standard_artifacts.ExampleAnomalies()
    anomalies.uri = str(root / "anomalies")
    inputs = {name: lists[name] for name in ("statistics", "baseline_statistics")}
    DistributionValidator.EXECUTOR_SPEC.executor_class().Do(
        {**inputs, "artifact_distribution_validator_config": lists["thresholds"]}, {"anomalies": [anomalies]}, {}
    )
    return report, add_anomalies(report, anomalies), anomalies


def newest(root: Path, style: str = "", **how: int) -> standard_artifacts.Examples:
    artists = [f"new {number}" for number in range(20)]
    return held_out(
        root, test=clips(artists[:10], 1, style=style, **how), eval=clips(artists[10:], 2, style=style, **how)
    )


def test_the_reference_is_of_the_held_out_clips_but_not_of_the_golden_ones(
    model: standard_artifacts.Model, tmp_path: Path
) -> None:
    examples = held_out(tmp_path / "examples", test=clips(["a"]), eval=clips(["b"]), golden=clips(["z"]))
    assert set(read_profile(epath.Path(refer(model, examples, tmp_path))).groups) == {"a", "b"}
    examples = held_out(tmp_path / "more", test=clips(["a"]), eval=clips(["b"]), window=clips(["c"]))
    assert set(read_profile(epath.Path(refer(model, examples, tmp_path))).groups) == {"a", "b", "c"}


def measured_as_calibrated(
    anomalies: standard_artifacts.ExampleAnomalies, examples: standard_artifacts.Examples, serving: epath.Path
) -> None:
    """What DistributionValidator measures is the very distance that its thresholds were calibrated on."""
    files = sorted(map(str, Path(examples.uri).glob("Split-[te][ev]*/*")))
    sides: list[Profile] = [profile_clips(serving, files), read_profile(SavedModel(serving).reference)]
    blocks = permute_blocks(*(side.groups.tolist() for side in sides), 1)

    def both(values: Callable[[Profile], NDArray]) -> NDArray:
        return np.concatenate([values(side) for side in sides])

    path = Path(anomalies.uri) / f"SplitPair-{SPLIT}_{SPLIT}" / DEFAULT_FILE_NAME
    found = anomalies_pb2.Anomalies.FromString(path.read_bytes())
    measured = {info.path.step[0]: info.drift_measurements[0].value for info in found.drift_skew_info}
    assert measured["genre"] == pytest.approx(l_infinity(both(lambda side: side.genres), blocks)[0])
    for name in ("rms_dbfs", "peak_dbfs", "source_rate"):
        column = SCALARS.index(name)
        ours = jensen_shannon(both(lambda side, column=column: side.health[:, column]), blocks)[0]
        assert measured[name] == pytest.approx(ours, rel=1e-9), name


def test_more_of_the_same_is_no_drift(champion: Callable, tmp_path: Path) -> None:
    examples = newest(tmp_path / "examples")
    report, merged, anomalies = detect(examples, champion(), tmp_path)
    assert not report.drifted
    assert report.findings == ()
    assert set(report.p_values) == {"audio health", "descriptors", "predictions", "embeddings"}
    assert min(report.p_values.values()) == report.p_value > CONFIG.false_alarm_rate / 2
    assert (report.newest_clips, report.reference_clips) == (60, 60)
    assert not merged.drifted
    assert anomalies.get_json_value_custom_property("blessed") == {f"{SPLIT}_{SPLIT}": 1}
    told = [note.split(":")[0] for note in merged.notes[len(report.notes) :]]
    assert sorted(told) == ["genre", "peak_dbfs", "rms_dbfs", "source_rate"]  # the others never vary
    assert all("does not differ (" in note for note in merged.notes)
    measured_as_calibrated(anomalies, examples, saved_model(champion()))


def test_a_new_style_is_drift(champion: Callable, tmp_path: Path) -> None:
    report, merged, anomalies = detect(newest(tmp_path / "examples", "new"), champion(), tmp_path)
    assert report.drifted
    assert report.p_value <= CONFIG.false_alarm_rate / 2
    [health] = [finding for finding in report.findings if finding.startswith("audio health: differs (p = ")]
    assert "rms dbfs -" in health and "peak dbfs -" in health
    [found] = [finding for finding in report.findings if finding.startswith("descriptors: differs (p = ")]
    assert " sd" in found and "_" not in found
    assert anomalies.get_json_value_custom_property("blessed") == {f"{SPLIT}_{SPLIT}": 0}
    told = merged.findings[len(report.findings) :]
    assert any(finding.startswith("genre: differs (L-infinity distance 0.") for finding in told)
    assert any(finding.startswith("rms_dbfs: differs (Jensen-Shannon divergence 0.") for finding in told)
    assert not any(finding.startswith("source_rate") for finding in told)

    calm = report.model_copy(update={"drifted": False, "findings": ()})
    alone = add_anomalies(calm, anomalies)  # what the validator alone finds is drift, too
    assert alone.drifted
    assert alone.findings == told


TOO_FEW = "(artists, recordings); the test needs at least 8 on either side"


@pytest.mark.parametrize(
    ("case", "told"),
    [
        ("no champion", "there is no champion yet, so there is nothing to compare with"),
        ("no reference", "version 3 was pushed without a profile of its clips"),
        ("other rate", "the champion takes audio at 8000 Hz, and the newest clips are at 16000 Hz"),
        (
            "few artists",
            f"the newest clips are of 3 groups {TOO_FEW}",
        ),
        (
            "no clips",
            f"the newest clips are of 0 groups {TOO_FEW}",
        ),
        ("other version", "the champion's profile is of another version of this project: 3 health, not 7"),
    ],
)
def test_what_cannot_be_compared_is_said(case: str, told: str, champion: Callable, tmp_path: Path) -> None:
    known = champion(case != "no reference")
    examples = newest(tmp_path / "examples", rate=16000 if case == "other rate" else 8000)
    if case == "no champion":
        known = standard_artifacts.Model()
        known.uri = str(tmp_path / "nothing")
        known.set_int_custom_property(VERSION_PROPERTY, 0)
    elif case == "few artists":
        examples = held_out(tmp_path / "few", test=clips(["x", "y"]), eval=clips(["z"]))
    elif case == "no clips":
        examples = held_out(tmp_path / "none")
    elif case == "other version":
        other = tmp_path / "other"
        copy(epath.Path(known.uri), epath.Path(other))
        path = SavedModel(epath.Path(other) / "Format-Serving").reference
        profile = vars(read_profile(path))
        write_profile(Profile(**{**profile, "health": profile["health"][:, :3]}), path)
        known.uri = str(other)
    report, merged, anomalies = detect(examples, known, tmp_path)
    assert report == merged
    assert not report.drifted
    assert report.p_value is None
    assert report.notes == (f"drift was not tested: {told}",)
    assert anomalies.get_json_value_custom_property("blessed") == {}
    assert json.loads((tmp_path / "drift" / DRIFT_REPORT).read_text())["findings"] == []
