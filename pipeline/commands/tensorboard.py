"""`genre tensorboard`: shows the trainings of a workspace in a browser."""

import os
import sys
from pathlib import Path

import click

from components.base.errors import UserError
from pipeline.commands import options
from pipeline.output import note


@click.command()
@options.configuration
@options.workspace
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
@click.option("--port", type=click.IntRange(1, 65535), default=6006, show_default=True, help="Port to listen at.")
def tensorboard(
    config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None, host: str, port: int
) -> None:
    """Start TensorBoard on the trainings of the workspace, also on one that runs, until Ctrl-C."""
    place = options.configured(config_file, overrides, workspace=workspace)[1]
    logs = place.training_logs
    if not logs.is_dir():
        raise UserError(
            f"{logs}: nothing was trained in this workspace yet. `genre run` trains; or choose --workspace."
        )
    from tensorboard.version import VERSION

    note(f"TensorBoard {VERSION}: http://{host}:{port}/ shows {logs}")
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logs), "--host", host, "--port", str(port)]
    sys.stdout.flush()
    os.execv(sys.executable, command)
