"""The training input: the same under a seed, other at every epoch, and each augmentation what it says."""

import dataclasses
import itertools
import math
import os
import shutil
import subprocess
import sys
import typing
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from sklearn.utils.class_weight import compute_class_weight

from components.audio.config import AudioConfig, FeatureConfig, MelConfig
from components.audio.representations import feature_shape, network_input, representation_of
from components.base.errors import UserError
from components.library.tfrecords import encode_example
from models.config import Augment, ModelConfig, TrainConfig
from models.fitting import batches as batches_module
from models.fitting.augmentation import LEVELS, Augmentation, augmentation_of, mixup, random_windows, spec_augment
from models.fitting.batches import Clips, class_weights, read_clips, training_batches, validation_batches
from models.windows import all_windows, window_shape, window_starts

CLIPS = 13


@pytest.fixture(autouse=True)
def _short_epochs(monkeypatch: pytest.MonkeyPatch) -> None:
    """An epoch is one pass, except where a test is about its length."""
    monkeypatch.setattr(batches_module, "LEAST_STEPS", 1)


def settings(batch_size: int, augment: str = "off", **others: Any) -> TrainConfig:
    return TrainConfig(batch_size=batch_size, augment=augment, **{"class_weights": False} | others)


def config_of(representation: str) -> FeatureConfig:
    return FeatureConfig(
        representation=representation,
        genres=("a", "b", "c"),
        audio=AudioConfig(sample_rate=4000, clip_seconds=0.25),
        mel=MelConfig(n_fft=128, hop_length=40, n_mels=12),
    )


MEL = config_of("log_mel")  # clips of 26 frames x 12 bins
WAVEFORM = config_of("waveform")  # of 1,000 samples


def stored_clips(config: FeatureConfig) -> tuple[np.ndarray, np.ndarray]:
    """Random stored entries [13, *feature_shape], and labels."""
    generator = np.random.default_rng(5)
    info = np.iinfo(representation_of(config).dtype.as_numpy_dtype)
    entries = generator.integers(info.min, info.max + 1, (CLIPS, *feature_shape(config)), info.dtype)
    return entries, np.arange(CLIPS, dtype=np.int64) % 3


def clips_of(entries: np.ndarray, labels: np.ndarray) -> Clips:
    return Clips.of(entries, labels, np.arange(len(labels)))


def epoch(batches: tf.data.Dataset) -> tuple[np.ndarray, ...]:
    """Windows, targets and, of training batches, weights of one pass, all batches joined."""
    return tuple(np.concatenate(parts) for parts in zip(*batches.as_numpy_iterator(), strict=True))


# --- Windows -----------------------------------------------------------------------------------------------------


