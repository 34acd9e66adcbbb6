"""How the figures of a model depend on its confidence, and on what a clip is like. Pure functions; no TensorFlow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.evaluation.metrics import wilson_interval
from components.evaluation.predictions import Prediction
from components.evaluation.results import CALIBRATION_BINS

RELIABILITY_BINS = 10
"""Equal-width bins of confidence over (0, 1], closed on the right."""
_DRAWS, _CHANCE = 2000, 0.95
"""Random outcomes by which chance is measured, and the share of them that stays within it."""
_LEVELS = (1 / 3, 2 / 3)
"""Quantiles that divide a figure of the clips into low, middle and high."""
_FEWEST = 2
"""Clips of an artist that is listed."""
_GROUPS = 8
"""Artists that are listed: those with the lowest accuracy."""


@dataclass(frozen=True)
class Slice:
    """Clips that have something in common, and how many of them a model names right."""

    dimension: str
    name: str
    clips: int
    right: int
    interval: tuple[float, float]
    """95 %, Wilson."""
    weak: bool = False
    """The interval is wholly below the accuracy of all clips."""

    @property
    def accuracy(self) -> float:
        """Share of clips that are named right."""
        return self.right / self.clips


@dataclass(frozen=True)
class Bin:
    """Clips of about the same confidence."""

    low: float
    high: float
    clips: int
    confidence: float
    """Their mean."""
    accuracy: float
    interval: tuple[float, float]
    """95 %, Wilson."""


def confidences(rows: Sequence[Prediction]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Returns the probability of the predicted genre of every clip, [n], and which clips are named right, [n]."""
    return (
        np.array([row.probabilities[row.predicted] for row in rows], np.float64),
        np.array([row.correct for row in rows], np.bool_),
    )


def reliability(rows: Sequence[Prediction]) -> list[Bin]:
    """Compares confidence with accuracy, bin by bin, ascending; bins without clips are left out."""
    confidence, right = confidences(rows)
    which = np.clip(np.ceil(confidence * RELIABILITY_BINS).astype(int) - 1, 0, RELIABILITY_BINS - 1)
    bins = []
    for index in np.unique(which).tolist():
        inside = which == index
        clips, hits = int(inside.sum()), int(right[inside].sum())
        bins.append(
            Bin(
                low=index / RELIABILITY_BINS,
                high=(index + 1) / RELIABILITY_BINS,
                clips=clips,
                confidence=float(confidence[inside].mean()),
                accuracy=hits / clips,
                interval=wilson_interval(hits, clips),
            )
        )
    return bins


def calibration_error_by_chance(confidence: NDArray[np.floating], bins: int = CALIBRATION_BINS) -> float:
    """Returns the expected calibration error that a model reaches by chance whose confidence is exactly right.

    Few clips never hit a probability exactly. Outcomes are drawn with the probabilities that the model claims
    (consistency resampling, Broecker & Smith 2007): 95 % of the draws have at most this error.

    Args:
      confidence: [n], in (0, 1].
      bins: as of `components.evaluation.metrics.expected_calibration_error`.
    """
    generator = np.random.default_rng(0)
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # [n]

    def draw() -> float:
        right = generator.random(len(confidence)) < confidence  # [n]
        return float(np.abs(np.bincount(which, right - confidence, bins)).sum() / len(confidence))

    return float(np.quantile([draw() for _ in range(_DRAWS)], _CHANCE))


@dataclass(frozen=True)
class PrecisionRecall:
    """How precise the answer "it is this genre" is, for every share of the genre's clips that it finds."""

    genre: str
    recall: NDArray[np.float64]
    """[points], falling."""
    precision: NDArray[np.float64]
    """[points]."""
    average_precision: float


def precision_recall(genres: Sequence[str], rows: Sequence[Prediction]) -> list[PrecisionRecall]:
    """Computes the curve of every genre that has clips, against the rest, as scikit-learn does."""
    from sklearn.metrics import average_precision_score, precision_recall_curve

    found = []
    for genre in genres:
        truth = np.array([row.genre == genre for row in rows])
        if truth.any():
            chances = np.array([row.probabilities[genre] for row in rows])
            precision, recall, _ = precision_recall_curve(truth, chances)
            found.append(PrecisionRecall(genre, recall, precision, float(average_precision_score(truth, chances))))
    return found


def slices(rows: Sequence[Prediction], facts: Mapping[str, Mapping[str, str]]) -> list[Slice]:
    """Divides clips by artist, length, level and format of their files, as far as that is known.

    A dimension in which all clips are alike is left out. Of artists, those with the lowest accuracy are taken.

    Args:
      rows: the predictions.
      facts: rows of `tracks.csv` by track id.
    """
    known = [(row, facts[row.track_id]) for row in rows if row.track_id in facts]
    overall = sum(row.correct for row, _ in known) / max(len(known), 1)

    def divided(dimension: str, names: Sequence[str]) -> list[Slice]:
        found: dict[str, list[bool]] = {}
        for (row, _), name in zip(known, names, strict=True):
            if name:
                found.setdefault(name, []).append(row.correct)
        made = []
        for name in sorted(found, key=_in_order):
            right = found[name]
            low, high = wilson_interval(sum(right), len(right))
            made.append(Slice(dimension, name, len(right), sum(right), (low, high), high < overall))
        return made if len(made) > 1 else []

    def column(name: str) -> list[str]:
        return [fact.get(name, "") or "" for _, fact in known]

    artists = [each for each in divided("artist", column("artist")) if each.clips >= _FEWEST]
    artists.sort(key=lambda each: (each.accuracy, -each.clips, each.name))
    codecs = [path.rpartition(".")[2].lower() if "." in path.rpartition("/")[2] else "" for path in column("path")]
    channels = {"1": "mono", "2": "stereo"}
    return [
        *artists[:_GROUPS],
        *divided("length", _levels(column("duration_seconds"), "s")),
        *divided("level", _levels(column("rms_dbfs"), "dBFS")),
        *divided("source rate", [f"{rate} Hz" if rate else "" for rate in column("source_rate")]),
        *divided("channels", [channels.get(count, count) for count in column("source_channels")]),
        *divided("kind of file", codecs),
    ]


def _levels(texts: Sequence[str], unit: str) -> list[str]:
    """Names the third of all values that each value is in; empty for all where the thirds are not different."""
    values = np.array([_number(text) for text in texts])
    finite = values[np.isfinite(values)]
    if not len(finite):
        return [""] * len(texts)
    low, high = (round(float(value), 1) for value in np.quantile(finite, _LEVELS))
    if not round(float(finite.min()), 1) < low < high < round(float(finite.max()), 1):
        return [""] * len(texts)
    first, last = (f"{value:g}".replace("-", "−") for value in (low, high))
    names = (f"below {first} {unit}", f"{first} to {last} {unit}", f"above {last} {unit}")
    return [
        names[0] if value < low else names[1] if value <= high else names[2] if value > high else "" for value in values
    ]


def _in_order(name: str) -> tuple[bool, bool, float, str]:
    """Sorts low before middle before high, numbers by their value, and the rest by name."""
    value = _number(name.partition(" ")[0])
    return name.startswith("above"), not name.startswith("below"), 0.0 if np.isnan(value) else value, name


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan
