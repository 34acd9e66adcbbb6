"""How well a model learnt and how well that carries over, as sentences that follow from its figures. Pure functions."""

import math
from collections.abc import Sequence

from components.evaluation.curves import calibration_error_by_chance, confidences
from components.evaluation.predictions import Prediction
from components.evaluation.results import Judged
from components.reporting.page import p_value, percent

SIGNIFICANCE = 0.05
"""Largest p-value at which a model counts as better than chance."""
_SMALL_GAP = 0.05
"""Between accuracies."""
_HALF = 0.5
"""Of what could be learnt beyond guessing: less, on the training clips, is underfitted."""
_GOOD_CALIBRATION = 0.05
"""Expected calibration error up to which a confidence can be taken at its word."""


def chance(judged: Judged) -> float:
    """Returns the accuracy of always naming the most frequent genre of these clips."""
    return max(found.support for found in judged.candidate.genres.values()) / judged.candidate.clips


def fit_in_words(train: float, validation: float, judged: Judged) -> str:
    """Judges whether a model is at chance, overfitted, underfitted, or generalises.

    The accuracy on the judged clips is compared with chance by the one-sided exact binomial test, and with the training
    accuracy by its 95 % interval.

    Args:
      train: accuracy on the training clips, from 0 to 1.
      validation: the same on the validation clips.
      judged: figures on clips that had no part in the training.
    """
    from scipy.stats import binomtest

    found, guess = judged.candidate, chance(judged)
    low, high = found.accuracy_interval
    measured = (
        f"The model got {percent(train)} of the training clips right, {percent(validation)} of the validation clips "
        f"and {percent(found.accuracy)} of {judged.clips_text} (95 % interval {percent(low)} to {percent(high)})."
    )
    p = float(binomtest(round(found.accuracy * found.clips), found.clips, guess, alternative="greater").pvalue)
    gap = train - found.accuracy
    overfitted = train - high > _SMALL_GAP
    underfitted = train - guess < _HALF * (1.0 - guess)
    if guess**found.clips > SIGNIFICANCE:
        words = (
            "Too few clips, or too much of one genre, to say more: always naming the most frequent genre gets "
            f"{percent(guess)} right, so that even all of them right may be a guess."
        )
    elif p > SIGNIFICANCE:
        why = (
            "It has memorised the training songs (overfitted): more music or augmentation would help most."
            if overfitted
            else "It has not learnt the training songs either (underfitted): longer training, a higher learning rate "
            "or another kind of model may help."
            if underfitted
            else "More test clips would show whether it learnt anything that carries over."
        )
        words = (
            f"That is not better than chance: always naming the most frequent genre gets {percent(guess)} right (exact "
            f"binomial test, p {p_value(p)}). {why}"
        )
    elif overfitted:
        words = (
            f"It is overfitted: {_points(gap)} less on new music, so part of what it learnt holds for the training "
            "songs only. More music or augmentation would help most."
        )
    elif underfitted:
        words = (
            "It is underfitted: it misses more than half of what can be learnt beyond guessing, even on the training "
            "songs. Longer training, a larger model or other features may help."
        )
    elif gap > _SMALL_GAP:
        words = (
            f"It gets {_points(gap)} less on new music, on too few clips to say whether it is overfitted or that "
            "is chance."
        )
    else:
        words = "It generalises: on new music it is about as good as on the training songs."
    return f"{measured} {words}"


def calibration_in_words(judged: Judged, rows: Sequence[Prediction]) -> str:
    """Judges whether the confidence of a model can be taken at its word.

    Args:
      judged: figures on a set of clips.
      rows: predictions of all clips; those of other sets are left out.
    """
    error = judged.candidate.expected_calibration_error
    measured = (
        f"On {judged.clips_text} the expected calibration error is {percent(error)} "
        f"(in {judged.candidate.calibration_bins} bins)"
    )
    if error <= _GOOD_CALIBRATION:
        return f"{measured}: its confidence can be taken at its word."
    confidence, right = confidences([row for row in rows if row.split == judged.split])
    if not len(confidence):
        return f"{measured}: do not take its confidence at its word."
    by_chance = calibration_error_by_chance(confidence, judged.candidate.calibration_bins)
    means = f"it is {percent(confidence.mean())} sure on average, and right about {percent(right.mean())}"
    if error <= by_chance:
        return (
            f"{measured}; {means}. On so few clips that may be chance: even a confidence that is exactly right gets up "
            f"to {percent(by_chance)}."
        )
    much = "more" if confidence.mean() > right.mean() else "less"
    return f"{measured}: do not take its confidence at its word; {means}, so it is {much} sure than it should be."


def _points(gap: float) -> str:
    points = math.floor(100 * gap + 0.5)
    return f"{points} percentage point{'' if points == 1 else 's'}"
