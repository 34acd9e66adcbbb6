"""`genre spans`: lists the spans of the library, how each is used, and which were set aside."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.commands.tables import show_table
from pipeline.output import echo

if TYPE_CHECKING:
    from pipeline.config.settings import PipelineConfig
    from pipeline.workspace import Workspace


@click.command()
@options.configuration
@options.data
@options.workspace
@click.option("--restore", type=click.IntRange(min=0), metavar="N", help="Use span N again, which was set aside.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list.")
def spans(
    config_file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workspace: Path | None,
    restore: int | None,
    as_json: bool,
) -> None:
    """List the spans of the library: their clips, which the next run trains on, and which versions were.

    A span that cannot be imported, or does not fit the schema, is set aside: `genre retrain` and `genre watch` train
    without it. Once it is repaired, --restore uses it again.
    """
    config, place = options.configured(config_file, overrides, data=data, workspace=workspace)
    if restore is not None:
        from components.library.set_aside import restore as restore_span

        restore_span(place.set_aside, restore)
        echo(f"span {restore} is used again")
        return
    accounts, problem = _accounts(config, place)
    if as_json:
        click.echo(json.dumps(accounts, indent=2))
    else:
        _show(accounts)
    if problem:
        echo(f"no run now: {problem}", err=True)


def _show(accounts: list[dict[str, Any]]) -> None:
    from components.library.layout import SPLITS

    def row(account: dict[str, Any]) -> list[object]:
        aside = account["set_aside"]
        uses = [name for name in ("window", "golden", "excluded") if account[name]] + (["set aside"] if aside else [])
        return [
            account["span"],
            *(account["clips"][split] for split in SPLITS),
            ", ".join(uses),
            f"version {', '.join(map(str, account['versions']))}" if account["versions"] else "",
            f"{aside['time']} {' '.join(aside['reason'].split())}" if aside else "",
        ]

    show_table(["span", *SPLITS, "", "trained", ""], map(row, accounts))


def _accounts(config: "PipelineConfig", workspace: "Workspace") -> tuple[list[dict[str, Any]], str]:
    """Returns all that is known about each complete span, in order; and why a run now would fail, or ""."""
    from components.base.errors import UserError
    from components.library.layout import SPLITS, complete_spans, read_library, read_manifest
    from components.library.left_out import set_aside_spans
    from components.store.model_store import read_lineage, versions
    from pipeline.planning.preflight import golden_manifest, window_of
    from pipeline.workspace import root_path

    root = root_path(config.data)
    read_library(root)
    there = complete_spans(root)
    aside = {record.span: record for record in set_aside_spans(workspace.set_aside, root)}
    window: tuple[int, ...] = ()
    golden = None
    problem = ""
    try:
        golden = golden_manifest(config, root, there)
        window = window_of(config, root, there, {*config.exclude, *aside})
    except UserError as error:
        problem = str(error)
    lineages = {version: read_lineage(workspace.models, version) for version in versions(workspace.models)}
    accounts = []
    for span in there:
        splits = read_manifest(root, span).splits
        accounts.append(
            {
                "span": span,
                "clips": {split: splits[split].clips if split in splits else 0 for split in SPLITS},
                "window": span in window,
                "golden": golden is not None and span == golden.span,
                "excluded": span in config.exclude,
                "set_aside": aside[span].model_dump(mode="json", include={"time", "reason"}) if span in aside else None,
                "versions": [
                    version
                    for version, lineage in lineages.items()
                    if lineage and lineage.data == str(root) and span in lineage.window
                ],
            }
        )
    return accounts, problem
