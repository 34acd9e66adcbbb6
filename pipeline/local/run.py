"""Runs the DAG on this machine from its first import to the summary."""

import sys
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from components.base.errors import UserError, reason, storage_remedy
from components.base.times import timestamp
from pipeline.local.news import tell
from pipeline.local.show import show_outcome
from pipeline.node_state import NodeState
from pipeline.output import PLAIN_WIDTH, plain_console

if TYPE_CHECKING:
    from components.library.set_aside import SetAside
    from pipeline.console import NodeTable
    from pipeline.local.runner import Artifacts
    from pipeline.local.summary import Summary
    from pipeline.notifying.config import NotifyConfig
    from pipeline.planning.prospect import Prospect
    from pipeline.workspace import Workspace

_TRAINER = "Trainer"
_LOADING = "TensorFlow, TFX"


def finish(
    result: "Summary",
    workspace: "Workspace",
    notify: "NotifyConfig",
    file: Path | None,
    *,
    dry_run: bool = False,
    as_json: bool = False,
) -> None:
    """Writes the summary of a run below `workspace`, and to `file` if one is given, and lists the run.

    Then shows the outcome, and tells those who asked for messages.

    Raises:
      UserError: the run failed, or the summary cannot be written.
    """
    from pipeline.local.reports import write_reports

    text = result.model_dump_json(indent=2)
    wrong = [f"{result.error}\nThe whole log: {result.log}"] if result.error else []
    for place in (workspace.run(result.run_id) / "summary.json", *([file] if file else [])):
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="utf-8")
        except OSError as error:
            wrong.append(f"{place}: the summary cannot be written there: {reason(error)}")
    try:
        write_reports(workspace, str(result.config["name"]))
    except OSError as error:
        wrong.append(f"{error.filename or workspace.root}: the list of runs cannot be written: {reason(error)}")
    if as_json:
        print(text)
    else:
        show_outcome(plain_console(width=None if sys.stdout.isatty() else PLAIN_WIDTH), result, dry_run=dry_run)
    if not dry_run:
        tell(result, workspace, notify)
    if wrong:
        raise UserError("\n".join(wrong))


def execute(prospect: "Prospect", *, dry_run: bool = False) -> "Summary":
    """Runs the DAG and shows its nodes; a failure becomes a part of the summary and of the history.

    Args:
      prospect: what the run is to do.
      dry_run: whether to end with the decision to retrain or not, without an entry in the history.
    """
    from components.retraining.history import note_failure, read_record
    from pipeline.config.settings import config_digest
    from pipeline.console import NodeTable
    from pipeline.local.cache import sealed
    from pipeline.local.summary import (
        NodeSummary,
        Summary,
        account,
        model_in_words,
        pushed_model,
        read_verdict,
        report_path,
        served_model,
    )
    from pipeline.local.training import TrainingProgress
    from pipeline.process import output_to

    inputs = prospect.inputs
    run_id = inputs.workspace.new_run_id()
    run_dir = inputs.workspace.run(run_id)
    log = run_dir / "run.log"
    states: dict[str, NodeState] = {}
    artifacts: Artifacts = {}
    error: str | None = None
    before = _set_aside(inputs.workspace)
    record = read_record(inputs.workspace.history, prospect.facts.candidate)
    pushed_before = {outcome.version for outcome in record.outcomes} if record else set()
    start = time.monotonic()
    with sealed(inputs.workspace), inputs.workspace.temporary_files(run_id), output_to(log) as console:
        epochs = prospect.config.train.epochs
        training = TrainingProgress(Path(inputs.workspace.checkpoints), epochs, Path(inputs.workspace.training_logs))
        with NodeTable(console, {_TRAINER: training}) as table:

            def observe(state: NodeState) -> None:
                states[state.node] = state
                table.show(state)
                if state.state != "running":
                    end = datetime.now(UTC)
                    begin = end - timedelta(seconds=state.seconds)
                    _log(f"{state.node}: {timestamp(begin)} to {timestamp(end)}, {state.seconds:.1f} s, {state.state}")

            try:
                artifacts = _nodes(prospect, run_id, table, observe, dry_run=dry_run)
            except UserError as problem:
                error = str(problem)
                _log(error)
            except KeyboardInterrupt:
                _log("interrupted")
                raise
            except Exception as problem:  # noqa: BLE001 (part of the summary; the traceback is in the log)
                _log(traceback.format_exc())
                failed = next((name for name, state in states.items() if state.state == "failed"), _LOADING)
                error = f"{failed} failed: {type(problem).__name__}: {str(problem).strip().partition(chr(10))[0][:300]}"
                if remedy := storage_remedy(problem):
                    error += f"\n{inputs.workspace.root}: {remedy}"
        if error and not dry_run:
            try:
                note_failure(inputs.workspace.history, str(inputs.data), prospect.facts, error, datetime.now(UTC))
            except OSError as problem:
                error += f"\nThe failure could not be written to the history: {problem}"
        verdict = read_verdict(artifacts)
        candidate = verdict.candidate if verdict else None
        pushed, rolled_back = pushed_model(artifacts, inputs.workspace)
        page = report_path(artifacts)
        decision, drift = account(artifacts)
        return Summary(
            status="failed" if error else "succeeded",
            error=error,
            run_id=run_id,
            config_digest=config_digest(prospect.config),
            config=prospect.config.model_dump(mode="json"),
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
            accuracy=candidate.accuracy if candidate else None,
            accuracy_interval=candidate.accuracy_interval if candidate else None,
            macro_f1=candidate.macro_f1 if candidate else None,
            metrics=candidate,
            golden=verdict.on_golden.candidate if verdict and verdict.on_golden else None,
            blessed=verdict.blessed if verdict else None,
            verdict=verdict,
            model=model_in_words(artifacts),
            pushed=pushed,
            newly_pushed=pushed is not None and pushed.version not in pushed_before,
            set_aside=tuple(each.span for each in _set_aside(inputs.workspace) if each not in before),
            rolled_back=rolled_back,
            served=served_model(inputs.workspace),
            report=str(page) if page else None,
            log=str(log),
        )


def _set_aside(workspace: "Workspace") -> "list[SetAside]":
    """Returns the spans that are set aside; none if that cannot be read, of which `genre spans` tells."""
    from components.library.set_aside import read_set_aside

    with suppress(UserError):
        return read_set_aside(workspace.set_aside)
    return []


def _log(text: str) -> None:
    """Writes to the log of the run, where `output_to` sends what is printed."""
    with suppress(OSError):  # the disk may be full
        print(f"genre: {text}", file=sys.stderr, flush=True)


def _nodes(
    prospect: "Prospect",
    run_id: str,
    table: "NodeTable",
    observe: Callable[[NodeState], None],
    *,
    dry_run: bool,
) -> "Artifacts":
    from pipeline.local.cache import drop_changed, forget_repeats
    from pipeline.process import large_imports

    workspace = prospect.inputs.workspace
    for artifact in drop_changed(workspace, prospect.plan.texts().values()):
        table.note(f"{artifact} has changed since it was made, and is made again")
    observe(NodeState(_LOADING, "running"))
    start = time.monotonic()
    with large_imports():
        from pipeline.local.runner import compile_pipeline, create_local, node_ids, run_local

    pipeline = create_local(prospect, keep_account=not dry_run)
    ir = compile_pipeline(pipeline, run_id)
    table.expect(node_ids(ir))
    observe(NodeState(_LOADING, "done", time.monotonic() - start))
    artifacts = run_local(pipeline, ir, observe, decide_only=dry_run)
    forget_repeats(workspace, run_id)
    return artifacts
