"""What a model is worth, and whether it may replace the one being served. Pure functions; no TensorFlow.

`measure` turns probabilities into figures, `judge` turns figures into a verdict that says in words what decided it.
"""

import csv
import hashlib
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import NormalDist

import numpy as np

from components.config import FloorsConfig, GateConfig, Section
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


class Outcomes(Section):
    """Which clips of a set a model is right about: enough to compare it with a model that never met it."""

    clips: str
    """Digest of the clips' track ids and genres."""
    right: str
    """1 or 0 for every clip, in the order of the track ids."""

    @property
    def accuracy(self) -> float:
        """Share of ones."""
        return self.right.count("1") / len(self.right)

    @property
    def array(self) -> np.ndarray:
        """`right` as bool [n]."""
        return np.array([outcome == "1" for outcome in self.right])


class Predecessor(Outcomes):
    """A former version, with what it was right about on the golden set."""

    version: int


class Check(Section):
    """One condition of the gate, or a figure without one. `value` is None where it cannot be measured, which fails."""

    name: str
    passed: bool
    value: float | None
    limit: float | None
    """None: there is none, so that this cannot refuse."""
    text: str
    at_most: bool = False
    """Whether the limit is one from above."""


class ChampionMetrics(Section):
    """The model being served, on the same clips as the candidate."""

    version: str
    metrics: Metrics


class Judged(Section):
    """The candidate's figures on one set of clips and, if there is a champion to compare with, the champion's."""

    split: str
    candidate: Metrics
    champion: ChampionMetrics | None
    paired: PairedOutcomes | None
    span: int | None = None
    """That the clips are of; None where it is not known."""
    outcomes: Outcomes | None = None
    """The candidate's; None in a verdict of an early version of this project."""

    @property
    def clips_in_words(self) -> str:
        """The clips that it is about, as `96 test clips of span 3`."""
        return _clips_of(self, self.candidate.clips)

    @property
    def headline(self) -> str:
        """The candidate's overall figures in words."""
        low, high = self.candidate.accuracy_interval
        return (
            f"accuracy {self.candidate.accuracy:.1%} on {self.clips_in_words} (95 % interval {low:.1%} to {high:.1%}), "
            f"macro-F1 {self.candidate.macro_f1:.3f}"
        )


class Verdict(Judged):
    """The gate's decision, with everything it rests on. Its own figures are those on the test clips.

    `reasons`: what refused the candidate, or else why it passed.
    """

    blessed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    genres: tuple[str, ...]
    golden: Judged | None = None
    """The same on the golden set; None where the test clips are it, or there is none."""
    golden_is_test: bool = False
    """Whether the test clips are the golden set."""
    best: Predecessor | None = None
    """The most accurate on these golden clips of all that the champion descends from, and of the champion itself."""
    latency_ms: float | None = None
    """Median time for one clip, where the candidate was judged."""
    megabytes: float | None = None
    """Size of the candidate's SavedModel, in millions of bytes."""

    @property
    def on_golden(self) -> Judged | None:
        """What is of the golden set; None where there is none."""
        return self if self.golden_is_test else self.golden

    @property
    def sets(self) -> tuple[Judged, ...]:
        """The sets of clips that it was judged on, each once, the test clips first."""
        return (self, self.golden) if self.golden else (self,)

    @property
    def account(self) -> tuple[str, ...]:
        """Every check in words, marked with how it ended, and what else is among the reasons."""
        texts = {check.text for check in self.checks}
        marks = [("FAIL" if not check.passed else "--" if check.limit is None else "ok") for check in self.checks]
        checks = [f"{mark:<4} {check.text}" for mark, check in zip(marks, self.checks, strict=True)]
        notes = [reason for reason in self.reasons if reason not in texts]
        return (*checks, *notes)


@dataclass(frozen=True)
class Answers:
    """What the models said of one set of n clips, for k genres.

    Attributes:
      track_ids: n ids.
      truth: int [n], indices of the true genres.
      candidate: float [n, k], probabilities.
      champion: version and float [n, k] probabilities; None: there is none to compare with.
      split: name of the split that the clips are from.
      span: number of the span that they are from; None: not known.
    """

    track_ids: Sequence[str]
    truth: np.ndarray
    candidate: np.ndarray
    champion: tuple[str, np.ndarray] | None = None
    split: str = "test"
    span: int | None = None


