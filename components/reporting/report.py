"""One run on one page.

Charts are inline SVG drawn by the template, so that they follow the reader's theme; this module computes what is in
them. See `components.reporting.page` for what holds of every page.
"""

import base64
import io
import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from components.evaluation.predictions import Prediction
from components.evaluation.results import Judged, Metrics, Verdict
from components.library.layout import SPLITS, Manifest
from components.reporting.page import (
    Frame,
    Tick,
    environment,
    linear,
    number,
    percent,
    plain,
    tick_values,
    ticks,
    to_float,
)
from components.reporting.timeline_chart import timeline_chart
from components.retraining.timeline import Timeline

MISTAKES_SHOWN = 25
REJECTS_SHOWN = 500
FLOOR_DB = -80.0

_SPECTROGRAM_PIXELS = 1_000_000  # of all samples together: keeps the page under 1.5 MB with 8 genres as with 60
_SPECTROGRAM_LEVELS = 48
_KILOHERTZ_TICKS = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_HEALTH = (
    # column, title, unit, factor to that unit, whether the axis starts at 0
    ("duration_seconds", "Duration", "seconds", 1.0, True),
    ("rms_dbfs", "Loudness (RMS)", "dBFS", 1.0, False),
    ("peak_dbfs", "Peak", "dBFS", 1.0, False),
    ("silence_ratio", "Silence", "% of the clip", 100.0, True),
    ("clipping_ratio", "Clipping", "% of the samples", 100.0, True),
)


@dataclass(frozen=True)
class ReportInputs:
    """Everything a report tells.

    Attributes:
      title: heading of the page.
      pipeline_name: name of the pipeline that ran.
      genres: the genres, in order.
      manifest: account of the span (or spans) the run read.
      tracks: rows of `tracks.csv` by column name, numbers or their text; further columns are ignored.
      rejects: rows with `path`, `genre` and `reason`.
      samples: (track id, genre, float32 [frames, mels] in dB -80..0, seconds of music); the first per genre is shown.
      history: what the Trainer wrote; `epochs` is empty for a model that is fitted in one go.
      verdict: the gate's.
      anomalies: what the schema validation found, one text each.
      model: facts about the model by name.
      config: the whole configuration.
      pushed: `version` and `path` of the deployed model; None: nothing was deployed.
      sample_rate: Hz, of the clips.
      hop_length: samples between spectrogram frames.
      fmin: Hz, lowest mel frequency.
      fmax: Hz, highest mel frequency; None: half the sample rate.
      predictions: what was said of every clip; those on the test clips are for the list of mistakes.
      timeline: all that happened so far; None: it is not told.
    """

    title: str
    pipeline_name: str
    genres: Sequence[str]
    manifest: Manifest
    tracks: Sequence[Mapping[str, Any]]
    rejects: Sequence[Mapping[str, Any]]
    samples: Sequence[tuple[str, str, np.ndarray, float]]
    history: Mapping[str, Any]
    verdict: Verdict
    anomalies: Sequence[str]
    model: Mapping[str, Any]
    config: Mapping[str, Any]
    pushed: Mapping[str, Any] | None
    sample_rate: int
    hop_length: int
    fmin: float = 0.0
    fmax: float | None = None
    predictions: Sequence[Prediction] = ()
    timeline: Timeline | None = None


CURVES = Frame(width=460, height=250, left=58, right=440, top=14, bottom=204)
BARS = Frame(width=340, height=200, left=50, right=322, top=10, bottom=156)
PICTURE = Frame(width=340, height=200, left=44, right=326, top=8, bottom=164)


@dataclass(frozen=True)
class Line:
    """A series of a chart as an SVG path, broken where a value is missing."""

    name: str
    path: str
    dots: tuple[tuple[float, float, str], ...]


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram and what it stands for."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Axes, with lines or bars, and the one x that is marked."""

    frame: Frame
    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    mark: Tick | None = None
    words: str = ""


@dataclass(frozen=True)
class Spectrogram:
    """A sample's picture as a data URI, with its axes."""

    frame: Frame
    track_id: str
    genre: str
    seconds: float
    image: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def p_value(value: float) -> str:
    """A p-value with its relation, such as "= 0.0117" or "< 0.0001"."""
    return "< 0.0001" if value < 0.0001 else f"= {number(value, 4)}"


def _column(rows: Iterable[Mapping[str, Any]], name: str) -> np.ndarray:
    """Finite numbers of a column, float64 [n]."""
    values = np.array([to_float(row.get(name)) for row in rows], np.float64)
    return values[np.isfinite(values)]


