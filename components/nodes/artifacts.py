"""The places and names by which a node finds what another one left in an artifact."""

from collections.abc import Sequence

from tfx.dsl.io import fileio
from tfx.types import artifact_utils
from tfx.types.artifact import Artifact
from tfx.utils import io_utils, path_utils

VERSION_PROPERTY = "version"
"""Property of the model that Champion fetches: its version; 0 before there is a champion."""
TESTED = ("test", "joined")
"""Splits of the held-out examples that judge first: of the newest span, and of the spans that are tested with it."""
PROFILE = "reference.npz"
"""File of ReferenceProfile that holds its `Profile`."""
PREDICTIONS = "predictions.csv"
"""File of GateEvaluator with a row per clip."""


def serving_path(model: Artifact) -> str:
    """Returns the SavedModel's directory in a Model artifact."""
    return path_utils.serving_model_path(model.uri)


def files_of(examples: Artifact, split: str) -> str:
    """Returns the pattern of the TFRecord files of a split."""
    return io_utils.all_files_pattern(artifact_utils.get_split_uri([examples], split))


def split_files(examples: Artifact, splits: Sequence[str]) -> list[str]:
    """Lists the files of these splits of an Examples artifact, in order."""
    return [file for split in splits for file in sorted(fileio.glob(files_of(examples, split)))]
