"""The report of one run, as one page. This module computes the figures; the templates lay them out."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from components.drift.report import DriftReport
from components.evaluation.curves import Slice, confidences, precision_recall, reliability, slices
from components.evaluation.metrics import wilson_interval
from components.evaluation.predictions import Prediction
from components.evaluation.results import Judged, Metrics, Verdict
from components.library.layout import SPLITS, Manifest
from components.reporting.charts import compared_histogram, histogram, line_chart, unit_chart
from components.reporting.fit import calibration_in_words, chance, fit_in_words
from components.reporting.listening import Heard, clips_to_hear, most_confident, player
from components.reporting.page import environment, exact, number, percent, short, to_float
from components.reporting.song_map import COLOURS, SHAPES, song_map
from components.reporting.spectrograms import SpectrogramScale, gradient
from components.reporting.timeline_chart import timeline_chart
from components.retraining.timeline import Timeline
from components.store.model_store import Lineage

LISTED = 1000
"""Test clips that are listed one by one."""
REJECTS_SHOWN = 500
MOST_BYTES = 6_000_000
"""Of a page. One that would be larger has fewer players."""
_PICTURE_BYTES = 15_000
"""About what a player takes of a page beside its sound."""

_HEALTH = (
    # column, title, unit, factor to that unit, axis starts at 0
    ("duration_seconds", "Duration", "seconds", 1.0, True),
    ("rms_dbfs", "Loudness (RMS)", "dBFS", 1.0, False),
    ("peak_dbfs", "Peak", "dBFS", 1.0, False),
    ("silence_ratio", "Silence", "% of the clip", 100.0, True),
    ("clipping_ratio", "Clipping", "% of the samples", 100.0, True),
)


@dataclass(frozen=True)
class ReportInputs:
    """Everything that a report shows.

    Attributes:
      title: heading of the page.
      pipeline_name: name of the pipeline that ran.
      genres: the genres, in order.
      manifest: of the newest span that the run read.
      tracks: rows of `tracks.csv` by column name, numbers or their text; further columns are ignored.
      rejects: rows with `path`, `genre` and `reason`.
      learnt: training clips of all spans of the window.
      validated: validation clips of the same.
      heard: clips with sound, by track id.
      history: training history from the Trainer; `epochs` is empty for a model that is fitted without epochs.
      verdict: the gate's.
      anomalies: of the schema validation, one text each.
      model: facts about the model by name.
      config: the whole configuration.
      pushed: `version` and `path` of the pushed model; None: it was not pushed.
      scale: of the spectrograms.
      predictions: of every clip; those on the test clips are listed one by one.
      facts: rows of `tracks.csv` of the test clips, by track id, as far as they are known.
      timeline: all events so far; None: it is not shown.
      drift: what was measured before the run; None: nothing is known of it.
      embeddings: of clips by track id, for the map.
      lineage: the origin of the candidate; None: it is not shown.
    """

    title: str
    pipeline_name: str
    genres: Sequence[str]
    manifest: Manifest
    tracks: Sequence[Mapping[str, Any]]
    rejects: Sequence[Mapping[str, Any]]
    history: Mapping[str, Any]
    verdict: Verdict
    anomalies: Sequence[str]
    model: Mapping[str, Any]
    config: Mapping[str, Any]
    pushed: Mapping[str, Any] | None
    scale: SpectrogramScale
    learnt: int
    validated: int
    heard: Mapping[str, Heard] = field(default_factory=dict)
    predictions: Sequence[Prediction] = ()
    facts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    timeline: Timeline | None = None
    drift: DriftReport | None = None
    embeddings: Mapping[str, NDArray[np.floating]] = field(default_factory=dict)
    lineage: Lineage | None = None


def render_report(inputs: ReportInputs) -> str:
    """Renders the report of a run as one HTML page. All text is escaped; the same inputs give the same page.

    Returns:
      A complete HTML document that refers to nothing outside itself, of at most MOST_BYTES as long as it has players.
    """
    tested = [row for row in inputs.predictions if row.split == inputs.verdict.split]
    far = [each.track_id for each in inputs.drift.farthest] if inputs.drift else []
    first = clips_to_hear(tested, inputs.genres, far)
    wanted = [name for name in dict.fromkeys((*first, *inputs.heard)) if name in inputs.heard]
    page, players = _render(inputs, tested, wanted, 0), len(wanted)
    while players and (excess := len(page.encode()) - MOST_BYTES) > 0:
        while players and excess > 0:
            players -= 1
            excess -= len(inputs.heard[wanted[players]].sound) * 4 // 3 + _PICTURE_BYTES
        page = _render(inputs, tested, wanted[:players], len(wanted) - players)
    return page


def _render(inputs: ReportInputs, tested: Sequence[Prediction], heard: Sequence[str], silent: int) -> str:
    """Renders the page with players of some clips, by track id; `silent` others are left out for their size."""
    inputs = replace(inputs, heard={name: inputs.heard[name] for name in heard})
    return (
        environment()
        .get_template("report.html")
        .render(
            inputs=inputs,
            verdict=inputs.verdict,
            banner=_banner(inputs),
            sets=[_set(inputs.verdict, judged) for judged in inputs.verdict.sets],
            clips=_clips(inputs, tested),
            silent=silent,
            most_megabytes=MOST_BYTES // 1_000_000,
            confidence=_confidence(inputs.verdict, tested),
            slices=_slices(tested, inputs.facts),
            training=_training(inputs),
            facts=_facts(inputs),
            data=_data(inputs),
            drift=_drift(inputs),
            song_map=song_map(inputs.genres, tested, inputs.embeddings),
            shapes=SHAPES,
            colours=COLOURS,
            gradient=gradient(),
            timeline=inputs.timeline and timeline_chart(inputs.timeline),
            config=json.dumps(inputs.config, indent=2, ensure_ascii=False, default=str),
        )
    )


def _banner(inputs: ReportInputs) -> dict[str, str]:
    """Returns the outcome for the top of the page: `state` for its colour, and `headline`."""
    if inputs.pushed is not None:
        return {"state": "good", "headline": f"Pushed as version {inputs.pushed['version']}"}
    if inputs.verdict.blessed:
        return {"state": "good", "headline": "Accepted, but not pushed"}
    return {"state": "bad", "headline": "Refused"}


def _accuracies(verdict: Verdict, judged: Judged) -> dict[str, Any]:
    """Returns the accuracy of each model with its interval, and two figures to compare it with: floor and chance."""
    models = [("this model", judged.candidate)]
    if judged.champion:
        models.append((f"version {judged.champion.version}", judged.champion.metrics))
    floors = [check.limit for check in verdict.checks if check.name == "min_accuracy" and judged is verdict]
    return {
        "models": [
            {
                "name": name,
                "value": found.accuracy,
                "low": found.accuracy_interval[0],
                "high": found.accuracy_interval[1],
            }
            for name, found in models
        ],
        "floor": floors[0] if floors else None,
        "chance": chance(judged),
    }


def _headline_metrics(judged: Judged) -> list[dict[str, Any]]:
    """Returns the overall figures, the champion's beside them."""
    champion = judged.champion.metrics if judged.champion else None

    def row(name: str, meaning: str, show: Callable[[Metrics], str], better: str) -> dict[str, Any]:
        return {
            "name": name,
            "meaning": meaning,
            "value": show(judged.candidate),
            "champion": show(champion) if champion else "",
            "better": better,
        }

    return [
        row("Accuracy", "share of clips named right", lambda m: percent(m.accuracy), "higher"),
        row("Macro-F1", "mean F1 of the tested genres", lambda m: number(m.macro_f1, 3), "higher"),
        row("Log loss", "mean −ln p of the true genre", lambda m: number(m.log_loss, 3), "lower"),
        row(
            "Calibration error", "confidence against accuracy", lambda m: percent(m.expected_calibration_error), "lower"
        ),
    ]