def _line(name: str, xs: Sequence[float], ys: Sequence[float], to_x: Callable, to_y: Callable) -> Line:
    path, pen_down, dots = [], False, []
    for x, y in zip(xs, ys, strict=True):
        if not math.isfinite(y):
            pen_down = False
            continue
        path.append(f"{'L' if pen_down else 'M'}{to_x(x)} {to_y(y)}")
        dots.append((to_x(x), to_y(y), f"{name}, epoch {plain(x)}: {number(y, 3)}"))
        pen_down = True
    return Line(name, " ".join(path), tuple(dots))


def line_chart(
    title: str, y_label: str, epochs: Sequence[float], series: Mapping[str, Sequence[float]], best: float, share: bool
) -> Chart | None:
    """Series over epochs; None where no series has a finite value.

    Args:
      title: heading of the chart.
      y_label: what is drawn, with its unit.
      epochs: numbers of the epochs [n], ascending.
      series: values [n] by name; NaN where missing.
      best: the epoch to mark; NaN for none.
      share: the values are shares, on an axis from 0 to 1; else the axis fits the values.
    """
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if not finite:
        return None
    y_values = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] if share else tick_values(min(finite), max(finite))
    to_y = linear(y_values[0], y_values[-1], CURVES.bottom, CURVES.top)
    low, high = min(epochs), max(epochs)
    to_x = linear(low, high, CURVES.left, CURVES.right)
    return Chart(
        frame=CURVES,
        title=title,
        x_label="epoch",
        y_label=y_label,
        x_ticks=ticks(tick_values(low, high, 8, integer=True), low, high, to_x),
        y_ticks=ticks(y_values, y_values[0], y_values[-1], to_y),
        lines=tuple(_line(name, epochs, values, to_x, to_y) for name, values in series.items()),
        mark=Tick(to_x(best), f"best epoch {plain(best)}") if math.isfinite(best) else None,
    )


def histogram(title: str, unit: str, values: np.ndarray, from_zero: bool) -> Chart | None:
    """Clips by `values`, float [n]; None where there are none."""
    if not len(values):
        return None
    low, high = (0.0 if from_zero else float(values.min())), float(values.max())
    ends = tick_values(low, high if high > low else low + 1.0, 4)
    low, high = ends[0], ends[-1]
    counts, edges = np.histogram(values, bins=24, range=(low, high))
    to_x = linear(low, high, BARS.left, BARS.right)
    y_values = [value for value in tick_values(0, counts.max(), 4, integer=True) if value >= 0]
    to_y = linear(0, y_values[-1], BARS.bottom, BARS.top)
    bars = tuple(
        Bar(
            x=to_x(start),
            y=to_y(count),
            width=round(max(to_x(stop) - to_x(start) - 1.0, 0.5), 1),
            height=round(BARS.bottom - to_y(count), 1),
            label=f"{_short(start)} to {_short(stop)} {unit}: {count} clips",
        )
        for start, stop, count in zip(edges, edges[1:], counts, strict=False)
        if count
    )
    p5, p50, p95 = map(_short, np.percentile(values, [5, 50, 95]))
    return Chart(
        frame=BARS,
        title=title,
        x_label=unit,
        y_label="clips",
        x_ticks=ticks(ends, low, high, to_x),
        y_ticks=ticks(y_values, 0, y_values[-1], to_y),
        bars=bars,
        words=f"Median {p50}; nine clips in ten lie between {p5} and {p95}.",
    )


def _short(value: float) -> str:
    """Three significant digits, never in powers of ten."""
    return plain(float(f"{value:.3g}"))


def _magma() -> np.ndarray:
    """uint8 [levels, 3], dark to light; brightness alone tells the order."""
    from matplotlib import colormaps

    return (colormaps["magma"](np.linspace(0.0, 1.0, _SPECTROGRAM_LEVELS))[:, :3] * 255).round().astype(np.uint8)


def _pooled(values: np.ndarray, size: int, axis: int) -> np.ndarray:
    """Means of `size` nearly equal blocks along `axis`; unchanged where it is no longer than that."""
    if values.shape[axis] <= size:
        return values
    return np.stack([block.mean(axis=axis) for block in np.array_split(values, size, axis)], axis)