class Prediction(Section):
    """What was said about one clip. `probabilities` by genre."""

    track_id: str
    split: str
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


def _of_span(answers: Answers | Judged) -> str:
    return "" if answers.span is None else f" of span {answers.span}"


def _clips_of(answers: Answers | Judged, count: int) -> str:
    return _clips(count, answers.split) + _of_span(answers)


def _floor(name: str, what: str, value: float, clips: str, limit: float, key: str) -> Check:
    """A figure that must reach `limit`; 0: whatever it is, it passes."""
    if limit == 0.0:
        text = f"{what} {value:.2f} on {clips}; there is no floor gate.{key}"
        return Check(name=name, passed=True, value=value, limit=None, text=text)
    passed = value >= limit
    shown_value, shown_limit = _figures(value, limit)
    verb = "meets" if passed else "is below"
    text = f"{what} {shown_value} on {clips} {verb} the floor gate.{key} {shown_limit}"
    return Check(name=name, passed=passed, value=value, limit=limit, text=text)


def _ceiling(name: str, what: str, value: float, unit: str, limit: float | None) -> Check:
    """A figure that must not exceed `limit`; None: whatever it is, it passes. `unit`: what is said after the value."""
    if limit is None:
        text = f"{what} {value:.2f}{unit}; there is no limit gate.{name}"
        return Check(name=name, passed=True, value=value, limit=None, text=text, at_most=True)
    passed = value <= limit
    shown_value, shown_limit = _figures(value, limit)
    verb = "is within" if passed else "exceeds"
    text = f"{what} {shown_value}{unit} {verb} the limit gate.{name} {shown_limit}"
    return Check(name=name, passed=passed, value=value, limit=limit, text=text, at_most=True)


def _floors(floors: FloorsConfig, judged: Judged, prefix: str = "") -> list[Check]:
    """Checks of the overall figures: the accuracy, which is always told, and what else has a floor."""
    found = judged.candidate
    figures = [("min_accuracy", "accuracy", found.accuracy, floors.min_accuracy)]
    if floors.min_macro_f1 > 0.0:
        figures.append(("min_macro_f1", "macro-F1", found.macro_f1, floors.min_macro_f1))
    return [
        _floor(f"{prefix}{key}", what, value, judged.clips_in_words, limit, f"{prefix}{key}")
        for key, what, value, limit in figures
    ]


def _recall_floors(general: float, own: Mapping[str, float], judged: Judged, prefix: str = "") -> list[Check]:
    """A check per genre that has a floor. Its own floor takes the place of the general one; a floor of 0 is none."""
    checks = []
    for genre, found in judged.candidate.genres.items():
        name = f"{prefix}genre_recall.{genre}"
        key = name if genre in own else f"{prefix}min_genre_recall"
        limit = own.get(genre, general)
        if limit == 0.0:
            continue
        if found.support:
            clips = _clips_of(judged, found.support)
            checks.append(_floor(name, f"recall of {genre}", found.recall, clips, limit, key))
        elif genre in own:
            text = f"{genre} has no {judged.split} clips, so its floor gate.{key} {limit:g} cannot be judged"
            checks.append(Check(name=name, passed=False, value=None, limit=limit, text=text))
    return checks


def _without_golden_set(floors: FloorsConfig) -> list[Check]:
    """A failed check for every floor of a golden set that there is not."""
    return [
        Check(
            name=f"golden.{key}",
            passed=False,
            value=None,
            limit=limit,
            text=f"there is no golden set, so its floor gate.golden.{key} {limit:g} cannot be judged",
        )
        for key, limit in floors.model_dump().items()
        if limit > 0.0
    ]


def _paired_check(name: str, rival: str, judged: Judged, paired: PairedOutcomes, significance: float) -> Check:
    """That the candidate is not significantly worse than `rival`, such as `version 3`."""
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
        f"{relation} {rival} on the {judged.split} clips{_of_span(judged)}: wrong on {_clips(paired.only_champion)} it "
        f"had right, right on {paired.only_candidate} it had wrong (McNemar {evidence})"
    )
    return Check(name=name, passed=passed, value=paired.p_worse, limit=significance, text=text)


def _champion_check(name: str, judged: Judged, significance: float) -> list[Check]:
    if judged.champion is None:
        return []
    return [_paired_check(name, f"version {judged.champion.version}", judged, judged.paired, significance)]


