"""Fixtures for every test."""

import os
import pickle
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