def _picture(log_mel: np.ndarray, columns: int, rows: int) -> str:
    """PNG data URI of dB [frames, mels]: time to the right, pitch upwards, averaged to at most `columns` x `rows`."""
    from PIL import Image

    decibels = np.clip(np.nan_to_num(log_mel, nan=FLOOR_DB), FLOOR_DB, 0.0)
    shares = 1.0 - _pooled(_pooled(decibels, columns, 0), rows, 1) / FLOOR_DB  # [columns, rows] in [0, 1]
    levels = np.round(shares.T[::-1] * (_SPECTROGRAM_LEVELS - 1)).astype(np.uint8)
    image = Image.fromarray(np.ascontiguousarray(levels)).convert("P")
    image.putpalette(_magma().tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def _spectrograms(inputs: ReportInputs) -> list[Spectrogram]:
    """The first sample of each genre, in the order of the genres."""
    from librosa import mel_frequencies

    first = {genre: (track_id, log_mel, seconds) for track_id, genre, log_mel, seconds in reversed(inputs.samples)}
    shown = [(genre, *first[genre]) for genre in inputs.genres if genre in first]
    pixels = _SPECTROGRAM_PIXELS // max(len(shown), 1)
    rows = 128 if pixels >= 128 * 320 else 64
    columns = min(640, pixels // rows)
    top_hertz = inputs.fmax or inputs.sample_rate / 2
    pictures = []
    for genre, track_id, log_mel, seconds in shown:
        frames, mels = log_mel.shape
        extent = frames * inputs.hop_length / inputs.sample_rate
        to_x = linear(0.0, extent, PICTURE.left, PICTURE.right)
        to_y = linear(0.0, mels - 1.0, PICTURE.bottom, PICTURE.top)
        bands = mel_frequencies(n_mels=mels, fmin=inputs.fmin, fmax=top_hertz) / 1000  # kHz [mels]
        pictures.append(
            Spectrogram(
                frame=PICTURE,
                track_id=track_id,
                genre=genre,
                seconds=seconds,
                image=_picture(log_mel, columns, rows),
                x_ticks=ticks(tick_values(0.0, extent), 0.0, extent, to_x),
                y_ticks=tuple(
                    Tick(to_y(float(np.interp(value, bands, np.arange(mels)))), plain(value))
                    for value in _KILOHERTZ_TICKS
                    if bands[0] <= value <= bands[-1]
                ),
            )
        )
    return pictures


def _verdict(inputs: ReportInputs) -> dict[str, str]:
    """The banner: `state` for its colour, `headline` and `sentence` for its words."""
    if inputs.pushed is not None:
        return {"state": "good", "headline": f"Pushed as version {inputs.pushed['version']}"}
    if inputs.verdict.blessed:
        return {"state": "good", "headline": "Accepted, but not pushed"}
    return {"state": "bad", "headline": "Refused"}


def _accuracies(verdict: Verdict, judged: Judged) -> dict[str, Any]:
    """Accuracy with its interval, per model, and the two figures to hold it against: the floor and pure chance."""
    models = [("this model", judged.candidate)]
    if judged.champion:
        models.append((f"version {judged.champion.version}", judged.champion.metrics))
    floor = "min_accuracy" if judged is verdict else "golden.min_accuracy"
    floors = [check.limit for check in verdict.checks if check.name == floor]
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
        "chance": 1.0 / len(verdict.genres),
    }


def _headline_metrics(judged: Judged) -> list[dict[str, Any]]:
    """The overall figures, the champion's beside them."""
    champion = judged.champion.metrics if judged.champion else None

    def row(name: str, told: str, show: Callable[[Metrics], str], better: str) -> dict[str, Any]:
        return {
            "name": name,
            "told": told,
            "value": show(judged.candidate),
            "champion": show(champion) if champion else "",
            "better": better,
        }

    return [
        row("Accuracy", "share of clips named right", lambda m: percent(m.accuracy), "higher"),
        row("Macro-F1", "mean F1 of the genres", lambda m: number(m.macro_f1, 3), "higher"),
        row("Log loss", "mean −ln p of the true genre", lambda m: number(m.log_loss, 3), "lower"),
        row(
            "Calibration error", "confidence against accuracy", lambda m: percent(m.expected_calibration_error), "lower"
        ),
    ]


def _sets(verdict: Verdict) -> list[dict[str, Any]]:
    """What is told of each set of clips: the test clips and, where that is another, the golden set."""
    sets = []
    for judged in verdict.sets:
        confusion = _confusion(judged.candidate)
        sets.append(
            {
                "judged": judged,
                "accuracies": _accuracies(verdict, judged),
                "metrics": _headline_metrics(judged),
                "confusion": confusion,
                "common_mistakes": _common_mistakes(confusion),
            }
        )
    return sets


def _confusion(metrics: Metrics) -> list[dict[str, Any]]:
    """Rows of the confusion matrix: the true genre, its clips, and a cell per predicted genre with its share."""
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


def _common_mistakes(rows: Sequence[Mapping[str, Any]], most: int = 3) -> list[dict[str, Any]]:
    """The most frequent confusions, most frequent first."""
    wrong = [
        {"genre": row["genre"], "predicted": cell["predicted"], "count": cell["count"]}
        for row in rows
        for cell in row["cells"]
        if cell["count"] and not cell["right"]
    ]
    return sorted(wrong, key=lambda mistake: -mistake["count"])[:most]


def _mistakes(inputs: ReportInputs) -> dict[str, Any]:
    """The wrong predictions on the test clips that were made with the most confidence."""
    paths = {str(row.get("track_id")): row.get("path", "") for row in inputs.tracks}
    predictions = [row for row in inputs.predictions if row.split == inputs.verdict.split]
    wrong = [row for row in predictions if not row.correct]
    wrong.sort(key=lambda row: (-row.probabilities[row.predicted], row.track_id))
    shown = [
        {
            "track_id": row.track_id,
            "path": paths.get(row.track_id, ""),
            "genre": row.genre,
            "predicted": row.predicted,
            "p": row.probabilities[row.predicted],
            "p_true": row.probabilities[row.genre],
            "champion": row.champion_predicted,
        }
        for row in wrong[:MISTAKES_SHOWN]
    ]
    return {
        "shown": shown,
        "paths": any(row["path"] for row in shown),
        "wrong": len(wrong),
        "clips": len(predictions),
    }


def _gap(train: float, validation: float) -> str:
    """The distance between training and validation accuracy, in words."""
    points = round(100 * (train - validation))
    measured = f"{percent(train)} of the training clips right and {percent(validation)} of the validation clips"
    if points < 0:
        judgement = "better on music it never saw, as dropout and augmentation hold it back only in training"
    elif points <= 5:
        judgement = "a small gap: it generalises, and a larger model or longer training may still gain"
    elif points <= 15:
        judgement = "a moderate gap: some of what it learned holds for the training songs only"
    else:
        judgement = "a wide gap: it has learned the training songs by heart; more music or augmentation would help most"
    return f"{measured}: {abs(points)} point{'' if abs(points) == 1 else 's'} apart, {judgement}."


def _training(history: Mapping[str, Any]) -> dict[str, Any]:
    """Curves, facts and words about the training."""
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
    words = f"The model got {_gap(train, validation)}" if math.isfinite(train) and math.isfinite(validation) else ""
    chosen = ", ".join(
        f"{name} {value}" for name, value in (history.get("chosen") or {}).items() if not isinstance(value, list | dict)
    )
    return {"charts": [chart for chart in charts if chart], "epochs": len(epochs), "words": words, "chosen": chosen}


def _facts(inputs: ReportInputs) -> list[tuple[str, str]]:
    """The model and its training, as name and value; the history's figures where both tell."""
    history = inputs.history or {}
    facts: dict[str, Any] = {"kind": history.get("kind"), **inputs.model}
    facts |= {
        key: history[key]
        for key in ("kind", "parameters", "strategy", "best_epoch", "temperature")
        if history.get(key) is not None
    }
    facts["training_time"] = f"{number(history.get('seconds'), 1)} s" if history.get("seconds") is not None else None
    return [(name.replace("_", " "), _fact(value)) for name, value in facts.items() if value is not None]


def _fact(value: Any) -> str:
    """A fact of any type as a person would write it."""
    match value:
        case bool():
            return "yes" if value else "no"
        case int():
            return plain(value)
        case float() if math.isfinite(value):
            return _short(value)
        case Mapping():
            return ", ".join(f"{name} {_fact(part)}" for name, part in value.items())
        case list() | tuple():
            return ", ".join(map(_fact, value))
    return str(value)


def _tally(rows: Iterable[Mapping[str, Any]], name: str) -> list[tuple[str, int]]:
    """How often each value of a column occurs, most frequent first."""
    counted = Counter(str(row[name]) for row in rows if row.get(name) not in (None, ""))
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))


