"""A comparison for people and for programs: a table on the terminal, HTML, Markdown, CSV and JSON."""

import csv
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.compare import Comparison, Row

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
    page = Environment(loader=PackageLoader("pipeline", "."), autoescape=True).get_template("comparison.html")
    (directory / "comparison.html").write_text(
        page.render(comparison=comparison, columns=COLUMNS, rows=[(row, cells(row)) for row in comparison.rows]),
        encoding="utf-8",
    )