def _set(verdict: Verdict, judged: Judged) -> dict[str, Any]:
    """Returns the figures on one set of clips: the test clips, or the golden set where that is another."""
    confusion = _confusion(judged.candidate)
    return {
        "judged": judged,
        "accuracies": _accuracies(verdict, judged),
        "metrics": _headline_metrics(judged),
        "confusion": confusion,
        "common_mistakes": _common_mistakes(confusion),
    }


def _confusion(metrics: Metrics) -> list[dict[str, Any]]:
    """Returns the rows of the confusion matrix: the true genre, its clips, and a cell per predicted genre."""
    rows = []
    for index, (genre, counts) in enumerate(zip(metrics.genres, metrics.confusion, strict=True)):
        support = sum(counts)
        cells = [
            {
                "count": count,
                "share": count / support if support else 0.0,
                "predicted": predicted,
                "right": index == column,
            }
            for column, (predicted, count) in enumerate(zip(metrics.genres, counts, strict=True))
        ]
        rows.append({"genre": genre, "support": support, "cells": cells})
    return rows


def _common_mistakes(rows: Sequence[Mapping[str, Any]], most: int = 5) -> list[dict[str, Any]]:
    """Returns the `most` pairs of genres that are taken for one another most often, the most frequent first."""
    counts = {(row["genre"], cell["predicted"]): cell["count"] for row in rows for cell in row["cells"]}
    support = {row["genre"]: row["support"] for row in rows}
    pairs = []
    for (genre, predicted), there in counts.items():
        back = counts[predicted, genre]
        # Of the two directions, the more frequent one names the pair.
        if genre != predicted and there and (there, predicted) > (back, genre):
            clips = support[genre] + support[predicted]
            pairs.append(
                {
                    "genre": genre,
                    "predicted": predicted,
                    "there": there,
                    "back": back,
                    "count": there + back,
                    "clips": clips,
                }
            )
    return sorted(pairs, key=lambda pair: -pair["count"])[:most]


