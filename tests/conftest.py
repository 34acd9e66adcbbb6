"""Fixtures for every test."""

import csv
import os
import pickle
import wave
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

if TYPE_CHECKING:
    from components.config import FeatureConfig

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # before anything imports TensorFlow

Transform = Callable[["FeatureConfig", list[bytes], list[bytes]], tuple[list[dict[str, Any]], str]]


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real recordings and metadata: $GENRE_SHARED_DATA, or shared/data beside the repository."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    directory = Path(os.environ.get("GENRE_SHARED_DATA", beside))
    if not directory.is_dir():
        pytest.skip(f"no real data at {directory}; set GENRE_SHARED_DATA to where it is")
    return directory


@pytest.fixture(scope="session")
def transform(tmp_path_factory: pytest.TempPathFactory) -> Transform:
    """Runs `preprocessing_fn` on wavs and their genres through TensorFlow Transform and Beam.

    Returns the transformed rows, in any order, and the directory that `tft.TFTransformOutput` reads.
    """
    import apache_beam as beam
    import tensorflow as tf
    import tensorflow_transform as tft
    import tensorflow_transform.beam as tft_beam
    from apache_beam.options.pipeline_options import PipelineOptions

    from components.beam import beam_args
    from components.config import BeamConfig
    from components.preprocessing import AUDIO, GENRE, preprocessing_fn

    def run(features: "FeatureConfig", wavs: list[bytes], genres: list[bytes]) -> tuple[list[dict[str, Any]], str]:
        directory = tmp_path_factory.mktemp("transform")
        spec = {name: tf.io.FixedLenFeature([1], tf.string) for name in (AUDIO, GENRE)}
        metadata = tft.DatasetMetadata.from_feature_spec(spec)
        examples = [{AUDIO: [wav], GENRE: [genre]} for wav, genre in zip(wavs, genres, strict=True)]
        function = partial(preprocessing_fn, custom_config={"features": features.model_dump_json()})
        options = PipelineOptions(beam_args(BeamConfig(mode="in_memory")))
        with beam.Pipeline(options=options) as pipeline, tft_beam.Context(temp_dir=str(directory / "temporary")):
            raw = pipeline | beam.Create(examples)
            (rows, _), transform_fn = (raw, metadata) | tft_beam.AnalyzeAndTransformDataset(function)
            transform_fn | tft_beam.WriteTransformFn(str(directory / "output"))
            rows | beam.Map(pickle.dumps) | beam.io.WriteToTFRecord(str(directory / "rows"), shard_name_template="")
        records = tf.data.TFRecordDataset(str(directory / "rows")).as_numpy_iterator()
        return [pickle.loads(record) for record in records], str(directory / "output")

    return run


def _compose(root: Path, per_split: dict[str, int], seed: int = 7) -> Path:
    """Tones, noises and clicks of a second: three genres that a small network tells apart in a few epochs."""
    generator = np.random.default_rng(seed)
    time_axis = np.arange(8000) / 8000
    rows = []
    for split, count in per_split.items():
        for index in range(count):
            clips = {
                "tone": np.sin(2 * np.pi * generator.uniform(200, 2000) * time_axis),
                "noise": generator.uniform(-1, 1, 8000),
                "clicks": np.where(np.arange(8000) % generator.integers(700, 1500) < 20, 1.0, 0.0),
            }
            for name, samples in clips.items():
                path = root / name / f"{split}-{index}.wav"
                path.parent.mkdir(parents=True, exist_ok=True)
                noisy = samples * generator.uniform(0.2, 0.9) + generator.normal(0, 0.02, 8000)
                with wave.open(str(path), "wb") as file:
                    file.setparams((1, 2, 8000, 0, "NONE", ""))
                    file.writeframes((np.clip(noisy, -1, 1) * 32767).astype("<i2").tobytes())
                rows.append({"path": path.relative_to(root), "genre": name, "split": split})
    with (root / "tracks.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys())
        writer.writeheader()
        writer.writerows(rows)
    return root / "tracks.csv"


@pytest.fixture(scope="session")
def compose() -> Callable[..., Path]:
    """Makes a small library in a directory, with so many songs per genre in each split; returns its list for ingest."""
    return _compose
