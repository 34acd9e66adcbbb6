"""`genre models` and `genre rollback`: lists the versions of the model store, and serves an earlier one again."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.commands.tables import show_table
from pipeline.output import echo

if TYPE_CHECKING:
    from etils import epath

    from components.evaluation.results import Judged


@click.command()
@options.configuration
@options.workspace
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list, with the whole lineage and verdict.")
def models(config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None, as_json: bool) -> None:
    """List the versions in the model store: which is served, the data of each, and its accuracy at the gate."""
    from components.retraining.policy import spans_in_words
    from pipeline.workspace import nothing_there

    place = options.configured(config_file, overrides, workspace=workspace)[1]
    accounts = _accounts(place.models)
    if as_json:
        click.echo(json.dumps(accounts, indent=2))
    if not accounts:
        raise nothing_there(place)
    if as_json:
        return

    figures = {"test": ("accuracy", "clips")}
    if any(account["golden"] for account in accounts):
        figures["golden"] = ("golden", "clips")

    def row(account: dict[str, Any]) -> list[object]:
        lineage, withdrawn = account["lineage"], account["withdrawn"]
        judged = [account[name] for name in figures]
        return [
            account["version"],
            "served" if account["served"] else "rolled back" if withdrawn else "",
            account["kind"] or "",
            spans_in_words(tuple(lineage["window"])) if lineage else "unknown",
            *(cell for on in judged for cell in ((f"{on['accuracy']:.1%}", on["clips"]) if on else ("", ""))),
            (lineage["parent"] or "") if lineage else "",
            f"{withdrawn['time']} {withdrawn['reason']}" if withdrawn else "",
        ]

    names = [name for columns in figures.values() for name in columns]
    show_table(["version", "", "kind", "data", *names, "parent", ""], map(row, accounts))


@click.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@options.configuration
@options.workspace
@click.option("--reason", default="", help="Why, for the history.")
def rollback(
    version: int | None, config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None, reason: str
) -> None:
    """Serve an earlier version again, and withdraw the present one for good.

    Without VERSION, serves the version that the present one was judged against. The model that is rolled back stays in
    the store, but no later run pushes it again, unless its files were damaged.
    """
    from components.store.model_store import current_version, roll_back, versions, withdrawal_of
    from pipeline.workspace import nothing_there

    place = options.configured(config_file, overrides, workspace=workspace)[1]
    store = place.models
    if current_version(store) is None and not versions(store):
        raise nothing_there(place)
    reason = reason.encode(errors="backslashreplace").decode()  # an argument may hold bytes that are no text
    former, served = roll_back(store, version, reason)
    now = f"version {served} is served" if served else "no version is served: there is no other. `genre run` pushes one"
    withdrawal = withdrawal_of(store, former)
    fate = "will not be pushed again"
    if withdrawal and withdrawal.damaged:
        fate = "was damaged; what is left of it is in `damaged`, and the same model may be pushed again"
    echo(f"{now}; version {former} is rolled back and {fate}")


def _figures(judged: "Judged | None") -> dict[str, Any] | None:
    """Returns the overall figures of a version on a set of clips."""
    if judged is None:
        return None
    overall = {"clips", "accuracy", "accuracy_interval", "macro_f1"}
    return {"span": judged.span, **judged.candidate.model_dump(mode="json", include=overall)}


def _accounts(store: "epath.Path") -> list[dict[str, Any]]:
    """Returns all that the store records about each version, the newest first; null where it has no record."""
    from components.store.model_store import (
        current_version,
        find_version_card,
        read_lineage,
        read_verdict,
        version_dir,
        versions,
        withdrawal_of,
    )

    served = current_version(store)
    accounts = []
    for version in reversed(versions(store)):
        card = find_version_card(store, version)
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