def _clips(inputs: ReportInputs, tested: Sequence[Prediction]) -> dict[str, Any]:
    """Returns the predictions on the test clips, mistakes first, with players where there is sound."""
    ranked = most_confident(tested)
    rows = [
        {
            "prediction": row,
            "path": inputs.facts.get(row.track_id, {}).get("path", ""),
            "p": row.probabilities[row.predicted],
            "p_true": row.probabilities[row.genre],
            "player": player(inputs.heard[row.track_id], row.probabilities, row.genre, inputs.scale)
            if row.track_id in inputs.heard
            else None,
        }
        for row in (*(row for row in ranked if not row.correct), *(row for row in ranked if row.correct))
    ]
    wrong = sum(not row.correct for row in tested)
    # What is cut are right clips, unless the mistakes alone are too many.
    return {
        "rows": rows[:LISTED],
        "wrong": wrong,
        "count": len(tested),
        "heard": sum(bool(row["player"]) for row in rows),
    }


def _confidence(verdict: Verdict, tested: Sequence[Prediction]) -> dict[str, Any] | None:
    """Returns charts of what the confidence is worth, and the average precision of each genre; None without clips."""
    if not tested:
        return None
    bins = reliability(tested)
    confidence, right = confidences(tested)
    edges = [index / 20 for index in range(21)]
    sides = {
        name: np.histogram(confidence[mask], edges)[0].tolist() for name, mask in (("right", right), ("wrong", ~right))
    }
    curves = precision_recall(verdict.genres, tested)
    ranked = sorted(curves, key=lambda curve: curve.average_precision)
    shown = {curve.genre: curve for curve in (ranked[0], ranked[-1])}
    return {
        "charts": [
            unit_chart(
                "Reliability",
                "confidence: probability of the predicted genre",
                "share named right",
                {
                    "this model": [
                        (
                            each.confidence,
                            each.accuracy,
                            f"confidence {percent(each.low, 0)} to {percent(each.high, 0)}: {each.clips} clips, "
                            f"{percent(each.accuracy)} right "
                            f"({percent(each.interval[0])} to {percent(each.interval[1])})",
                        )
                        for each in bins
                    ],
                    "as good as it says": [(0.0, 0.0, ""), (1.0, 1.0, "")],
                },
                [(each.confidence, *each.interval) for each in bins],
                calibration_in_words(verdict, tested),
            ),
            compared_histogram("Confidence of right and wrong answers", "confidence", edges, sides, share=False),
            unit_chart(
                "Precision and recall",
                "recall",
                "precision",
                {
                    f"{genre}, AP {number(curve.average_precision)}": [
                        (float(x), float(y), "") for x, y in zip(curve.recall, curve.precision, strict=True)
                    ]
                    for genre, curve in shown.items()
                },
                summary="The genre with the lowest and the one with the highest average precision (AP): the mean "
                "precision over all recalls, as the threshold on the probability falls.",
            ),
        ],
        "average_precision": [(curve.genre, curve.average_precision) for curve in curves],
    }


def _slices(tested: Sequence[Prediction], facts: Mapping[str, Mapping[str, str]]) -> list[tuple[str, list[Slice]]]:
    """Returns the accuracy on parts of the test clips, by dimension."""
    found: dict[str, list[Slice]] = {}
    for each in slices(tested, facts):
        found.setdefault(each.dimension, []).append(each)
    return list(found.items())


def _training(inputs: ReportInputs) -> dict[str, Any]:
    """Returns curves, facts and sentences about the training, and the accuracy on the clips of every split."""
    history, verdict = inputs.history, inputs.verdict
    epochs = history.get("epochs") or []
    numbers = [to_float(row.get("epoch", index)) for index, row in enumerate(epochs, 1)]
    best = to_float(history.get("best_epoch"))

    def series(key: str) -> dict[str, list[float]]:
        both = {"training": key, "validation": f"val_{key}"}
        return {name: [to_float(row.get(column)) for row in epochs] for name, column in both.items()}

    charts = [
        line_chart("Loss", "cross-entropy (nats)", numbers, series("loss"), best, share=False),
        line_chart("Accuracy", "share of clips named right", numbers, series("accuracy"), best, share=True),
    ]
    train, validation = (to_float(history.get(f"{split}_accuracy")) for split in ("train", "validation"))
    known = math.isfinite(train) and math.isfinite(validation)
    record = history.get("chosen") or {}
    chosen = record.get("explanation") or ", ".join(
        f"{name} {value}" for name, value in record.items() if not isinstance(value, list | dict)
    )
    # A model without epochs is fitted on both splits, and validated on both by inner folds.
    learnt, validated = (inputs.learnt, inputs.validated) if epochs else (inputs.learnt + inputs.validated,) * 2
    splits = [
        ("training clips", train, learnt),
        ("validation clips", validation, validated),
        *((f"{judged.split} clips", judged.candidate.accuracy, judged.candidate.clips) for judged in verdict.sets),
    ]
    return {
        "charts": [chart for chart in charts if chart],
        "splits": [
            {"name": name, "clips": clips, "value": value, "interval": wilson_interval(round(value * clips), clips)}
            for name, value, clips in splits
            if clips and math.isfinite(value)
        ],
        "chance": chance(verdict),
        "fit": fit_in_words(train, validation, max(verdict.sets, key=lambda judged: judged.candidate.clips))
        if known
        else "",
        "chosen": chosen,
    }


