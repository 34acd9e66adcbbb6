"""The node that tests whether the newest clips are still like those that the champion was measured on.

Both are seen through the champion: the newest here; the others when the champion was trained, in a profile that was
pushed with it. Outputs for DistributionValidator are of the very same clips: their statistics, and thresholds that are
calibrated on them.
"""

import io
import wave

import numpy as np
import pandas as pd
import tensorflow as tf
from etils import epath
from numpy.typing import NDArray
from tfx.components.statistics_gen import stats_artifact_utils
from tfx.dsl.component.experimental.annotations import InputArtifact, OutputArtifact, Parameter
from tfx.dsl.component.experimental.decorators import component
from tfx.proto import distribution_validator_pb2
from tfx.types import artifact_utils, standard_artifacts
from tfx.types.experimental import simple_artifacts

from components.audio.descriptor_names import descriptor_names
from components.drift.config import PERMUTATIONS
from components.drift.families import EMBEDDINGS, Family, log_probabilities, measure_drift
from components.drift.farthest import farthest
from components.drift.permutations import Blocks, permute_blocks, too_few
from components.drift.profile import SCALARS, Profile, profile_clips, read_profile
from components.drift.report import DRIFT_REPORT, not_tested
from components.drift.validator_distances import calibrate, jensen_shannon, l_infinity
from components.library.health import FILE_FORMAT
from components.library.tfrecords import compression_of
from components.nodes.artifacts import VERSION_PROPERTY, serving_path, split_files
from components.nodes.parameters.drift_detector import DriftParameters
from components.store.model_card import ModelCard, read_card
from components.store.saved_model import SavedModel

SPLIT = "held_out"
"""Split of the statistics."""
_NEWEST = ("test", "eval")
_CONFIG = "config.pb"


@component
def DriftDetector(  # noqa: N802 (the name of a node)
    held_out: InputArtifact[standard_artifacts.Examples],
    champion: InputArtifact[standard_artifacts.Model],
    drift: OutputArtifact[simple_artifacts.File],
    statistics: OutputArtifact[standard_artifacts.ExampleStatistics],
    baseline_statistics: OutputArtifact[standard_artifacts.ExampleStatistics],
    thresholds: OutputArtifact[simple_artifacts.File],
    parameters: Parameter[str],
) -> None:
    """Compares the newest clips with those that the champion was measured on.

    Where there is nothing to compare, the report says why, and the statistics have no splits.

    Args:
      held_out: raw examples; their splits `test` and `eval`, of the newest span, are used.
      champion: what `Champion` found, with the profile that was pushed with it; empty before the first push.
      drift: `drift.json`, a `DriftReport`.
      statistics: of the clips that were compared, for `DistributionValidator`.
      baseline_statistics: the same of the clips that they were compared with.
      thresholds: a DistributionValidatorConfig, calibrated on these clips. A file, because TFX does not compile its own
        Config artifact for Kubeflow Pipelines.
      parameters: `DriftParameters`, JSON.
    """
    rate = DriftParameters.model_validate_json(parameters).drift.false_alarm_rate
    files = split_files(held_out, _NEWEST)
    saved_model = epath.Path(serving_path(champion))
    limits: dict[str, float] = {}
    if reason := _why_not(champion, saved_model, files):
        report = not_tested(reason, rate)
    else:
        newest = profile_clips(saved_model, files)
        reference = read_profile(SavedModel(saved_model).reference)
        sides = newest.groups.tolist(), reference.groups.tolist()
        if reason := too_few(*sides) or _why_incomparable(newest, reference):
            report = not_tested(reason, rate, *map(len, sides))
        else:
            blocks = permute_blocks(*sides, PERMUTATIONS)
            report = measure_drift(families(newest, reference, read_card(saved_model)), blocks, rate)
            far = farthest(newest.track_ids, newest.genres, newest.embeddings, reference.embeddings)
            report = report.model_copy(update={"farthest": far})
            limits = feature_thresholds(newest, reference, blocks, rate / 2.0)
            for artifact, profile in ((statistics, newest), (baseline_statistics, reference)):
                _write_statistics(profile, artifact)
    for line in (*report.findings, *report.notes):
        print(f"drift: {line}", flush=True)
    for uri in (statistics.uri, baseline_statistics.uri):
        epath.Path(uri).mkdir(parents=True, exist_ok=True)
    _write(epath.Path(thresholds.uri) / _CONFIG, validator_config(limits).SerializeToString())
    _write(epath.Path(drift.uri) / DRIFT_REPORT, report.model_dump_json(indent=2).encode())