def _best_check(best: Predecessor, golden: Judged | None, significance: float) -> tuple[list[Check], str]:
    """That the candidate is not significantly worse than the best before it; or a note why that cannot be told."""
    if golden is None or golden.outcomes.clips != best.clips:
        why = "the golden set has other clips now" if golden else "there is no golden set any more"
        return [], f"version {best.version}, the best before it on the golden set, cannot be compared with: {why}"
    paired = compare(golden.outcomes.array, best.array)
    rival = f"version {best.version}, the best before it,"
    return [_paired_check("golden.best", rival, golden, paired, significance)], ""


def _limited(checks: Sequence[Check]) -> list[str]:
    """What decided, and was not only measured."""
    return [check.text for check in checks if check.limit is not None]


def _recalls_in_words(recalls: Sequence[Check]) -> list[str]:
    """Passed recall floors: many in one sentence."""
    if len(recalls) <= 1:
        return [check.text for check in recalls]
    closest = min(recalls, key=lambda check: check.value - check.limit)
    return [f"the {len(recalls)} recall floors are met, the closest: {closest.text}"]


def _outcomes(genres: Sequence[str], answers: Answers, probabilities: np.ndarray) -> Outcomes:
    """What the model with these `probabilities` is right about."""
    right = np.argmax(probabilities, axis=1) == answers.truth
    rows = sorted(zip(answers.track_ids, answers.truth.tolist(), right.tolist(), strict=True))
    clips = "".join(f"{track_id}\t{genres[true]}\n" for track_id, true, _ in rows)
    return Outcomes(
        clips=hashlib.sha256(clips.encode("utf-8", "surrogateescape")).hexdigest()[:16],
        right="".join(str(int(outcome)) for _, _, outcome in rows),
    )


def _judged(genres: Sequence[str], answers: Answers) -> Judged:
    """The figures of both models on a set of clips."""
    candidate = measure(genres, answers.truth, answers.candidate)
    outcomes = _outcomes(genres, answers, answers.candidate)
    served, paired = None, None
    if answers.champion is not None:
        version, probabilities = answers.champion
        served = ChampionMetrics(version=version, metrics=measure(genres, answers.truth, probabilities))
        paired = compare(outcomes.array, _outcomes(genres, answers, probabilities).array)
    return Judged(
        split=answers.split,
        span=answers.span,
        candidate=candidate,
        champion=served,
        paired=paired,
        outcomes=outcomes,
    )


def _best_so_far(genres: Sequence[str], golden: Answers | None, best: Predecessor | None) -> Predecessor | None:
    """The better of `best` and the champion on these golden clips, for those who come after the candidate."""
    if golden is None or golden.champion is None:
        return best
    version, probabilities = golden.champion
    champion = _outcomes(genres, golden, probabilities)
    if best and best.clips == champion.clips and best.accuracy >= champion.accuracy:
        return best
    return Predecessor(version=int(version), **champion.model_dump())


