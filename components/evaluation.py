"""What a model is worth, and whether it may replace the one being served. Pure functions; no TensorFlow.

`measure` turns probabilities into figures, `judge` turns figures into a verdict that says in words what decided it.
"""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import NormalDist

import numpy as np

from components.config import GateConfig, Section
from components.errors import UserError

VERDICT = "verdict.json"
"""File of an evaluation that holds its `Verdict`."""
CALIBRATION_BINS = 15
"""Equal-width bins of confidence over (0, 1] in the expected calibration error."""

_SMALLEST_PROBABILITY = float(np.finfo(np.float32).eps)
_SUM_TOLERANCE = 0.01  # bfloat16 softmax outputs sum to 1 within about this


class GenreMetrics(Section):
    """One genre against the rest. A ratio whose denominator is 0 is 0."""

    precision: float
    recall: float
    f1: float
    support: int


class Metrics(Section):
    """A model's figures on one split. `confusion`: rows true, columns predicted, both in the order of the genres."""

    clips: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_f1: float
    log_loss: float
    expected_calibration_error: float
    calibration_bins: int = CALIBRATION_BINS
    confusion: tuple[tuple[int, ...], ...]
    genres: dict[str, GenreMetrics]


class PairedOutcomes(Section):
    """Two models on the same clips, with exact McNemar p-values of the hypothesis that they are equally good."""

    both_right: int
    only_candidate: int
    only_champion: int
    both_wrong: int
    p_worse: float
    p_different: float


class Check(Section):
    """One condition of the gate. `value` is None where it cannot be measured, which fails."""

    name: str
    passed: bool
    value: float | None
    limit: float
    text: str


class ChampionMetrics(Section):
    """The model being served, on the same clips as the candidate."""

    version: str
    metrics: Metrics


class Verdict(Section):
    """The gate's decision, with everything it rests on. `reasons`: what refused it, or else why it passed."""

    blessed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    split: str
    genres: tuple[str, ...]
    candidate: Metrics
    champion: ChampionMetrics | None
    paired: PairedOutcomes | None
    span: int | None = None

    @property
    def on_golden(self) -> "Verdict | None":
        """What is of the golden set; None where there is none."""
        return self


class Prediction(Section):
    """What was said about one clip. `probabilities` by genre."""

    track_id: str
    genre: str
    predicted: str
    probabilities: dict[str, float]
    champion_predicted: str | None = None

    @property
    def correct(self) -> bool:
        """Whether the predicted genre is the true one."""
        return self.genre == self.predicted


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


def require_known_genres(gate: GateConfig, genres: Sequence[str]) -> None:
    """Fail on a floor for a genre that the library does not have.

    Raises:
      UserError: naming the key and the genres there are.
    """
    for genre in gate.genre_recall:
        if genre not in genres:
            raise UserError(f"gate.genre_recall.{genre}: no such genre. The genres are: {', '.join(genres)}.")


def _figures(value: float, limit: float) -> tuple[str, str]:
    """Both with the fewest decimals (2 to 9) that show the limit in full and keep unequal figures apart."""
    for digits in range(2, 9):
        shown = round(value, digits), round(limit, digits)
        if shown[1] == limit and (value == limit or shown[0] != shown[1]):
            break
    return f"{value:.{digits}f}", f"{limit:.{digits}f}"


def _p_value(p: float, limit: float) -> str:
    """Two significant digits, or more where those would read as the limit."""
    short = f"{p:.2g}"
    return f"p = {p:.6g}" if float(short) == limit != p else f"p = {short}"


def _clips(count: int, kind: str = "") -> str:
    return f"{count} {kind + ' ' if kind else ''}clip{'' if count == 1 else 's'}"


