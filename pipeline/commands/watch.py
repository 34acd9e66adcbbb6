"""`genre watch`: the service that retrains as music arrives."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.base.errors import UserError
from pipeline.commands import options
from pipeline.output import echo

if TYPE_CHECKING:
    from pipeline.workspace import Workspace


@click.command()
@options.configuration
@options.data
@options.workspace
@click.option("--interval", type=click.IntRange(1, 86400), default=60, show_default=True, help="Seconds between polls.")
@click.option("--once", is_flag=True, help="Poll once, retrain if so decided, and end.")
@click.option("--status", "ask", is_flag=True, help="Show what the watcher does; exit with 1 if a person must act.")
@click.option("--json-log", is_flag=True, help="Log one JSON object per line.")
def watch(
    config_file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workspace: Path | None,
    interval: int,
    once: bool,
    ask: bool,
    json_log: bool,
) -> None:
    """Retrain as music arrives, until SIGTERM or Ctrl-C.

    Checks every minute whether `genre retrain` has something to do, and if so, starts it. Of several watchers of a
    workspace one works, and the others wait to take over. A failed run is tried again after a pause that doubles up to
    an hour, at once when a new span comes, and `retrain.max_attempts` times at most. A run is killed when its watcher
    ends, and the next watcher continues it. The configuration file is read again at every poll. After a run, what
    `genre clean` would remove is removed, unless `retrain.clean` is false.
    """
    from pipeline.config.settings import load_config
    from pipeline.planning.preflight import check_model, check_run
    from pipeline.workspace import Workspace, root_path

    config = load_config(config_file, options.with_paths(overrides, data=data, workspace=workspace))
    watched = Workspace(root_path(config.workspace))
    if ask:
        _show_status(watched)
        return
    check_run(config)
    check_model(config)

    from pipeline.planning.prospect import prospect
    from pipeline.watching.watcher import Log, Outlook, Watcher

    # The file is read again for every poll and run, but the workspace stays the same.
    of_run = options.with_paths(overrides, data=data, workspace=watched.local)

    def command(name: str) -> list[str]:
        program = [sys.executable, *(() if "" in sys.path else ("-P",)), "-c", "from pipeline.cli import main; main()"]
        settings = [word for override in of_run for word in ("--set", override)]
        return [*program, name, *(["--config", str(config_file)] if config_file else []), *settings]

    def look() -> Outlook:
        found = prospect(load_config(config_file, of_run))
        cleaning = command("clean") if found.config.retrain.clean else ()
        return Outlook(str(found.inputs.data), found.facts, found.decision, found.notes, cleaning, found.config.notify)

    output = sys.__stdout__.fileno() if sys.__stdout__ else None  # None: it was closed from the start
    Watcher(watched, look, command("retrain"), Log(output, json_log), interval, config.notify).run(once)


def _show_status(workspace: "Workspace") -> None:
    from datetime import UTC, datetime

    from pipeline.watching.status import read_status, status_in_words, trouble
    from pipeline.workspace import nothing_there

    status = read_status(workspace)
    if status:
        echo("\n".join(status_in_words(status)))
    if wrong := trouble(workspace, status, datetime.now(UTC)):
        if workspace.root.exists():
            raise UserError(wrong)
        raise nothing_there(workspace, wrong.removeprefix(f"{workspace.root}: "))
