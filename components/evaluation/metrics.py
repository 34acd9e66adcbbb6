"""Metrics of a model from its probabilities. Pure functions; no TensorFlow."""

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np

from components.base.errors import UserError
from components.evaluation.results import CALIBRATION_BINS, GenreMetrics, Metrics, PairedOutcomes

_SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)


_SUM_TOLERANCE = 0.01  # bfloat16 softmax outputs sum to 1 within about this


def wilson_interval(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927), without continuity correction.

    Raises:
      ValueError: `trials` is 0.
    """
    if trials < 1:
        raise ValueError("no interval from no trials")
    z = NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * np.sqrt(share * (1.0 - share) / trials + z * z / (4 * trials * trials))
    scale = 1.0 + z * z / trials
    return max(0.0, float((centre - half) / scale)), min(1.0, float((centre + half) / scale))


def expected_calibration_error(truth: np.ndarray, probabilities: np.ndarray, bins: int = CALIBRATION_BINS) -> float:
    """Mean distance between confidence and accuracy over bins of confidence, weighted by clips (Guo et al. 2017).

    Args:
      truth: int [n], indices of the true genres.
      probabilities: float [n, k], rows sum to 1.
      bins: equal-width bins over (0, 1], closed on the right.

    Returns:
      In [0, 1]; 0 is perfect.
    """
    confidence = probabilities.max(axis=1)  # [n]
    right = probabilities.argmax(axis=1) == truth  # [n]
    which = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)  # [n]
    gaps = np.bincount(which, weights=right - confidence, minlength=bins)  # [bins]
    return float(np.abs(gaps).sum() / len(truth))


def _validated(genres: Sequence[str], truth: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`truth` as int64 [n] and `probabilities` as float64 [n, k], checked."""
    truth, probabilities = np.asarray(truth), np.asarray(probabilities, np.float64)
    if truth.ndim != 1 or probabilities.shape != (len(truth), len(genres)):
        raise ValueError(
            f"truth {truth.shape} and probabilities {probabilities.shape} are not (n,) and (n, {len(genres)})"
        )
    if not len(truth):
        raise UserError("No clips to judge the model on. Ingest more music, or give the split a larger share.")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= len(genres):
        raise ValueError(f"truth must be indices in [0, {len(genres)})")
    # Comparisons with NaN are false, so that NaN is unsound without a test of its own.
    sound = (probabilities >= 0).all(axis=1) & (np.abs(probabilities.sum(axis=1) - 1.0) <= _SUM_TOLERANCE)
    if not sound.all():
        raise UserError(
            f"The model's answer is no probability distribution on {np.count_nonzero(~sound)} of {len(truth)} clips "
            "(NaN, negative, or not summing to 1). Its training most likely diverged: lower the learning rate."
        )
    return truth.astype(np.int64), probabilities


def _genre_metrics(confusion: np.ndarray, index: int) -> GenreMetrics:
    hits = int(confusion[index, index])
    support, predicted = int(confusion[index].sum()), int(confusion[:, index].sum())
    return GenreMetrics(
        precision=hits / predicted if predicted else 0.0,
        recall=hits / support if support else 0.0,
        f1=2 * hits / (support + predicted) if support + predicted else 0.0,
        support=support,
    )


def measure(genres: Sequence[str], truth_indices: np.ndarray, probabilities: np.ndarray) -> Metrics:
    """A model's figures, by the conventions of scikit-learn with `labels=` all genres and `zero_division=0`.

    Every genre is present. One without clips has support 0 and recall 0, and counts in macro-F1 (the unweighted mean
    over all genres) with F1 0. The predicted genre is the most probable one, the first of equals. The log loss is
    natural; probabilities are clipped to float32's epsilon, so that one confident mistake costs 15.9, not infinity.

    Args:
      genres: the k genres, in the order of the columns.
      truth_indices: int [n], indices into `genres`.
      probabilities: float [n, k] in [0, 1], rows sum to 1 within 0.01.

    Raises:
      UserError: there are no clips, or a row is no probability distribution.
      ValueError: the shapes or indices do not fit together.
    """
    truth, probabilities = _validated(genres, truth_indices, probabilities)
    clips, k = probabilities.shape
    predicted = probabilities.argmax(axis=1)  # [n]
    confusion = np.bincount(truth * k + predicted, minlength=k * k).reshape(k, k)
    per_genre = {genre: _genre_metrics(confusion, index) for index, genre in enumerate(genres)}
    right = int(confusion.trace())
    of_truth = np.clip(probabilities[np.arange(clips), truth], _SMALLEST_PROBABILITY, 1.0)  # [n]
    return Metrics(
        clips=clips,
        accuracy=right / clips,
        accuracy_interval=wilson_interval(right, clips),
        macro_f1=float(np.mean([metrics.f1 for metrics in per_genre.values()])),
        log_loss=float(-np.log(of_truth).mean()),
        expected_calibration_error=expected_calibration_error(truth, probabilities),
        confusion=tuple(tuple(row) for row in confusion.tolist()),
        genres=per_genre,
    )


def compare(candidate_right: np.ndarray, champion_right: np.ndarray) -> PairedOutcomes:
    """Exact McNemar test: were both equally good, each clip on which they differ would be a fair coin's toss.

    `p_worse` is the probability that at least as many of those clips go to the champion, `p_different` that either
    side gets at least as many as the luckier one. Both are 1 where the models never differ.

    Args:
      candidate_right: bool [n], whether the candidate is right, clip by clip.
      champion_right: bool [n], the same of the champion.

    Raises:
      ValueError: the shapes differ.
    """
    from scipy.special import bdtr, bdtrc

    if candidate_right.shape != champion_right.shape:
        raise ValueError(f"{candidate_right.shape} and {champion_right.shape} outcomes cannot be paired")
    only_candidate = int(np.count_nonzero(candidate_right & ~champion_right))
    only_champion = int(np.count_nonzero(champion_right & ~candidate_right))
    differing = only_candidate + only_champion
    return PairedOutcomes(
        both_right=int(np.count_nonzero(candidate_right & champion_right)),
        only_candidate=only_candidate,
        only_champion=only_champion,
        both_wrong=int(np.count_nonzero(~candidate_right & ~champion_right)),
        p_worse=float(bdtrc(only_champion - 1, differing, 0.5)),
        p_different=min(1.0, 2.0 * float(bdtr(min(only_candidate, only_champion), differing, 0.5))),
    )