def _floor(name: str, what: str, value: float, clips: str, limit: float, key: str) -> Check:
    passed = value >= limit
    shown_value, shown_limit = _figures(value, limit)
    verb = "meets" if passed else "is below"
    text = f"{what} {shown_value} on {clips} {verb} the floor gate.{key} {shown_limit}"
    return Check(name=name, passed=passed, value=value, limit=limit, text=text)


def _recall_floors(gate: GateConfig, metrics: Metrics, split: str) -> list[Check]:
    """A check per genre that has a floor. Its own floor takes the place of the general one; a floor of 0 is none."""
    checks = []
    for genre, found in metrics.genres.items():
        own = genre in gate.genre_recall
        name = f"genre_recall.{genre}"
        key = name if own else "min_genre_recall"
        limit = gate.genre_recall[genre] if own else gate.min_genre_recall
        if limit == 0.0:
            continue
        if found.support:
            checks.append(_floor(name, f"recall of {genre}", found.recall, _clips(found.support, split), limit, key))
        elif own:
            text = f"{genre} has no {split} clips, so its floor gate.{key} {limit:g} cannot be judged"
            checks.append(Check(name=name, passed=False, value=None, limit=limit, text=text))
    return checks


def _champion_check(version: str, paired: PairedOutcomes, significance: float) -> Check:
    passed = paired.p_worse >= significance
    better = passed and paired.only_candidate > paired.only_champion and paired.p_different < significance
    if better:
        relation, evidence = "significantly better than", f"two-sided {_p_value(paired.p_different, significance)}"
    elif passed:
        relation = "not significantly worse than"
        evidence = f"{_p_value(paired.p_worse, significance)}, needs < {significance:g} to refuse"
    else:
        relation = "significantly worse than"
        evidence = f"{_p_value(paired.p_worse, significance)}, refused when < {significance:g}"
    text = (
        f"{relation} version {version}: wrong on {_clips(paired.only_champion)} it had right, right on "
        f"{paired.only_candidate} it had wrong (McNemar {evidence})"
    )
    return Check(name="champion", passed=passed, value=paired.p_worse, limit=significance, text=text)


def _why_passed(overall: Sequence[Check], recalls: Sequence[Check], against: Sequence[Check]) -> list[str]:
    """Every passed check, but many recall floors in one sentence."""
    if len(recalls) > 1:
        closest = min(recalls, key=lambda check: check.value - check.limit)
        told = [f"the {len(recalls)} recall floors are met, the closest: {closest.text}"]
    else:
        told = [check.text for check in recalls]
    last = [check.text for check in against] or ["no champion to compare with: judged by the floors alone"]
    return [*(check.text for check in overall), *told, *last]


def judge(
    gate: GateConfig,
    genres: Sequence[str],
    truth: np.ndarray,
    candidate_probabilities: np.ndarray,
    champion: tuple[str, np.ndarray] | None = None,
    *,
    note: str = "",
    split: str = "test",
) -> Verdict:
    """Decide whether a candidate may be served.

    It must meet every floor (beside that of the accuracy, a floor of 0 is none) and, where there is a champion, not be
    worse than it by the one-sided exact McNemar test at `gate.significance`. A candidate that is right on the same
    clips as the champion is never refused for it.

    Args:
      gate: the floors, and the significance.
      genres: the k genres, in the order of the columns.
      truth: int [n], indices of the true genres.
      candidate_probabilities: float [n, k].
      champion: version and float [n, k] probabilities on the same clips; None: judged by the floors alone.
      note: a sentence to add to the reasons, such as why a champion could not be compared with.
      split: name of the split that the clips are from, for the wording.

    Raises:
      UserError: a floor names an unknown genre; no clips; a model's answer is no probability distribution.
      ValueError: the shapes or indices do not fit together.
    """
    require_known_genres(gate, genres)
    candidate = measure(genres, truth, candidate_probabilities)
    clips = _clips(candidate.clips, split)
    overall = [_floor("min_accuracy", "accuracy", candidate.accuracy, clips, gate.min_accuracy, "min_accuracy")]
    if gate.min_macro_f1 > 0.0:
        overall.append(_floor("min_macro_f1", "macro-F1", candidate.macro_f1, clips, gate.min_macro_f1, "min_macro_f1"))
    recalls = _recall_floors(gate, candidate, split)
    against, paired, served = [], None, None
    if champion is not None:
        version, probabilities = champion
        served = ChampionMetrics(version=version, metrics=measure(genres, truth, probabilities))
        outcomes = (np.argmax(p, axis=1) == truth for p in (candidate_probabilities, probabilities))
        paired = compare(*outcomes)
        against = [_champion_check(version, paired, gate.significance)]

    checks = (*overall, *recalls, *against)
    blessed = all(check.passed for check in checks)
    reasons = (
        _why_passed(overall, recalls, against) if blessed else [check.text for check in checks if not check.passed]
    )
    return Verdict(
        blessed=blessed,
        reasons=(*reasons, *([note] if note else [])),
        checks=checks,
        split=split,
        genres=tuple(genres),
        candidate=candidate,
        champion=served,
        paired=paired,
    )


