"""The comparison of kinds of model: its records, a table for a terminal, and files for a browser or a document."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from components.base.section import Section
from components.evaluation.results import CALIBRATION_BINS, Metrics
from components.reporting.page import environment

if TYPE_CHECKING:
    from rich.console import Console

SIGNIFICANCE = 0.05
"""Largest p-value, after Holm's correction, at which one kind counts as better than another."""
COLUMNS = (
    "model",
    "accuracy",
    "95 %",
    "macro-F1",
    "ECE",
    "train",
    "held out",
    "gap",
    "fit CPU s",
    "MB",
    "CPU ms/clip",
    "significantly better than",
)
WIDE = ("train", "held out")
"""Columns for which a terminal has no room."""
_FIGURES = ("train_accuracy", "validation_accuracy", "seconds", "megabytes", "milliseconds")


class FoldOutcome(Section):
    """One kind, fitted and tested once."""

    test_clips: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    train_accuracy: float
    validation_accuracy: float
    seconds: float
    megabytes: float | None
    """None where size and speed were not measured, as in all folds but the first."""
    milliseconds: float | None


class Row(Section):
    """One kind over all folds."""

    kind: str
    metrics: Metrics
    """On the test clips of all folds together."""
    fold_accuracies: tuple[float, ...]
    train_accuracy: float
    """Mean over folds, on whole clips without augmentation, of those that the model learned from."""
    validation_accuracy: float
    """Mean over folds, on the clips by which settings, epoch and calibration were chosen."""
    seconds: float
    """Processor time of fitting, mean over folds, without what is computed once for all folds."""
    megabytes: float
    """Size of the exported SavedModel, in millions of bytes."""
    milliseconds: float
    """Processor time from WAV bytes to probabilities, one clip at a time, the median."""
    better_than: tuple[str, ...]
    """Kinds that are significantly worse: exact McNemar test on the same clips, Holm's correction over all pairs."""


class Comparison(Section):
    """The kinds of model, compared on the same clips."""

    data: str
    clips: int
    genres: tuple[str, ...]
    folds: tuple[str, ...]
    """The test clips' value in the fold column, one per fold; `test` where the library's own split was used."""
    rows: tuple[Row, ...]
    """The most accurate first."""
    left_out: dict[str, str]
    """Reasons by kind that could not be fitted."""


def cells(row: Row) -> tuple[str, ...]:
    """Formats a row, under COLUMNS."""
    metrics = row.metrics
    low, high = metrics.accuracy_interval
    return (
        row.kind,
        f"{metrics.accuracy:.1%}",
        f"{100 * low:.1f}-{100 * high:.1f}",
        f"{metrics.macro_f1:.3f}",
        f"{metrics.expected_calibration_error:.1%}",
        f"{row.train_accuracy:.1%}",
        f"{row.validation_accuracy:.1%}",
        f"{100 * (row.train_accuracy - metrics.accuracy):+.1f}",
        f"{row.seconds:.1f}",
        f"{row.megabytes:.1f}",
        f"{row.milliseconds:.1f}",
        ", ".join(row.better_than) or "-",
    )


def show(comparison: Comparison, console: "Console") -> None:
    """Prints the table."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    shown = [index for index, name in enumerate(COLUMNS) if name not in WIDE]
    for index in shown:
        text = index in (0, len(COLUMNS) - 1)
        table.add_column(COLUMNS[index], justify="left" if text else "right", no_wrap=index < len(COLUMNS) - 1)
    for row in comparison.rows:
        texts = cells(row)
        table.add_row(*(texts[index] for index in shown))
    console.print()
    console.print(table)


def markdown(rows: Sequence[tuple[str, ...]], numbers: slice) -> str:
    """Returns a table for a document.

    Args:
      rows: the first one has the names of the columns.
      numbers: columns of numbers, which stand to the right.
    """
    rule = np.full(len(rows[0]), "---", object)
    rule[numbers] = "---:"
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], tuple(rule), *rows[1:]))


def render_comparison(comparison: Comparison) -> str:
    """Renders the comparison as one HTML page. All text is escaped; the same comparison gives the same page."""
    rows = [(row, cells(row)) for row in comparison.rows]
    template = environment().get_template("comparison.html")
    return template.render(comparison=comparison, columns=COLUMNS, rows=rows, calibration_bins=CALIBRATION_BINS)


def write(comparison: Comparison, directory: Path) -> None:
    """Writes comparison.json, comparison.csv (figures at full precision), comparison.md and comparison.html."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "comparison.json").write_text(comparison.model_dump_json(indent=2), encoding="utf-8")
    (directory / "comparison.md").write_text(
        markdown([COLUMNS, *map(cells, comparison.rows)], slice(1, -1)), encoding="utf-8"
    )
    (directory / "comparison.html").write_text(render_comparison(comparison), encoding="utf-8")
    with (directory / "comparison.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        folds = [f"accuracy_fold_{name}" for name in comparison.folds] if len(comparison.folds) > 1 else []
        writer.writerow(
            ["model", "accuracy", "low", "high", "macro_f1", "calibration_error", *_FIGURES, "better_than", *folds]
        )
        for row in comparison.rows:
            metrics = row.metrics
            writer.writerow(
                [
                    row.kind,
                    metrics.accuracy,
                    *metrics.accuracy_interval,
                    metrics.macro_f1,
                    metrics.expected_calibration_error,
                    *(getattr(row, name) for name in _FIGURES),
                    " ".join(row.better_than),
                    *(row.fold_accuracies if folds else ()),
                ]
            )


def best(comparison: Comparison) -> Row:
    """Returns the kind to deploy: of those that no other is significantly better than, that of the lowest log loss."""
    beaten = {kind for row in comparison.rows for kind in row.better_than}
    return min((row for row in comparison.rows if row.kind not in beaten), key=lambda row: row.metrics.log_loss)


def curves(comparisons: Mapping[int, Comparison]) -> list[tuple[str, ...]]:
    """Returns the accuracies of kinds that learned from fewer clips: a row per kind, under the names of the columns.

    Args:
      comparisons: by the number of clips per genre to learn from.
    """
    kinds = [row.kind for row in comparisons[max(comparisons)].rows]
    found = {
        count: {row.kind: f"{row.metrics.accuracy:.1%}" for row in comparison.rows}
        for count, comparison in comparisons.items()
    }
    rows = [(kind, *(figures.get(kind, "-") for figures in found.values())) for kind in kinds]
    return [("model", *(f"{count} clips per genre" for count in found)), *rows]
