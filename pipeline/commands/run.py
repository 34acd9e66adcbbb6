"""`genre run`: the whole DAG, on this machine."""

import itertools
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.errors import UserError
from pipeline.commands import options

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.config import PipelineConfig
    from pipeline.console import NodeTable
    from pipeline.local import NodeState
    from pipeline.preflight import Preflight
    from pipeline.summary import Summary

_LOADING = "TensorFlow, TFX"


@click.command()
@options.configuration
@options.data
@options.workspace
@click.option(
    "--summary", type=click.Path(dir_okay=False, path_type=Path), help="Write the run's summary here, as JSON."
)
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
    from pipeline.preflight import check

    config = load_config(config_file, options.with_paths(overrides, data=data, workspace=workspace))
    check_local(config.beam)
    inputs = check(config)
    with inputs.workspace.locked():
        result = _run(config, inputs)
    text = result.model_dump_json(indent=2)
    run_dir = inputs.workspace.run(result.run_id)
    (run_dir / "summary.json").write_text(text, encoding="utf-8")
    if summary:
        try:
            summary.parent.mkdir(parents=True, exist_ok=True)
            summary.write_text(text, encoding="utf-8")
        except OSError as error:
            raise UserError(f"{summary}: the summary cannot be written there: {error.strerror}") from error
    if result.error:
        raise UserError(f"{result.error}\nThe whole log: {result.log}")


def _run(config: "PipelineConfig", inputs: "Preflight") -> "Summary":
    """Runs, shows, and sums up; a failure is part of the summary."""
    from pipeline.console import NodeTable, output_to
    from pipeline.summary import (
        NodeSummary,
        Summary,
        config_digest,
        pushed_model,
        read_verdict,
        report_path,
        served_model,
    )

    run_id = time.strftime("%Y%m%d-%H%M%S")
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
                artifacts = _execute(config, inputs, run_id, table, observe)
            except UserError as problem:
                error = str(problem)
            except Exception as problem:  # noqa: BLE001 (told in words; the traceback is in the log)
                traceback.print_exc()
                failed = next((name for name, state in states.items() if state.state == "failed"), _LOADING)
                error = f"{failed} failed: {type(problem).__name__}: {str(problem).strip().splitlines()[0][:300]}"
        verdict = read_verdict(artifacts)
        pushed, rolled_back = pushed_model(artifacts, inputs.workspace)
        page = report_path(artifacts)
        summary = Summary(
            status="failed" if error else "succeeded",
            error=error,
            run_id=run_id,
            config_digest=config_digest(config),
            data=str(inputs.data),
            dataset=inputs.manifest,
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
        if not error:
            _show(console, summary)
    return summary


def _execute(
    config: "PipelineConfig",
    inputs: "Preflight",
    run_id: str,
    table: "NodeTable",
    observe: "Callable[[NodeState], None]",
) -> dict:
    from pipeline.imports import large_imports
    from pipeline.node_state import NodeState

    observe(NodeState(_LOADING, "running"))
    start = time.monotonic()
    with large_imports():
        from pipeline.local import compile_pipeline, create_local, node_ids, run_local

    pipeline = create_local(config, inputs)
    ir = compile_pipeline(pipeline, run_id)
    table.expect(node_ids(ir))
    observe(NodeState(_LOADING, "done", time.monotonic() - start))
    return run_local(pipeline, ir, observe)


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
        console.print(f"  {line}", markup=False)
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
