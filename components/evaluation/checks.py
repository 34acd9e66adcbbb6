"""The single checks of the gate, each with the sentence that explains its result. Pure functions."""

from collections.abc import Mapping

from components.evaluation.metrics import paired_outcomes
from components.evaluation.results import Check, Judged, PairedOutcomes, Predecessor


def _figures(value: float, limit: float) -> tuple[str, str]:
    """Formats both with the fewest decimals (2 to 8) that show the limit in full and keep unequal figures apart."""
    for digits in range(2, 9):
        shown = round(value, digits), round(limit, digits)
        if shown[1] == limit and (value == limit or shown[0] != shown[1]):
            break
    return f"{value:.{digits}f}", f"{limit:.{digits}f}"


def _p_value(p: float, limit: float) -> str:
    """Formats with two significant digits, or with more where those would read as the limit."""
    short = f"{p:.2g}"
    return f"p = {p:.6g}" if float(short) == limit != p else f"p = {short}"


def floor(name: str, figure: str, value: float, clips: str, limit: float, key: str) -> Check:
    """Checks that a figure reaches `limit`; it passes in any case where that is 0.

    Args:
      name: of the check.
      figure: what `value` is, such as `macro-F1`.
      value: the candidate's.
      clips: the set that it was measured on, such as `96 test clips of span 3`.
      limit: the floor.
      key: of the floor in the section `gate`.
    """
    if limit == 0.0:
        text = f"{figure} {value:.2f} on {clips} (no floor: gate.{key} is 0)"
        return Check(name=name, passed=True, value=value, limit=None, text=text)
    passed = value >= limit
    shown_value, shown_limit = _figures(value, limit)
    verb = "meets" if passed else "is below"
    text = f"{figure} {shown_value} on {clips} {verb} the floor gate.{key} {shown_limit}"
    return Check(name=name, passed=passed, value=value, limit=limit, text=text)


def ceiling(name: str, figure: str, value: float, unit: str, limit: float | None, unlimited: str = "null") -> Check:
    """Checks that a figure does not exceed `limit`; it passes in any case where that is None.

    Args:
      name: of the check, and key of the limit in the section `gate`.
      figure: what `value` is, such as `size of the SavedModel`.
      value: the candidate's.
      unit: follows the value in the text.
      limit: the largest value that passes.
      unlimited: the setting that stands for no limit.
    """
    if limit is None:
        text = f"{figure} {value:.2f}{unit} (no limit: gate.{name} is {unlimited})"
        return Check(name=name, passed=True, value=value, limit=None, text=text, at_most=True)
    passed = value <= limit
    shown_value, shown_limit = _figures(value, limit)
    verb = "is within" if passed else "exceeds"
    text = f"{figure} {shown_value}{unit} {verb} the limit gate.{name} {shown_limit}"
    return Check(name=name, passed=passed, value=value, limit=limit, text=text, at_most=True)


def recall_floors(general: float, own: Mapping[str, float], judged: Judged, golden: Judged | None) -> list[Check]:
    """Checks the recall of every genre that has a floor; on the golden set if it has no clips in the first set.

    Args:
      general: the floor of genres without one of their own; 0: no floor. It passes a genre that was not tested at all.
      own: floors by genre; 0: no floor. A genre that was not tested fails its own floor.
      judged: with the recalls.
      golden: the same on the golden set, if that is another.
    """
    checks = []
    for genre in judged.candidate.genres:
        name = f"genre_recall.{genre}"
        key = name if genre in own else "min_genre_recall"
        limit = own.get(genre, general)
        if limit == 0.0:
            continue
        for tested in (judged, golden):
            found = tested and tested.candidate.genres[genre]
            if tested and found and found.recall is not None:
                clips = tested.count_text(found.support)
                checks.append(floor(name, f"recall of {genre}", found.recall, clips, limit, key))
                break
        else:
            text = f"{genre} was not tested, so its floor gate.{key} {limit:g} cannot be checked"
            # A floor that is for this genre is there because somebody relies on it.
            checks.append(
                Check(name=name, passed=genre not in own, value=None, limit=limit if genre in own else None, text=text)
            )
    return checks


def untested_genres(judged: Judged) -> list[Check]:
    """Lists the genres without clips, as a figure that has no limit; none where all were tested."""
    if not (genres := judged.candidate.untested):
        return []
    text = f"{len(genres)} of {len(judged.candidate.genres)} genres were not tested, for lack of {judged.split} clips"
    name = "untested" if judged.split == "test" else f"{judged.split}.untested"
    return [
        Check(
            name=name, passed=True, value=len(genres), limit=None, text=f"{text}{judged.of_span}: {', '.join(genres)}"
        )
    ]


def _not_worse(name: str, rival: str, judged: Judged, paired: PairedOutcomes, significance: float) -> Check:
    """Checks that the candidate is not significantly worse than `rival`, such as `version 3`."""
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
    lost = f"{paired.only_champion} clip{'' if paired.only_champion == 1 else 's'}"
    text = (
        f"{relation} {rival} on the {judged.split} clips{judged.of_span}: wrong on {lost} it had right, "
        f"right on {paired.only_candidate} it had wrong (McNemar {evidence})"
    )
    return Check(name=name, passed=passed, value=paired.p_worse, limit=significance, text=text)


def against_champion(name: str, judged: Judged, significance: float) -> list[Check]:
    """Checks that the candidate is not significantly worse than the champion; none where there is no champion."""
    if judged.champion is None or judged.paired is None:
        return []
    return [_not_worse(name, f"version {judged.champion.version}", judged, judged.paired, significance)]


def against_best(best: Predecessor, golden: Judged | None, significance: float) -> tuple[list[Check], str]:
    """Checks that the candidate is not significantly worse than the best version before it on the golden set.

    Returns:
      The check and no note; or no check, and a note why the two could not be compared.
    """
    if golden is None or golden.outcomes.clips != best.clips:
        why = "the golden set has other clips now" if golden else "there is no golden set any more"
        return [], f"not compared with version {best.version}, the best before it on the golden set: {why}"
    paired = paired_outcomes(golden.outcomes.array, best.array)
    return [_not_worse("golden.best", f"version {best.version}, the best before it,", golden, paired, significance)], ""