def _data(inputs: ReportInputs) -> dict[str, Any]:
    """Counts, durations, formats, health and rejects."""
    splits = [name for name in SPLITS if name in inputs.manifest.splits]
    splits += [name for name in inputs.manifest.splits if name not in SPLITS]
    counts = {name: inputs.manifest.splits[name] for name in splits}
    rates = [(f"{plain(to_float(rate))} Hz", clips) for rate, clips in _tally(inputs.tracks, "source_rate")]
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


def render_report(inputs: ReportInputs) -> str:
    """The report of a run as one HTML page. All text is escaped; the same inputs give the same page.

    Returns:
      A complete HTML document that refers to nothing outside itself.
    """
    templates = environment()
    templates.filters.update(p_value=p_value)
    return templates.get_template("report.html").render(
        inputs=inputs,
        verdict=inputs.verdict,
        banner=_verdict(inputs),
        sets=_sets(inputs.verdict),
        mistakes=_mistakes(inputs),
        training=_training(inputs.history or {}),
        facts=_facts(inputs),
        data=_data(inputs),
        spectrograms=_spectrograms(inputs),
        magma=[f"rgb({red} {green} {blue})" for red, green, blue in _magma()[::-6][::-1].tolist()],
        timeline=inputs.timeline and timeline_chart(inputs.timeline),
        config=json.dumps(inputs.config, indent=2, ensure_ascii=False, default=str),
    )
