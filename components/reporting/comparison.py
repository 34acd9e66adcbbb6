"""The comparison of kinds of model: its records, as a table for a terminal, and as a page."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
from components.base.section import Section
from components.evaluation.results import Metrics

COLUMNS = (
    "model",
    "accuracy",
    "95 %",
    "macro-F1",
    "ECE",
    "train",
    "validation",
    "gap",
    "fit s",
    "MB",
    "ms/clip",
    "significantly better than",
)


WIDE = ("train", "validation")
"""Columns for which a terminal has no room."""


def cells(row: "Row") -> tuple[str, ...]:
    """A row as text, under COLUMNS."""
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
        f"{100 * (row.train_accuracy - row.validation_accuracy):+.1f}",
        f"{row.seconds:.1f}",
        f"{row.megabytes:.1f}",
        f"{row.milliseconds:.1f}",
        ", ".join(row.better_than) or "-",
    )


def show(comparison: "Comparison", console: "Console") -> None:
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


def markdown(comparison: "Comparison") -> str:
    """The table, for a document."""
    rows = [COLUMNS, *(cells(row) for row in comparison.rows)]
    rule = ["---", *["---:"] * (len(COLUMNS) - 2), "---"]
    return "".join(f"| {' | '.join(row)} |\n" for row in (rows[0], rule, *rows[1:]))


def write(comparison: "Comparison", directory: Path) -> None:
    """Writes comparison.json, comparison.csv (figures at full precision), comparison.md and comparison.html."""
    from jinja2 import Environment, PackageLoader

    directory.mkdir(parents=True, exist_ok=True)
    (directory / "comparison.json").write_text(comparison.model_dump_json(indent=2), encoding="utf-8")
    (directory / "comparison.md").write_text(markdown(comparison), encoding="utf-8")
    with (directory / "comparison.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        folds = [f"accuracy_fold_{name}" for name in comparison.folds] if len(comparison.folds) > 1 else []
        figures = ("train_accuracy", "validation_accuracy", "seconds", "megabytes", "milliseconds")
        writer.writerow(
            ["model", "accuracy", "low", "high", "macro_f1", "calibration_error", *figures, "better_than", *folds]
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
                    *(getattr(row, name) for name in figures),
                    " ".join(row.better_than),
                    *(row.fold_accuracies if folds else ()),
                ]
            )
    page = Environment(loader=PackageLoader("components.reporting", "."), autoescape=True).get_template(
        "comparison.html"
    )
    (directory / "comparison.html").write_text(
        page.render(comparison=comparison, columns=COLUMNS, rows=[(row, cells(row)) for row in comparison.rows]),
        encoding="utf-8",
    )


SIGNIFICANCE = 0.05


class FoldOutcome(Section):
    """One kind, fitted and tested once."""

    test_clips: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    train_accuracy: float
    validation_accuracy: float
    seconds: float
    megabytes: float
    milliseconds: float


class Row(Section):
    """One kind over all folds."""

    kind: str
    metrics: Metrics
    """Of the test clips of all folds together."""
    fold_accuracies: tuple[float, ...]
    train_accuracy: float
    """Mean over folds, on whole clips without augmentation."""
    validation_accuracy: float
    seconds: float
    """Of fitting, mean over folds."""
    megabytes: float
    """Of the exported SavedModel."""
    milliseconds: float
    """From wav bytes to probabilities, one clip at a time; median."""
    better_than: tuple[str, ...]
    """Kinds that are significantly worse: exact McNemar test on the same clips, Holm's correction over all pairs."""


class Comparison(Section):
    """The answer."""

    data: str
    clips: int
    genres: tuple[str, ...]
    folds: tuple[str, ...]
    """One per fold: what the test clips have in the fold column; `test` where the split was used."""
    rows: tuple[Row, ...]
    """The most accurate first."""
    left_out: dict[str, str]
    """Kinds that could not be fitted, and why."""
