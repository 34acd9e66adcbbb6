"""`genre models` and `genre rollback`: what is served, what was, and back to it."""

import itertools
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options

if TYPE_CHECKING:
    from etils import epath

    from components.evaluation.results import Judged

_WIDE = 200
"""Columns where there is no terminal, so that a program finds a version on a line."""


@click.command()
@options.configuration
@options.workspace
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with the whole lineage and verdict.")
def models(config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None, as_json: bool) -> None:
    """List the versions in the model store: which is served, where each came from, what the gate said of it."""
    store = options.configured(config_file, overrides, workspace=workspace)[1].models
    accounts = _accounts(store)
    if as_json:
        click.echo(json.dumps(accounts, indent=2))
        return
    if not accounts:
        click.echo(f"{store}: no model has been pushed yet.")
        return

    from rich.console import Console
    from rich.table import Table

    from components.retraining.policy import spans_in_words

    sets = ["test", "golden"] if any(account["golden"] for account in accounts) else ["test"]
    table = Table("version", "", "kind", "data", box=None, pad_edge=False)
    for name in sets:
        table.add_column("accuracy" if name == "test" else name, justify="right")
        table.add_column("clips", justify="right")
    table.add_column("parent", justify="right")
    table.add_column("")
    for account in accounts:
        lineage, withdrawn = account["lineage"], account["withdrawn"]
        figures = [account[name] for name in sets]
        shown = [(f"{found['accuracy']:.1%}", str(found["clips"])) if found else ("", "") for found in figures]
        table.add_row(
            str(account["version"]),
            "served" if account["served"] else "rolled back" if withdrawn else "",
            account["kind"] or "",
            spans_in_words(tuple(lineage["window"]) or (lineage["span"],)) if lineage else "unknown",
            *itertools.chain(*shown),
            str(lineage["parent"] or "") if lineage else "",
            f"{withdrawn['time']} {withdrawn['reason']}".strip() if withdrawn else "",
        )
    Console(highlight=False, width=None if sys.stdout.isatty() else _WIDE).print(table)


@click.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@options.configuration
@options.workspace
@click.option("--reason", default="", help="For those who ask later.")
def rollback(
    version: int | None, config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None, reason: str
) -> None:
    """Serve an earlier version again, and never the present one.

    Without VERSION, the one that the present version was judged against. The model that is rolled back stays in the
    store, but no later run pushes it again.
    """
    from components.store.model_store import roll_back

    store = options.configured(config_file, overrides, workspace=workspace)[1].models
    former, served = roll_back(store, version, reason)
    click.echo(f"version {served} is served; version {former} is rolled back and will not be pushed again")


def _figures(judged: "Judged | None") -> dict[str, Any] | None:
    """The overall figures of a version on a set of clips."""
    if judged is None:
        return None
    overall = {"clips", "accuracy", "accuracy_interval", "macro_f1"}
    return {"span": judged.span, **judged.candidate.model_dump(mode="json", include=overall)}


def _accounts(store: "epath.Path") -> list[dict[str, Any]]:
    """Everything that the store knows of each version, the newest first; null where it knows nothing."""
    from components.store.model_card import find_card
    from components.store.model_store import (
        current_version,
        read_lineage,
        read_verdict,
        version_dir,
        versions,
        withdrawal_of,
    )

    served = current_version(store)
    accounts = []
    for version in reversed(versions(store)):
        card = find_card(version_dir(store, version))
        verdict = read_verdict(store, version)
        records = {
            "lineage": read_lineage(store, version),
            "verdict": verdict,
            "withdrawn": withdrawal_of(store, version),
        }
        accounts.append(
            {
                "version": version,
                "served": version == served,
                "path": str(version_dir(store, version)),
                "kind": card and card.kind,
                "test": _figures(verdict),
                "golden": _figures(verdict and verdict.on_golden),
                **{name: record and record.model_dump(mode="json") for name, record in records.items()},
            }
        )
    return accounts