def test_windows_cover_every_clip_of_every_size() -> None:
    for steps in range(1, 70):
        for window in range(1, steps + 1):
            starts = window_starts(steps, window)
            assert len(starts) == -(-steps // window)
            assert starts[0] == 0
            assert starts[-1] == steps - window
            covered = np.zeros(steps, bool)
            for start in starts:
                covered[start : start + window] = True
            assert covered.all(), (steps, window)
            gaps = np.diff(starts)
            assert not len(gaps) or gaps.max() - gaps.min() <= 1, (steps, window)  # evenly spaced


def test_windows_of_real_sizes() -> None:
    assert window_starts(1292, 215)[-1] == 1077
    assert len(window_starts(1292, 215)) == 7
    assert window_starts(661500, 110250) == tuple(range(0, 661500, 110250))


def test_a_window_is_at_most_the_clip() -> None:
    assert window_shape(ModelConfig(window_seconds=0.1), MEL) == (10, 12)
    assert window_shape(ModelConfig(window_seconds=5.0), MEL) == (26, 12)
    assert window_shape(ModelConfig(window_seconds=1e-6), MEL) == (1, 12)
    assert window_shape(ModelConfig(window_seconds=0.1), WAVEFORM) == (400,)
    assert window_shape(ModelConfig(window_seconds=0.1), config_of("descriptors")) == (336,)


def test_descriptors_are_one_window() -> None:
    config = config_of("descriptors")
    (size,) = window_shape(ModelConfig(window_seconds=0.1), config)
    stored = np.random.default_rng(2).normal(size=(CLIPS, size)).astype(np.float32)
    assert np.array_equal(all_windows(tf.constant(stored), config, size), stored)


@pytest.mark.parametrize("window", [1, 7, 13, 26])
def test_all_windows_are_slices_clip_by_clip(window: int) -> None:
    entries, _ = stored_clips(MEL)
    found = all_windows(tf.constant(entries), MEL, window).numpy()
    starts = window_starts(26, window)
    assert found.shape == (CLIPS * len(starts), window, 12)
    for index, values in enumerate(found):
        clip, start = entries[index // len(starts)], starts[index % len(starts)]
        np.testing.assert_allclose(values, clip[start : start + window] / 255.0, atol=1e-7)


def test_a_silent_window_gives_its_place_to_one_with_sound() -> None:
    entries = np.random.default_rng(0).integers(1, 256, (3, 26, 12)).astype(np.uint8)
    entries[0, 13:] = 0
    entries[1] = 0
    found = all_windows(tf.constant(entries), MEL, 6).numpy().reshape(3, 5, 6, 12) * 255.0
    at = window_starts(26, 6)
    slices = [[clip[start : start + 6] for start in at] for clip in entries]
    np.testing.assert_allclose(found[0], [slices[0][i] for i in (0, 1, 2, 0, 1)], atol=1e-4)  # 10 to 16 has some sound
    np.testing.assert_allclose(found[1:], slices[1:], atol=1e-4)


@pytest.mark.parametrize("window", [1, 9, 26])
def test_random_windows_are_rolled_slices(window: int) -> None:
    position = np.arange(26)
    clips = (1000 * np.arange(500)[:, np.newaxis] + position)[:, :, np.newaxis].astype(np.float32)
    found = random_windows(tf.constant(clips), window, tf.constant([3, 4])).numpy()
    assert found.shape == (500, window, 1)
    starts = (found[:, 0, 0] - 1000 * np.arange(500)).astype(int)
    for clip, start in enumerate(starts):
        assert np.array_equal(found[clip, :, 0], 1000 * clip + (start + np.arange(window)) % 26)
    assert set(starts) == set(range(26))  # anywhere, rolling round the end
    again = random_windows(tf.constant(clips), window, tf.constant([3, 4])).numpy()
    assert np.array_equal(again, found)
    assert not np.array_equal(random_windows(tf.constant(clips), window, tf.constant([3, 5])), found)


# --- SpecAugment and mixup ---------------------------------------------------------------------------------------


def masked(augmentation: Augmentation, seed: int, frames: int = 30, mels: int = 20) -> np.ndarray:
    """bool [200, frames, mels]: what was set to the floor."""
    kept = spec_augment(tf.ones([200, frames, mels]), augmentation, tf.constant([seed, 9])).numpy()
    assert set(np.unique(kept)) <= {0.0, 1.0}
    return kept == 0.0


@pytest.mark.parametrize("share", [0.0, 0.04, 0.15, 0.33, 1.0])
@pytest.mark.parametrize("axis", ["frequency", "time"])
def test_a_mask_is_one_stretch_of_at_most_its_share(axis: str, share: float) -> None:
    both = {"frequency_masks": 0, "time_masks": 0} | {f"{axis}_masks": 1, f"{axis}_mask_share": share}
    size = 20 if axis == "frequency" else 30
    widths = Counter()
    starts = set()
    for seed in range(10):
        for clip in masked(Augmentation(**both), seed):
            along = clip.any(axis=0) if axis == "frequency" else clip.any(axis=1)
            whole = np.broadcast_to(along if axis == "frequency" else along[:, np.newaxis], clip.shape)
            assert np.array_equal(clip, whole)  # right across the other axis
            places = np.flatnonzero(along)
            assert not places.size or np.array_equal(places, np.arange(places[0], places[-1] + 1))
            widths[places.size] += 1
            starts.update(places[:1])
    widest = int(share * size + 1e-6)
    assert set(widths) == set(range(widest + 1))  # every width up to the widest
    if 0 < widest < size:
        assert starts == set(range(size))  # and every place
        assert min(widths.values()) > 2000 / (widest + 1) / 2  # all about as often


def test_several_masks_of_both_kinds() -> None:
    augmentation = Augmentation(frequency_masks=2, frequency_mask_share=0.2, time_masks=3, time_mask_share=0.1)
    bins, frames = [], []
    for clip in masked(augmentation, 1):
        bins.append(clip.all(axis=0).sum())
        frames.append(clip.all(axis=1).sum())
        assert np.array_equal(clip, clip.all(axis=0)[np.newaxis, :] | clip.all(axis=1)[:, np.newaxis])
    assert 4 < max(bins) <= 2 * 4  # more than one mask could cover: so they are drawn apart
    assert 3 < max(frames) <= 3 * 3


@pytest.mark.parametrize("alpha", [0.1, 0.2, 1.0, 8.0])
def test_mixup_blends_windows_as_it_blends_targets(alpha: float) -> None:
    generator = np.random.default_rng(0)
    classes = 300  # as many as examples, so that a target tells which two were blended
    targets = np.eye(classes, dtype=np.float32)
    pictures = generator.normal(size=(classes, 5, 4)).astype(np.float32)
    windows, mixed = mixup(tf.constant(pictures), tf.constant(targets), alpha, tf.constant([1, 2]))
    windows, mixed = windows.numpy(), mixed.numpy()
    np.testing.assert_allclose(mixed.sum(axis=1), 1.0, atol=1e-6)
    own = np.diag(mixed)
    assert own.min() >= 0.5
    assert own.max() <= 1.0 + 1e-6
    assert ((mixed > 0).sum(axis=1) <= 2).all()
    np.testing.assert_allclose(windows, np.einsum("ij,jab->iab", mixed, pictures), atol=1e-5)
    # E max(w, 1 - w) of Beta(a, a), by sampling with another generator.
    weights = generator.beta(alpha, alpha, 200_000)
    assert own.mean() == pytest.approx(np.maximum(weights, 1 - weights).mean(), abs=0.03)
    assert own.std() > 0.05  # drawn apart for every example


@pytest.mark.parametrize(
    ("augment", "mixed", "expected"), [("light", None, 0.2), ("strong", 0.0, 0.0), ("off", 0.3, 0.3)]
)
def test_mixup_is_the_levels_unless_it_is_set(augment: str, mixed: float | None, expected: float) -> None:
    config = TrainConfig(augment=augment, mixup=mixed)
    assert augmentation_of(config) == dataclasses.replace(LEVELS[augment], mixup=expected)


def test_every_level_changes_more_than_the_one_before() -> None:
    levels = [dataclasses.astuple(LEVELS[name]) for name in ("off", "light", "strong")]
    assert list(LEVELS) == list(typing.get_args(typing.get_args(Augment)[0]))
    for less, more in itertools.pairwise(levels):
        assert all(before <= after for before, after in zip(less, more, strict=True)) and less != more


# --- Batches -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", [MEL, WAVEFORM], ids=["log_mel", "waveform"])
def test_the_same_seed_gives_the_same_epochs(config: FeatureConfig) -> None:
    window = window_shape(ModelConfig(window_seconds=0.1), config)[0]

    def two_epochs(seed: int) -> list[tuple[np.ndarray, ...]]:
        clips = clips_of(*stored_clips(config))
        batches = training_batches(clips, config, window, settings(4, "light", seed=seed, class_weights=True))
        return [epoch(batches), epoch(batches)]

    first, second = two_epochs(1), two_epochs(1)
    for ours, theirs in zip(first, second, strict=True):
        for one, other in zip(ours, theirs, strict=True):
            assert np.array_equal(one, other)
    assert first[0][0].shape == (CLIPS, window, *feature_shape(config)[1:])
    assert not np.array_equal(first[0][0], first[1][0])  # drawn anew at every epoch
    assert not np.array_equal(first[0][0], two_epochs(2)[0][0])


def test_every_batch_of_every_epoch_draws_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LEVELS, "light", Augmentation(time_shift=True))
    clip = np.random.default_rng(0).integers(0, 256, (1, 26, 12), np.uint8)
    same = clips_of(np.repeat(clip, 12, axis=0), np.zeros(12, np.int64))
    batches = training_batches(same, MEL, 26, settings(3, "light"))
    seen = {windows.tobytes() for _ in range(2) for windows, _, _ in batches.as_numpy_iterator()}
    assert len(seen) == 2 * 4  # all clips are alike, so only the draws can differ


def test_without_augmentation_every_clip_comes_once_and_as_it_is() -> None:
    entries, labels = stored_clips(MEL)
    batches = training_batches(clips_of(entries, labels), MEL, 10, settings(4))
    assert batches.cardinality() == 4
    assert [len(windows) for windows, _, _ in batches] == [4, 4, 4, 1]
    orders = []
    for _ in range(2):
        windows, targets, weights = epoch(batches)
        assert np.array_equal(weights, np.ones(CLIPS))
        expected = entries[:, :10] / np.float32(255.0)
        order = [int(np.abs(expected - window).max(axis=(1, 2)).argmin()) for window in windows]
        assert sorted(order) == list(range(CLIPS))
        np.testing.assert_allclose(windows, expected[order], atol=1e-7)
        assert np.array_equal(targets, np.eye(3)[labels[order]])
        orders.append(order)
    assert orders[0] != orders[1] != list(range(CLIPS))


def test_an_epoch_of_a_small_library_has_several_windows_of_each_clip(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches_module, "LEAST_STEPS", 10)
    entries, labels = stored_clips(MEL)
    batches = training_batches(clips_of(entries, labels), MEL, 26, settings(4))
    assert batches.cardinality() == 13  # 4 passes over 13 clips
    found, _, _ = epoch(batches)
    counts = Counter(window.tobytes() for window in found)
    assert sorted(counts.values()) == [4] * CLIPS
    enough = training_batches(clips_of(entries, labels), MEL, 26, settings(1))
    assert enough.cardinality() == CLIPS


def test_waveforms_are_shifted_and_mixed_but_not_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    entries, _ = stored_clips(WAVEFORM)
    entries[entries == 0] = 1
    clips = clips_of(entries, np.zeros(CLIPS, np.int64))
    whole = {"frequency_mask_share": 1.0, "time_mask_share": 1.0}
    masks = Augmentation(time_shift=True, frequency_masks=3, time_masks=3, **whole)
    monkeypatch.setitem(LEVELS, "strong", masks)
    windows, _, _ = epoch(training_batches(clips, WAVEFORM, 400, settings(5, "strong")))
    assert windows.shape == (CLIPS, 400)
    assert (windows != 0.0).all()


@pytest.mark.parametrize("mixed", [0.0, 0.4], ids=["as they are", "mixed up"])
def test_a_clip_weighs_as_much_as_its_genre_is_rare(mixed: float) -> None:
    entries, _ = stored_clips(MEL)
    labels = np.array([0] * 9 + [2] * 4)  # none of genre 1
    clips = clips_of(entries, labels)
    _, targets, weights = epoch(training_batches(clips, MEL, 10, settings(5, mixup=mixed, class_weights=True)))
    assert weights.dtype == np.float32
    np.testing.assert_allclose(weights, targets @ [13 / 18, 0.0, 13 / 8], rtol=1e-6)
    assert (targets.max(axis=1) < 1.0).any() == bool(mixed)
    if not mixed:
        assert weights[targets[:, 0] == 1].sum() == pytest.approx(weights[targets[:, 2] == 1].sum())
        assert weights.mean() == pytest.approx(1.0)


@pytest.mark.parametrize("classes", [2, 5, 30])
def test_class_weights_are_scikit_learns(classes: int) -> None:
    generator = np.random.default_rng(classes)
    for _ in range(20):
        present = np.flatnonzero(generator.random(classes) < 0.7)
        labels = generator.choice(present, generator.integers(1, 60)) if len(present) else np.zeros(3, np.int64)
        found = class_weights(labels, classes)
        there = np.unique(labels)
        assert found.shape == (classes,)
        assert found.dtype == np.float32
        expected = compute_class_weight("balanced", classes=there, y=labels)
        np.testing.assert_allclose(found[there], expected, rtol=1e-6)
        assert not np.delete(found, there).any()
        assert found[labels].mean() == pytest.approx(1.0)


@pytest.mark.parametrize("config", [MEL, WAVEFORM], ids=["log_mel", "waveform"])
def test_validation_sees_all_windows_in_order(config: FeatureConfig) -> None:
    entries, labels = stored_clips(config)
    window = window_shape(ModelConfig(window_seconds=0.1), config)[0]
    starts = window_starts(entries.shape[1], window)
    windows, targets = epoch(validation_batches(clips_of(entries, labels), config, window, 5))
    values = network_input(tf.constant(entries), config).numpy()
    expected = np.concatenate([[clip[start : start + window] for start in starts] for clip in values])
    np.testing.assert_allclose(windows, expected, atol=1e-6)
    assert np.array_equal(targets, np.repeat(np.eye(3)[labels], len(starts), axis=0))


# --- Files -------------------------------------------------------------------------------------------------------


def write_clips(path: Path, entries: Iterable[np.ndarray], labels: np.ndarray) -> str:
    """As Transform writes them."""
    with tf.io.TFRecordWriter(str(path), "GZIP") as writer:
        for clip, label in zip(entries, labels, strict=True):
            writer.write(
                encode_example({"feature": tf.io.serialize_tensor(clip).numpy(), "label": int(label), "group": 7})
            )
    return str(path)


def elements_of(clips: Clips) -> list[tuple[np.ndarray, int]]:
    """Stored entries and label of each clip."""
    return [(stored[0], int(labels[0])) for stored, labels in clips.batches(1).as_numpy_iterator()]


@pytest.mark.parametrize("megabytes", [0, 1], ids=["on the disk", "in memory"])
@pytest.mark.parametrize("config", [MEL, WAVEFORM], ids=["log_mel", "waveform"])
def test_clips_are_read_as_they_were_written(config: FeatureConfig, megabytes: int, tmp_path: Path) -> None:
    entries, labels = stored_clips(config)
    clips = read_clips([write_clips(tmp_path / "part", entries, labels)], config, megabytes)
    elements = elements_of(clips)
    assert clips.batches(4).cardinality() == 4
    assert len(elements) == CLIPS
    assert clips.labels.dtype == np.int64
    assert clips.labels.tolist() == [label for _, label in elements]
    found = {one.tobytes(): label for one, label in elements}
    assert found == {clip.tobytes(): label for clip, label in zip(entries, labels, strict=True)}


@pytest.mark.parametrize("config", [MEL, WAVEFORM], ids=["log_mel", "waveform"])
def test_the_order_of_clips_is_that_of_no_run(config: FeatureConfig, tmp_path: Path) -> None:
    """However Beam has dealt them to files, and whatever it has called these."""
    entries, labels = stored_clips(config)
    shuffled = np.random.default_rng(1).permutation(CLIPS)
    written = {
        "one file": [write_clips(tmp_path / "one", entries, labels)],
        "three": [write_clips(tmp_path / f"three-{part}", entries[part::3], labels[part::3]) for part in range(3)],
        "shuffled": [
            write_clips(tmp_path / f"shuffled-{part}", entries[shuffled[part::2]], labels[shuffled[part::2]])
            for part in (1, 0)
        ],
    }
    written["listed backwards"] = written["three"][::-1]
    orders = {name: read_clips(files, config, 1) for name, files in written.items()}
    orders["on the disk"] = read_clips(written["three"], config, 0)
    first = [(stored.tobytes(), label) for stored, label in elements_of(orders["one file"])]
    for name, clips in orders.items():
        assert [(stored.tobytes(), label) for stored, label in elements_of(clips)] == first, name
        assert np.array_equal(clips.labels, orders["one file"].labels), name


def test_clips_that_are_alike_are_all_kept(tmp_path: Path) -> None:
    entries, labels = (np.repeat(values[:2], 3, axis=0) for values in stored_clips(MEL))
    clips = read_clips([write_clips(tmp_path / "part", entries, labels)], MEL, 1)
    assert sorted(clips.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    assert len(elements_of(clips)) == 6


def test_a_clip_of_an_unknown_genre_ends_the_reading(tmp_path: Path) -> None:
    entries, labels = stored_clips(MEL)
    labels[6] = -1
    labels[9] = -1
    path = write_clips(tmp_path / "part", entries, labels)
    with pytest.raises(UserError, match=r"^2 clips have a genre that is not in the library's list: ingest"):
        read_clips([path], MEL, 1)


def test_a_disk_without_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    entries, labels = stored_clips(MEL)
    path = write_clips(tmp_path / "part", entries, labels)
    monkeypatch.setattr(shutil, "disk_usage", lambda directory: SimpleNamespace(free=100))
    with pytest.raises(
        UserError, match=r"find no room in .* \(0\.0 GB are free, .* TMPDIR, or raise train\.cache_mega"
    ):
        read_clips([path], MEL, 0)
    assert len(elements_of(read_clips([path], MEL, 1))) == CLIPS  # needs none


def test_a_disk_that_fills_up_is_told(tmp_path: Path) -> None:
    """In a process of its own, whose files may not become as large as the table."""
    entries, labels = stored_clips(MEL)
    path = write_clips(tmp_path / "part", entries, labels)
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n{READ}"
    arguments = [sys.executable, "-c", limited, path, MEL.model_dump_json(), "0"]
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, env=os.environ | {"TMPDIR": str(tmp_path)}
    )
    assert (
        f"UserError: the clips are larger than train.cache_megabytes, and find no room in {tmp_path} (" in done.stderr
    )
    assert [file.name for file in tmp_path.iterdir()] == ["part"]


READ = """
import sys
from pathlib import Path
from components.audio.config import FeatureConfig
from models.config import TrainConfig
from models.fitting.batches import read_clips, training_batches

def own():  # pages of files are not counted: the system takes them back as it needs them
    lines = (line.split() for line in Path("/proc/self/status").read_text().splitlines())
    return sum(1024 * int(words[1]) for words in lines if words[0] in ("RssAnon:", "RssShmem:"))

features = FeatureConfig.model_validate_json(sys.argv[2])
before = own()
clips = read_clips([sys.argv[1]], features, int(sys.argv[3]))
for _ in range(2):
    for _ in training_batches(clips, features, 100, TrainConfig()):
        pass
print(own() - before)
"""


@pytest.mark.long
def test_memory_holds_a_clip_once_or_not_at_all(tmp_path: Path) -> None:
    """What the clips need, less what the libraries need; docs/performance.md has the figures."""
    audio, mel = AudioConfig(clip_seconds=30.0), MelConfig()
    config = FeatureConfig(representation="log_mel", genres=("a",), audio=audio, mel=mel)
    shape, size = feature_shape(config), 64
    path = write_clips(
        tmp_path / "part", np.random.default_rng(0).integers(0, 255, (size, *shape), np.uint8), np.zeros(size, np.int64)
    )

    def per_clip(megabytes: int) -> float:
        used = []
        for copies in (10, 90):  # batches that wait take some 25 MB more or less from run to run
            paths = READ.replace("[sys.argv[1]]", f"[sys.argv[1]] * {copies}")
            arguments = [sys.executable, "-c", paths, path, config.model_dump_json(), str(megabytes)]
            used.append(int(subprocess.run(arguments, capture_output=True, text=True, check=True).stdout))
        found = (used[1] - used[0]) / (80 * size)
        print(f"{megabytes} MB: {found / 1e3:.1f} kB per clip of {math.prod(shape) / 1e3:.0f} kB")
        return found

    assert per_clip(1000) < 1.15 * math.prod(shape)
    assert per_clip(0) < 0.1 * math.prod(shape)
