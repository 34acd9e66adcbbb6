"""Prints the outcome of a run for a person."""

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console
    from rich.table import Table

    from components.drift.report import DriftReport
    from components.evaluation.results import Judged, Verdict
    from components.retraining.policy import Decision
    from pipeline.local.summary import Summary

_UNLIMITED = 10_000


def show_outcome(console: "Console", summary: "Summary", *, dry_run: bool = False) -> None:
    """Prints drift, an ensemble, and the gate's verdict or, if the run did not come that far, the decision."""
    # That drift was not tested is news only in the run that found it: a later one takes it from the cache.
    if summary.drift and (summary.drift.p_values or not summary.nodes["DriftDetector"].cached):
        _show_drift(console, summary.drift)
    if summary.model:
        console.print(f"\nmodel: {summary.model}", soft_wrap=True)
    if summary.verdict:
        _show_verdict(console, summary.verdict)
        console.print(f"\n{_push(summary)}", soft_wrap=True)
        console.print(f"report: {summary.report}", soft_wrap=True)
    elif summary.decision:
        _show_decision(console, summary.decision, dry_run=dry_run)
        console.print(_served(summary), soft_wrap=True)
    else:
        return
    console.print(f"log: {summary.log}", soft_wrap=True)


def _show_drift(console: "Console", drift: "DriftReport") -> None:
    console.print()
    for line in drift.account:
        console.print(line, soft_wrap=True)


def _show_decision(console: "Console", decision: "Decision", *, dry_run: bool) -> None:
    console.print(f"\n{decision.action}", style="bold", end="")
    console.print(" (dry run: nothing was trained)" if dry_run else "")
    for reason in decision.reasons:
        console.print(f"  {reason}", soft_wrap=True)


def _show_verdict(console: "Console", verdict: "Verdict") -> None:
    console.print()
    for judged in verdict.sets:
        console.print(judged.headline, soft_wrap=True)
    side_by_side = _genre_table(verdict, verdict.sets)
    needed = console.measure(side_by_side, options=console.options.update(max_width=_UNLIMITED)).maximum
    tables = [side_by_side] if needed <= console.width else [_genre_table(verdict, [each]) for each in verdict.sets]
    for table in tables:
        console.print()
        console.print(table)
    outcome, style = ("blessed", "bold green") if verdict.blessed else ("refused", "bold red")
    console.print(f"\n{outcome}", style=style)
    for line in verdict.account:
        console.print(f"  {line}", soft_wrap=True)


def _genre_table(verdict: "Verdict", sets: "Sequence[Judged]") -> "Table":
    """Returns the figures of each genre on some of the sets that the verdict is about."""
    from rich.table import Table

    from components.reporting.page import number

    table = Table("genre", box=None, pad_edge=False)
    for judged in sets:
        of_set = f"{judged.split}\n" if len(verdict.sets) > 1 else ""
        for column in ("precision", "recall", "F1", "clips"):
            table.add_column(of_set + column, justify="right", no_wrap=True)
    for genre in verdict.genres:
        found = (judged.candidate.genres[genre] for judged in sets)
        figures = ((*map(number, (of.precision, of.recall, of.f1)), str(of.support)) for of in found)
        table.add_row(genre, *itertools.chain(*figures))
    return table


def _push(summary: "Summary") -> str:
    """Describes what became of the candidate."""
    if summary.pushed and not summary.newly_pushed:
        known = "" if summary.pushed == summary.served else f"this candidate is version {summary.pushed.version}; "
        return f"nothing to do: {known}{_served(summary)}"
    if summary.pushed:
        return f"pushed as version {summary.pushed.version}: {summary.pushed.path}"
    if summary.rolled_back and summary.served:
        return f"not pushed: it is version {summary.rolled_back}, which was rolled back; {_served(summary)}"
    return f"not pushed; {_served(summary)}"


def _served(summary: "Summary") -> str:
    return f"version {summary.served.version} stays served" if summary.served else "no model is served yet"