def _facts(inputs: ReportInputs) -> list[tuple[str, str]]:
    """Lists the model and its training by name and value; the history's values win where both have one."""
    history = inputs.history
    facts: dict[str, Any] = {"kind": history.get("kind"), **inputs.model}
    facts |= {
        key: history[key]
        for key in ("kind", "parameters", "strategy", "best_epoch", "temperature", "doubt")
        if history.get(key) is not None
    }
    facts["training_time"] = f"{number(history.get('seconds'), 1)} s" if history.get("seconds") is not None else None
    return [(name.replace("_", " "), _fact(value)) for name, value in facts.items() if value is not None]


def _fact(value: Any) -> str:
    """Formats a fact of any type."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return exact(value)
        case float() if math.isfinite(value):
            return short(value)
        case Mapping():
            return ", ".join(f"{name} {_fact(part)}" for name, part in value.items())
        case list() | tuple():
            return ", ".join(map(_fact, value))
    return str(value)


def _tally(rows: Iterable[Mapping[str, Any]], name: str) -> list[tuple[str, int]]:
    """Counts the values of a column, the most frequent first."""
    counted = Counter(str(row[name]) for row in rows if row.get(name) not in (None, ""))
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def _data(inputs: ReportInputs) -> dict[str, Any]:
    """Returns counts, durations, formats, health and rejects."""
    splits = [name for name in SPLITS if name in inputs.manifest.splits]
    splits += [name for name in inputs.manifest.splits if name not in SPLITS]
    counts = {name: inputs.manifest.splits[name] for name in splits}
    rates = [(f"{exact(to_float(rate))} Hz", clips) for rate, clips in _tally(inputs.tracks, "source_rate")]
    charts = (
        histogram(title, unit, factor * _column(inputs.tracks, column), from_zero)
        for column, title, unit, factor, from_zero in _HEALTH
    )
    return {
        "splits": splits,
        "genres": [(genre, [counts[name].genres.get(genre, 0) for name in splits]) for genre in inputs.genres],
        "clips": [counts[name].clips for name in splits],
        "groups": [counts[name].groups for name in splits],
        "hours": [
            _column((row for row in inputs.tracks if row.get("split") == name), "duration_seconds").sum() / 3600
            for name in splits
        ],
        "rates": rates,
        "channels": _tally(inputs.tracks, "source_channels"),
        "clipped": int(np.count_nonzero(_column(inputs.tracks, "clipping_ratio") > 0)),
        "charts": [chart for chart in charts if chart],
        "reasons": sorted(inputs.manifest.rejects.items(), key=lambda item: (-item[1], item[0])),
        "rejects": inputs.rejects[:REJECTS_SHOWN],
        "rejected": sum(inputs.manifest.rejects.values()),
    }


def _drift(inputs: ReportInputs) -> dict[str, Any] | None:
    """Returns what was found of drift, with charts of what moved and players of the clips that are farthest."""
    report = inputs.drift
    if report is None:
        return None
    answers = {row.track_id: row.probabilities for row in inputs.predictions}
    return {
        "report": report,
        "farthest": [
            (far, player(heard, answers.get(far.track_id) or heard.mean(), far.genre, inputs.scale))
            for far in report.farthest
            if (heard := inputs.heard.get(far.track_id))
        ],
        "charts": [
            compared_histogram(
                f"{each.figure} ({each.shift:+.1f} sd)",
                each.family,
                each.edges,
                {"earlier": each.reference, "new": each.newest},
            )
            for each in report.moved
        ],
    }


def _column(rows: Iterable[Mapping[str, Any]], name: str) -> NDArray[np.float64]:
    """Returns the finite numbers of a column, float64 [n]."""
    values = np.array([to_float(row.get(name)) for row in rows], np.float64)
    return values[np.isfinite(values)]
