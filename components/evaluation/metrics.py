"""Figures of a model from its probabilities, and of two models from their outcomes. Pure functions; no TensorFlow.

scipy and scikit-learn are imported where they compute, so that a command that only reads results starts fast.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from components.base.errors import UserError
from components.evaluation.results import CALIBRATION_BINS, GenreMetrics, Metrics, PairedOutcomes

_SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
_SUM_TOLERANCE = 0.01  # bfloat16 softmax outputs sum to 1 within about this


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns the score interval of a proportion (Wilson 1927), without continuity correction.

    Raises:
      ValueError: `trials` is 0.
    """
    from scipy.stats import binomtest

    if trials < 1:
        raise ValueError("no interval from no trials")
    low, high = binomtest(successes, trials).proportion_ci(confidence, method="wilson")
    return float(low), float(high)


def expected_calibration_error(
    truth: NDArray[np.integer], probabilities: NDArray[np.floating], bins: int = CALIBRATION_BINS
) -> float:
    """Returns the mean distance between confidence and accuracy over bins, weighted by clips (Guo et al. 2017).

    Args:
      truth: int [n], indices of the true genres.
      probabilities: float [n, k], rows sum to 1.
      bins: equal-width bins of confidence over (0, 1], closed on the right.

    Returns:
      In [0, 1]; 0 is perfect.
    """
    confidence = probabilities.max(axis=1)  # [n]
    right = probabilities.argmax(axis=1) == truth  # [n]
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # [n]
    gaps = np.bincount(which, weights=right - confidence, minlength=bins)  # [bins]
    return float(np.abs(gaps).sum() / len(truth))


def _validated(
    genres: Sequence[str], truth_indices: ArrayLike, probabilities: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Returns the truth as int64 [n] and the probabilities as float64 [n, k], checked."""
    truth, rows = np.asarray(truth_indices), np.asarray(probabilities, np.float64)
    if truth.ndim != 1 or rows.shape != (len(truth), len(genres)):
        raise ValueError(f"truth {truth.shape} and probabilities {rows.shape} are not (n,) and (n, {len(genres)})")
    if not len(truth):
        raise UserError("No clips to judge the model on. Ingest more music, or give the split a larger share.")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= len(genres):
        raise ValueError(f"truth must be indices in [0, {len(genres)})")
    # Comparisons with NaN are false, so that NaN is unsound without a test of its own.
    sound = (rows >= 0).all(axis=1) & (np.abs(rows.sum(axis=1) - 1.0) <= _SUM_TOLERANCE)
    if not sound.all():
        raise UserError(
            f"The model's output is not a probability distribution on {np.count_nonzero(~sound)} of {len(truth)} clips "
            "(NaN, negative, or not summing to 1). Its training most likely diverged: lower the learning rate."
        )
    return truth.astype(np.int64), rows


def measure(genres: Sequence[str], truth_indices: ArrayLike, probabilities: ArrayLike) -> Metrics:
    """Measures a model on one set of clips.

    Every genre is present. One without clips was not tested: its figures are None, and macro-F1 is the unweighted mean
    over the others. The predicted genre is the most probable one, the first of equals. Probabilities are clipped to
    float32's epsilon for the log loss, so that one confident mistake costs 15.9 nats, not infinity.

    Args:
      genres: the k genres, in the order of the columns.
      truth_indices: int [n], indices into `genres`.
      probabilities: float [n, k] in [0, 1], rows sum to 1 within 0.01.

    Raises:
      UserError: there are no clips, or a row is not a probability distribution.
      ValueError: the shapes or indices do not fit together.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    truth, rows = _validated(genres, truth_indices, probabilities)
    clips, labels = len(truth), range(len(genres))
    predicted = rows.argmax(axis=1)  # [n]
    confusion = confusion_matrix(truth, predicted, labels=labels)
    by_genre = precision_recall_fscore_support(truth, predicted, labels=labels, zero_division=0)
    ratios = dict(zip(("precision", "recall", "f1"), by_genre[:3], strict=True))
    support = np.bincount(truth, minlength=len(genres))  # [k]
    right = int(confusion.trace())
    # scikit-learn's log loss warns of float32's rows, which do not sum to 1 in float64.
    of_truth = np.clip(rows[np.arange(clips), truth], _SMALLEST_PROBABILITY, 1.0)  # [n]
    return Metrics(
        clips=clips,
        accuracy=right / clips,
        accuracy_interval=wilson_interval(right, clips),
        macro_f1=float(ratios["f1"][support > 0].mean()),
        log_loss=float(-np.log(of_truth).mean()),
        expected_calibration_error=expected_calibration_error(truth, rows),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        genres={
            genre: GenreMetrics(
                **{name: float(ratio[index]) if count else None for name, ratio in ratios.items()}, support=count
            )
            for index, (genre, count) in enumerate(zip(genres, support.tolist(), strict=True))
        },
    )


def paired_outcomes(candidate_right: NDArray[np.bool_], champion_right: NDArray[np.bool_]) -> PairedOutcomes:
    """Compares two models clip by clip with the exact McNemar test.

    If both were equally good, each clip on which they differ would be the toss of a fair coin. `p_worse` is the
    probability that at least as many of those clips go to the champion; `p_different` is that of a split at least as
    uneven. Both are 1 where the models never differ.

    Args:
      candidate_right: bool [n], True where the candidate is right.
      champion_right: bool [n], True where the champion is right on the same clip.

    Raises:
      ValueError: the shapes differ.
    """
    from scipy.stats import binomtest

    if candidate_right.shape != champion_right.shape:
        raise ValueError(f"{candidate_right.shape} and {champion_right.shape} outcomes cannot be paired")
    only_candidate = int(np.count_nonzero(candidate_right & ~champion_right))
    only_champion = int(np.count_nonzero(champion_right & ~candidate_right))
    differing = only_candidate + only_champion
    p_worse = p_different = 1.0
    if differing:
        p_worse = float(binomtest(only_champion, differing, alternative="greater").pvalue)
        p_different = float(binomtest(only_champion, differing).pvalue)
    return PairedOutcomes(
        both_right=int(np.count_nonzero(candidate_right & champion_right)),
        only_candidate=only_candidate,
        only_champion=only_champion,
        both_wrong=int(np.count_nonzero(~candidate_right & ~champion_right)),
        p_worse=p_worse,
        p_different=p_different,
    )