def judge(
    gate: GateConfig,
    genres: Sequence[str],
    test: Answers,
    golden: Answers | None = None,
    *,
    latency_ms: float,
    megabytes: float,
    best: Predecessor | None = None,
    note: str = "",
) -> Verdict:
    """Decide whether a candidate may be served.

    It must meet every floor (a floor of 0 is none) and every limit. Where there is a
    champion, it must not be worse than it on the test clips nor on the golden set, by the one-sided exact McNemar test
    at `gate.significance`; nor on the golden set worse than the best version before it, or a line of models, each a
    little worse than the one before, could decline without end. A candidate that is right on the same clips as the
    champion is never refused for it.

    Args:
      gate: the floors, the limits and the significance.
      genres: the k genres, in the order of the columns.
      test: the answers on the newest test clips.
      golden: those on the golden set; `test` itself where that is the golden set; None: there is none.
      latency_ms: median time for one clip.
      megabytes: size of the candidate's SavedModel.
      best: the best of the champion's line on the golden set, if that is not the champion.
      note: a sentence to add to the reasons, such as why a champion could not be compared with.

    Raises:
      UserError: a floor names an unknown genre; no clips; a model's answer is no probability distribution.
      ValueError: the shapes or indices do not fit together.
    """
    require_known_genres(gate, genres)
    on_test = _judged(genres, test)
    on_golden = on_test if golden is test else golden and _judged(genres, golden)

    overall = _floors(gate, on_test)
    recalls = _recall_floors(gate.min_genre_recall, gate.genre_recall, on_test)
    golden_overall, golden_recalls = _without_golden_set(gate.golden), []
    if on_golden is not None:
        golden_overall = _floors(gate.golden, on_golden, "golden.")
        golden_recalls = _recall_floors(gate.golden.min_genre_recall, {}, on_golden, "golden.")
        if on_golden is on_test and gate.golden.min_accuracy == 0.0:
            golden_overall = golden_overall[1:]  # the accuracy is told already
    against = _champion_check("champion", on_test, gate.significance)
    if on_golden is not None and on_golden is not on_test:
        against += _champion_check("golden.champion", on_golden, gate.significance)
    unknown = ""
    if best is not None:
        best_check, unknown = _best_check(best, on_golden, gate.significance)
        against += best_check
    limits = [
        _ceiling(
            "max_calibration_error",
            "expected calibration error",
            on_test.candidate.expected_calibration_error,
            f" on {on_test.clips_in_words}",
            gate.max_calibration_error if gate.max_calibration_error < 1.0 else None,
        ),
        _ceiling("max_latency_ms", "median time for one clip", latency_ms, " ms", gate.max_latency_ms),
        _ceiling("max_megabytes", "size of the SavedModel", megabytes, " MB", gate.max_megabytes),
    ]

    checks = (*overall, *recalls, *golden_overall, *golden_recalls, *against, *limits)
    blessed = all(check.passed for check in checks)
    if blessed:
        reasons = [
            *_limited(overall),
            *_recalls_in_words(recalls),
            *_limited(golden_overall),
            *_recalls_in_words(golden_recalls),
            *([check.text for check in against] or ["no champion to compare with: judged by the floors alone"]),
            *_limited(limits),
        ]
    else:
        reasons = [check.text for check in checks if not check.passed]
    return Verdict(
        **dict(on_test),
        blessed=blessed,
        reasons=(*reasons, *(text for text in (note, unknown) if text)),
        checks=checks,
        genres=tuple(genres),
        golden=None if on_golden is on_test else on_golden,
        golden_is_test=on_golden is on_test,
        best=_best_so_far(genres, golden, best),
        latency_ms=latency_ms,
        megabytes=megabytes,
    )


def predictions(genres: Sequence[str], answers: Answers) -> tuple[Prediction, ...]:
    """What was said about every clip, in the order of the track ids.

    Args:
      genres: the k genres, in the order of the columns.
      answers: of the candidate and, if there is one, of the champion.
    """
    champion = [None] * len(answers.track_ids)
    if answers.champion is not None:
        champion = [genres[index] for index in np.argmax(answers.champion[1], axis=1)]
    rows = (
        Prediction(
            track_id=track_id,
            split=answers.split,
            genre=genres[true],
            predicted=genres[int(np.argmax(row))],
            probabilities=dict(zip(genres, map(float, row), strict=True)),
            champion_predicted=served,
        )
        for track_id, true, row, served in zip(
            answers.track_ids, answers.truth, answers.candidate, champion, strict=True
        )
    )
    return tuple(sorted(rows, key=lambda row: row.track_id))


def write_predictions(path: Path, genres: Sequence[str], rows: Iterable[Prediction]) -> None:
    """Write one CSV row per clip: track_id, split, genre, predicted, correct, champion_predicted (if any), p_<genre>...

    The same rows give the same bytes, in whatever order they come.
    """
    rows = sorted(rows, key=lambda row: (row.split, row.track_id))
    with_champion = any(row.champion_predicted is not None for row in rows)
    served = ["champion_predicted"] if with_champion else []
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["track_id", "split", "genre", "predicted", "correct", *served, *(f"p_{genre}" for genre in genres)]
    )
    for row in rows:
        chances = (f"{row.probabilities[genre]:.6f}" for genre in genres)
        champion = [row.champion_predicted] if with_champion else []
        writer.writerow([row.track_id, row.split, row.genre, row.predicted, int(row.correct), *champion, *chances])
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
                split=row["split"],
                genre=row["genre"],
                predicted=row["predicted"],
                probabilities={key[2:]: float(value) for key, value in row.items() if key.startswith("p_")},
                champion_predicted=row.get("champion_predicted"),
            )
            for row in csv.DictReader(text)
        )
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable table of predictions ({error!r}). Run the pipeline again.") from error
