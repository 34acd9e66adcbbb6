"""The gate: decides whether a candidate may replace the champion, with reasons. Pure functions; no TensorFlow."""

import hashlib
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from components.base.errors import UserError
from components.evaluation.checks import against_best, against_champion, ceiling, floor, recall_floors, untested_genres
from components.evaluation.config import GateConfig
from components.evaluation.metrics import measure, paired_outcomes
from components.evaluation.predictions import ScoredClips
from components.evaluation.results import ChampionMetrics, Check, Judged, Outcomes, Predecessor, Verdict


def require_known_genres(gate: GateConfig, genres: Sequence[str]) -> None:
    """Fails on a floor for a genre that the library does not have.

    Raises:
      UserError: names the key and the library's genres.
    """
    for genre in gate.genre_recall:
        if genre not in genres:
            raise UserError(f"gate.genre_recall.{genre}: no such genre. The genres are: {', '.join(genres)}.")


def judge(
    gate: GateConfig,
    genres: Sequence[str],
    test: ScoredClips,
    golden: ScoredClips | None = None,
    *,
    latency_ms: float,
    megabytes: float,
    best: Predecessor | None = None,
    note: str = "",
) -> Verdict:
    """Decides whether a candidate may be served.

    It must meet every floor on the test clips and every limit. Where there is a champion, it must not be worse than
    the champion on the test clips nor on the golden set, by the one-sided exact McNemar test at `gate.significance`.
    On the golden set it must not be worse than the best version before it either, because a line of models, each a
    little worse than the one before, could decline without end. A candidate that is right on the same clips as the
    champion always passes the comparison.

    Args:
      gate: the floors, the limits and the significance.
      genres: the k genres, in the order of the columns.
      test: the newest test clips.
      golden: the golden set; `test` itself where the test clips are the golden set; None: there is none.
      latency_ms: median time for one clip.
      megabytes: size of the candidate's SavedModel, in millions of bytes.
      best: the best of the champion's line on the golden set, if that is not the champion.
      note: a sentence to add to the reasons, such as why a champion could not be compared with.

    Raises:
      UserError: a floor names an unknown genre; no clips; a model's output is not a probability distribution.
      ValueError: the shapes or indices do not fit together.
    """
    require_known_genres(gate, genres)
    golden_is_test = golden is test
    on_test = _judged(genres, test)
    on_golden = None if golden is None or golden_is_test else _judged(genres, golden)

    floors = _floors(gate, on_test)
    recalls = recall_floors(gate.min_genre_recall, gate.genre_recall, on_test, on_golden)
    against = against_champion("champion", on_test, gate.significance)
    if on_golden is not None:
        against += against_champion("golden.champion", on_golden, gate.significance)
    not_compared = ""
    if best is not None:
        check, not_compared = against_best(best, on_test if golden_is_test else on_golden, gate.significance)
        against += check
    limits = _limits(gate, on_test, latency_ms, megabytes)

    untested = [check for judged in (on_test, on_golden) if judged for check in untested_genres(judged)]
    checks = (*floors, *recalls, *against, *limits, *untested)
    blessed = all(check.passed for check in checks)
    if blessed:
        reasons = [
            *_deciding(floors),
            *_summed_up(recalls),
            *([check.text for check in against] or ["no champion to compare with: judged by the floors alone"]),
            *_deciding(limits),
        ]
    else:
        reasons = [check.text for check in checks if not check.passed]
    return Verdict(
        **dict(on_test),
        blessed=blessed,
        reasons=(*reasons, *(text for text in (note, not_compared) if text)),
        checks=checks,
        genres=tuple(genres),
        golden=on_golden,
        golden_is_test=golden_is_test,
        best=_best_so_far(genres, golden, best),
        latency_ms=latency_ms,
        megabytes=megabytes,
    )


def _judged(genres: Sequence[str], clips: ScoredClips) -> Judged:
    """Measures both models on a set of clips."""
    outcomes = _outcomes(genres, clips, clips.candidate)
    champion, paired = None, None
    if clips.champion is not None:
        version, probabilities = clips.champion
        champion = ChampionMetrics(version=version, metrics=measure(genres, clips.truth, probabilities))
        paired = paired_outcomes(outcomes.array, _outcomes(genres, clips, probabilities).array)
    return Judged(
        split=clips.split,
        span=clips.span,
        joined=clips.joined,
        candidate=measure(genres, clips.truth, clips.candidate),
        outcomes=outcomes,
        champion=champion,
        paired=paired,
    )


def _outcomes(genres: Sequence[str], clips: ScoredClips, probabilities: NDArray[np.floating]) -> Outcomes:
    """Finds the clips that the model with these `probabilities` is right about."""
    right = np.argmax(probabilities, axis=1) == clips.truth
    rows = sorted(zip(clips.track_ids, clips.truth.tolist(), right.tolist(), strict=True))
    names = "".join(f"{track_id}\t{genres[true]}\n" for track_id, true, _ in rows)
    return Outcomes(
        clips=hashlib.sha256(names.encode("utf-8", "surrogateescape")).hexdigest()[:16],
        right="".join(str(int(outcome)) for _, _, outcome in rows),
    )


def _floors(gate: GateConfig, judged: Judged) -> list[Check]:
    """Checks the overall figures: the accuracy always, macro-F1 if it has a floor."""
    found, clips = judged.candidate, judged.clips_text
    checks = [floor("min_accuracy", "accuracy", found.accuracy, clips, gate.min_accuracy, "min_accuracy")]
    if gate.min_macro_f1 > 0.0:
        checks.append(floor("min_macro_f1", "macro-F1", found.macro_f1, clips, gate.min_macro_f1, "min_macro_f1"))
    return checks


def _limits(gate: GateConfig, judged: Judged, latency_ms: float, megabytes: float) -> list[Check]:
    """Checks the calibration, the speed and the size."""
    return [
        ceiling(
            "max_calibration_error",
            "expected calibration error",
            judged.candidate.expected_calibration_error,
            f" on {judged.clips_text}",
            gate.max_calibration_error if gate.max_calibration_error < 1.0 else None,
            unlimited="1",
        ),
        ceiling("max_latency_ms", "median time for one clip", latency_ms, " ms", gate.max_latency_ms),
        ceiling("max_megabytes", "size of the SavedModel", megabytes, " MB", gate.max_megabytes),
    ]


def _deciding(checks: Sequence[Check]) -> list[str]:
    """Lists the checks that have a limit, and so could have refused."""
    return [check.text for check in checks if check.limit is not None]


def _summed_up(recalls: Sequence[Check]) -> list[str]:
    """Lists passed recall floors: several in one sentence."""
    margins = [
        (check.value - check.limit, check.text)
        for check in recalls
        if check.value is not None and check.limit is not None
    ]
    if len(margins) <= 1:
        return [text for _, text in margins]
    closest = min(margins, key=lambda margin: margin[0])[1]
    return [f"the {len(margins)} recall floors are met, the closest: {closest}"]


def _best_so_far(genres: Sequence[str], golden: ScoredClips | None, best: Predecessor | None) -> Predecessor | None:
    """Returns the better of `best` and the champion on these golden clips, for the candidate's successors."""
    if golden is None or golden.champion is None:
        return best
    version, probabilities = golden.champion
    champion = _outcomes(genres, golden, probabilities)
    if best and best.clips == champion.clips and best.accuracy >= champion.accuracy:
        return best
    return Predecessor(version=int(version), **champion.model_dump())