def _write(path: epath.Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)  # not every backend has made it
    path.write_bytes(content)


def _why_not(champion: standard_artifacts.Model, saved_model: epath.Path, files: list[str]) -> str:
    """Returns why the champion cannot see the newest clips, or has nothing to compare them with; empty if it can."""
    version = champion.get_int_custom_property(VERSION_PROPERTY)
    if not version:
        return "there is no champion yet, so there is nothing to compare with"
    if not SavedModel(saved_model).reference.exists():
        return f"version {version} was pushed without a profile of its clips"
    theirs, ours = read_card(saved_model).features.audio.sample_rate, _sample_rate(files)
    if ours not in (theirs, None):
        return f"the champion takes audio at {theirs} Hz, and the newest clips are at {ours} Hz"
    return ""


def _sample_rate(files: list[str]) -> int | None:
    """Reads the rate of the first clip, in Hz; None where there is none. All clips of a library have the same."""
    for record in tf.data.TFRecordDataset(files, compression_of(files)).take(1):
        audio = tf.io.parse_single_example(record, {"audio": tf.io.FixedLenFeature([], tf.string)})["audio"]
        with wave.open(io.BytesIO(audio.numpy())) as wav:
            return wav.getframerate()
    return None


def _why_incomparable(newest: Profile, reference: Profile) -> str:
    for name in ("health", "descriptors", "probabilities", "embeddings"):
        ours, theirs = (getattr(profile, name).shape[1] for profile in (newest, reference))
        if ours != theirs:
            return f"the champion's profile is of another version of this project: {theirs} {name}, not {ours}"
    return ""


def families(newest: Profile, reference: Profile, card: ModelCard) -> list[Family]:
    """Pairs the columns of both profiles, family by family, with a name for every column."""

    def words(name: str) -> str:
        return name.replace("_", " ")

    predictions = [log_probabilities(profile.probabilities) for profile in (newest, reference)]
    dimensions = tuple(f"dimension {number}" for number in range(1, newest.embeddings.shape[1] + 1))
    descriptors = tuple(map(words, descriptor_names(card.features.audio)))
    return [
        Family("audio health", tuple(map(words, SCALARS)), newest.health, reference.health),
        Family("descriptors", descriptors, newest.descriptors, reference.descriptors),
        Family("predictions", card.features.genres, *predictions),
        Family(EMBEDDINGS, dimensions, newest.embeddings, reference.embeddings),
    ]


def feature_thresholds(newest: Profile, reference: Profile, blocks: Blocks, rate: float) -> dict[str, float]:
    """Finds, by feature, the distance that only a share `rate` of the permutations exceeds in any feature."""
    ours, theirs = _features(newest), _features(reference)
    distances = {
        name: (l_infinity if name == "genre" else jensen_shannon)(np.concatenate([ours[name], theirs[name]]), blocks)
        for name in ours
    }
    return calibrate(distances, rate)


def _features(profile: Profile) -> dict[str, NDArray]:
    """Returns the features of the schema that DistributionValidator compares, by name, with the schema's types."""
    scalars = {
        name: values.astype(np.int64) if name in FILE_FORMAT else values
        for name, values in zip(SCALARS, profile.health.T, strict=True)
    }
    return {"genre": profile.genres, **scalars}


def validator_config(limits: dict[str, float]) -> distribution_validator_pb2.DistributionValidatorConfig:
    """Writes thresholds by feature as DistributionValidator takes them."""
    config = distribution_validator_pb2.DistributionValidatorConfig()
    for name, limit in limits.items():
        feature = config.default_slice_config.feature.add()
        feature.path.step.append(name)
        comparator = feature.distribution_comparator
        (comparator.infinity_norm if name == "genre" else comparator.jensen_shannon_divergence).threshold = limit
    return config


def _write_statistics(profile: Profile, artifact: standard_artifacts.ExampleStatistics) -> None:
    import tensorflow_data_validation as tfdv  # which must not be imported before TFX

    table = pd.DataFrame(_features(profile))
    artifact.split_names = artifact_utils.encode_split_names([SPLIT])
    path = epath.Path(artifact_utils.get_split_uri([artifact], SPLIT)) / stats_artifact_utils.BINARY_PB_BASENAME
    _write(path, tfdv.generate_statistics_from_dataframe(table).SerializeToString())
