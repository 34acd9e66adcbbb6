"""`genre run`: the whole DAG, on this machine."""

import itertools
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.errors import UserError, storage_remedy
from pipeline.commands import options

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.console import NodeTable
    from pipeline.local import NodeState
    from pipeline.retrain import Prospect
    from pipeline.summary import Summary
    from pipeline.workspace import Workspace

_LOADING = "TensorFlow, TFX"


@click.command()
@options.configuration
@options.data
@options.workspace
@options.summary
def run(
    config_file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workspace: Path | None,
    summary: Path | None,
) -> None:
    """Validate, transform, train, judge and, if the gate agrees, deploy.

    Nodes whose inputs, settings and source have not changed since an earlier run are taken from there.
    """
    from components.beam import check_local
    from pipeline.config import load_config
    from pipeline.retrain import prospect

    config = load_config(config_file, options.with_paths(overrides, data=data, workspace=workspace))
    check_local(config.beam)
    place = prospect(config, asked=True).inputs.workspace
    with place.locked():
        finish(execute(prospect(config, asked=True)), place, summary)


def finish(result: "Summary", workspace: "Workspace", file: Path | None) -> None:
    """Writes the summary of a run, to `file`, too, if there is one; a run that failed ends in its words.

    Raises:
      UserError: the run failed, or the summary cannot be written.
    """
    text = result.model_dump_json(indent=2)
    wrong = [f"{result.error}\nThe whole log: {result.log}"] if result.error else []
    for place in (workspace.run(result.run_id) / "summary.json", *([file] if file else [])):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        except OSError as error:
            wrong.append(f"{place}: the summary cannot be written there: {error.strerror}")
    if wrong:
        raise UserError("\n".join(wrong))


def execute(prospect: "Prospect", *, dry_run: bool = False) -> "Summary":
    """Runs the DAG, shows it, and sums up; a failure is part of the summary, and of the history.

    Args:
      dry_run: end with the decision whether to retrain, and keep no account of it.
    """
    from components.history import note_failure
    from pipeline.config import config_digest
    from pipeline.console import NodeTable, output_to
    from pipeline.summary import (
        NodeSummary,
        Summary,
        account,
        pushed_model,
        read_verdict,
        report_path,
        served_model,
    )

    inputs = prospect.inputs
    run_id = inputs.workspace.new_run_id()
    run_dir = inputs.workspace.run(run_id)
    log = run_dir / "run.log"
    states: dict[str, NodeState] = {}
    artifacts, error = {}, None
    start = time.monotonic()
    with inputs.workspace.temporary_files(run_id), output_to(log) as console:
        with NodeTable(console) as table:

            def observe(state: "NodeState") -> None:
                states[state.node] = state
                table.show(state)

            try:
                artifacts = _nodes(prospect, run_id, table, observe, dry_run=dry_run)
            except UserError as problem:
                error = str(problem)
            except Exception as problem:  # noqa: BLE001 (told in words; the traceback is in the log)
                with suppress(OSError):  # the disk may be full
                    traceback.print_exc()
                failed = next((name for name, state in states.items() if state.state == "failed"), _LOADING)
                error = f"{failed} failed: {type(problem).__name__}: {str(problem).strip().partition(chr(10))[0][:300]}"
                if remedy := storage_remedy(problem):
                    error += f"\n{inputs.workspace.root}: {remedy}"
        if error and not dry_run:
            try:
                note_failure(inputs.workspace.history, str(inputs.data), prospect.facts, error, datetime.now(UTC))
            except OSError as problem:
                error += f"\nThe history cannot tell of it: {problem}"
        verdict = read_verdict(artifacts)
        pushed, rolled_back = pushed_model(artifacts, inputs.workspace)
        page = report_path(artifacts)
        decision, drift = account(artifacts)
        summary = Summary(
            status="failed" if error else "succeeded",
            error=error,
            run_id=run_id,
            config_digest=config_digest(prospect.config),
            data=str(inputs.data),
            dataset=inputs.manifest,
            window=prospect.facts.window,
            decision=decision,
            drift=drift,
            seconds=round(time.monotonic() - start, 1),
            nodes={
                name: NodeSummary(state=state.state, cached=state.state == "cached", seconds=round(state.seconds, 2))
                for name, state in states.items()
            },
            accuracy=verdict and verdict.candidate.accuracy,
            accuracy_interval=verdict and verdict.candidate.accuracy_interval,
            macro_f1=verdict and verdict.candidate.macro_f1,
            metrics=verdict and verdict.candidate,
            golden=verdict.on_golden.candidate if verdict and verdict.on_golden else None,
            blessed=verdict and verdict.blessed,
            verdict=verdict,
            pushed=pushed,
            rolled_back=rolled_back,
            served=served_model(inputs.workspace),
            report=page and str(page),
            log=str(log),
        )
        if verdict:
            _show(console, summary)
        elif decision:
            _show_decision(console, summary, dry_run=dry_run)
    return summary


def _nodes(
    prospect: "Prospect",
    run_id: str,
    table: "NodeTable",
    observe: "Callable[[NodeState], None]",
    *,
    dry_run: bool,
) -> dict:
    from pipeline.imports import large_imports
    from pipeline.node_state import NodeState

    observe(NodeState(_LOADING, "running"))
    start = time.monotonic()
    with large_imports():
        from pipeline.local import compile_pipeline, create_local, node_ids, run_local

    pipeline = create_local(prospect, keep_account=not dry_run)
    ir = compile_pipeline(pipeline, run_id)
    table.expect(node_ids(ir))
    observe(NodeState(_LOADING, "done", time.monotonic() - start))
    return run_local(pipeline, ir, observe, decide_only=dry_run)


def _show_decision(console: "Console", summary: "Summary", *, dry_run: bool) -> None:
    """Why nothing was trained."""
    console.print(f"\n[bold]{summary.decision.action}[/]" + (" (dry run: nothing was trained)" if dry_run else ""))
    for reason in summary.decision.reasons:
        console.print(f"  {reason}", markup=False, soft_wrap=True)
    served = f"version {summary.served.version} stays served" if summary.served else "no model is served yet"
    console.print(f"{served}\nlog: {summary.log}", soft_wrap=True)


def _show(console: "Console", summary: "Summary") -> None:
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