def predictions(
    track_ids: Sequence[str],
    genres: Sequence[str],
    truth: np.ndarray,
    probabilities: np.ndarray,
    champion_probabilities: np.ndarray | None = None,
) -> tuple[Prediction, ...]:
    """What was said about every clip, in the order of the track ids.

    Args:
      track_ids: n ids.
      genres: the k genres, in the order of the columns.
      truth: int [n], indices of the true genres.
      probabilities: float [n, k], the candidate's.
      champion_probabilities: float [n, k], the champion's, if there is one.
    """
    champion = [None] * len(track_ids)
    if champion_probabilities is not None:
        champion = [genres[index] for index in np.argmax(champion_probabilities, axis=1)]
    rows = (
        Prediction(
            track_id=track_id,
            genre=genres[true],
            predicted=genres[int(np.argmax(row))],
            probabilities=dict(zip(genres, map(float, row), strict=True)),
            champion_predicted=served,
        )
        for track_id, true, row, served in zip(track_ids, truth, probabilities, champion, strict=True)
    )
    return tuple(sorted(rows, key=lambda row: row.track_id))


def write_predictions(path: Path, genres: Sequence[str], rows: Iterable[Prediction]) -> None:
    """Write one CSV row per clip: track_id, genre, predicted, correct, champion_predicted (if any), p_<genre>...

    The same rows give the same bytes, in whatever order they come.
    """
    rows = sorted(rows, key=lambda row: row.track_id)
    with_champion = any(row.champion_predicted is not None for row in rows)
    served = ["champion_predicted"] if with_champion else []
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["track_id", "genre", "predicted", "correct", *served, *(f"p_{genre}" for genre in genres)])
    for row in rows:
        chances = (f"{row.probabilities[genre]:.6f}" for genre in genres)
        champion = [row.champion_predicted] if with_champion else []
        writer.writerow([row.track_id, row.genre, row.predicted, int(row.correct), *champion, *chances])
    # Bytes, so that paths of cloud storage (etils.epath), whose `open` knows no `newline`, do as well.
    path.write_bytes(text.getvalue().encode("utf-8"))


def read_predictions(path: Path) -> tuple[Prediction, ...]:
    """Read what `write_predictions` wrote; probabilities to 6 decimals.

    Raises:
      UserError: the file is missing or something else.
    """
    try:
        text = io.StringIO(path.read_bytes().decode("utf-8"), newline="")
        return tuple(
            Prediction(
                track_id=row["track_id"],
                genre=row["genre"],
                predicted=row["predicted"],
                probabilities={key[2:]: float(value) for key, value in row.items() if key.startswith("p_")},
                champion_predicted=row.get("champion_predicted"),
            )
            for row in csv.DictReader(text)
        )
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable table of predictions ({error!r}). Run the pipeline again.") from error
