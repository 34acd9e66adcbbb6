"""Prints the outcome of a run for a person."""

import itertools
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.local.summary import Summary


def show_decision(console: "Console", summary: "Summary", *, dry_run: bool) -> None:
    """Why nothing was trained."""
    console.print(f"\n[bold]{summary.decision.action}[/]" + (" (dry run: nothing was trained)" if dry_run else ""))
    for reason in summary.decision.reasons:
        console.print(f"  {reason}", markup=False, soft_wrap=True)
    served = f"version {summary.served.version} stays served" if summary.served else "no model is served yet"
    console.print(f"{served}\nlog: {summary.log}", soft_wrap=True)


def show_verdict(console: "Console", summary: "Summary") -> None:
    """The outcome, for a person."""
    from rich.table import Table

    verdict = summary.verdict
    console.print()
    for judged in verdict.sets:
        console.print(judged.headline, markup=False, soft_wrap=True)
    console.print()
    table = Table("genre", box=None, pad_edge=False)
    for judged in verdict.sets:
        of_set = f"{judged.split}\n" if len(verdict.sets) > 1 else ""
        for column in ("precision", "recall", "F1", "clips"):
            table.add_column(of_set + column, justify="right")
    for genre in verdict.genres:
        found = (judged.candidate.genres[genre] for judged in verdict.sets)
        figures = ((f"{of.precision:.2f}", f"{of.recall:.2f}", f"{of.f1:.2f}", str(of.support)) for of in found)
        table.add_row(genre, *itertools.chain(*figures))
    console.print(table)
    console.print("\n[bold green]blessed[/]" if verdict.blessed else "\n[bold red]refused[/]")
    for line in verdict.account:
        console.print(f"  {line}", markup=False, soft_wrap=True)
    if summary.pushed:
        console.print(f"\npushed as version {summary.pushed.version}: {summary.pushed.path}", soft_wrap=True)
    elif summary.rolled_back and summary.served:
        console.print(
            f"\nnot pushed: it is version {summary.rolled_back}, which was rolled back; "
            f"version {summary.served.version} stays served",
            soft_wrap=True,
        )
    elif summary.served:
        console.print(f"\nnot pushed; version {summary.served.version} stays served", soft_wrap=True)
    else:
        console.print("\nnot pushed; no model is served yet")
    console.print(f"report: {summary.report}\nlog: {summary.log}", soft_wrap=True)
