"""The gate: whether a candidate may replace the champion, and in words why. Pure functions; no TensorFlow."""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np

from components.base.errors import UserError
from components.evaluation.config import FloorsConfig, GateConfig
from components.evaluation.metrics import compare, measure
from components.evaluation.results import (
    Answers,
    ChampionMetrics,
    Check,
    Judged,
    Outcomes,
    PairedOutcomes,
    Predecessor,
    Verdict,
    clips_in_words,
    count_of_clips,
    of_span,
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
            clips = clips_in_words(judged, found.support)
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
    lost = count_of_clips(paired.only_champion)
    text = (
        f"{relation} {rival} on the {judged.split} clips{of_span(judged)}: wrong on {lost} it had right, "
        f"right on {paired.only_candidate} it had wrong (McNemar {evidence})"
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
