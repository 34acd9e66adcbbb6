"""`genre submit`: a run on Kubeflow Pipelines or Vertex AI."""

import math
import time
from typing import TYPE_CHECKING, Any

import click

from components.base.errors import UserError
from pipeline.commands import options
from pipeline.remote.submission import prepare

if TYPE_CHECKING:
    from pipeline.config.targets import Target
    from pipeline.remote.service import Run, Service

START_SECONDS = 300.0
"""Longest usual time until a step's pod runs, in seconds: large images and new machines take minutes."""
_BY_HAND = "retrain.when=now"
"""Comes before the settings of --run-set, which override it."""


@click.command()
@options.started
@click.option("--wait", is_flag=True, help="Follow the run to its end; exit with 1 if it fails.")
@click.option("--smoke", is_flag=True, help="Run the smoke test instead, and follow it: two steps, about a minute.")
def submit(
    target: "Target", dry_run: bool, wait: bool, smoke: bool, run_settings: tuple[str, ...], **what: Any
) -> None:
    """Start a run on Kubeflow Pipelines or Vertex AI.

    Compiles the pipeline of --config, or takes a --package that `genre compile` wrote.

    Such a run trains, whatever the settings retrain.* are, unless the same data with the same settings was judged
    before. With `--run-set retrain.when=policy` it decides as a scheduled run does.

    With --smoke, two steps in the very image, with the very volumes, buckets, account and resources of the Trainer,
    check all of these, accelerators and Beam's workers. The log of a step that fails lists what is wrong.
    """
    from pipeline.remote.connect import connect

    config, start = prepare(target, dry_run, run_settings=(_BY_HAND, *run_settings), smoke=smoke, **what)
    service = connect(config, target)
    if dry_run:
        click.echo(service.submit_request(start).as_yaml(), nl=False)
        return
    run = service.submit(start)
    click.echo(f"run {run.id}\n{run.url}")
    if wait or smoke:
        run = _follow(service, run, smoke)
        if run.state != "succeeded":
            look = "The log of the step that failed lists what is wrong:" if smoke else "See"
            reason = f": {run.error}" if run.error else ""
            raise UserError(f"run {run.id} {run.state}{reason}. {look} {service.find_out(run)}")


def _follow(service: "Service", run: "Run", smoke: bool) -> "Run":
    """Prints a line per change of state until the run ends.

    Raises:
      UserError: a step of a smoke test does not start. Of another run it is a warning, for a machine may still come.
    """
    from pipeline.remote.service import POLL_SECONDS

    shown: dict[str, str] = {}
    runs_or_warned = time.monotonic()
    while True:
        for name, state in (*((node.node, node.state) for node in run.nodes), ("run", run.state)):
            if state not in ("waiting", shown.get(name)):
                click.echo(f"{time.strftime('%H:%M:%S')}  {name:<22} {state}")
                shown[name] = state
        if run.ended:
            return run
        if not run.starting:
            runs_or_warned = time.monotonic()
        elif time.monotonic() - runs_or_warned > START_SECONDS:
            late = (
                f"a step of run {run.id} has not started for {START_SECONDS:g} s: its image cannot be pulled, a volume "
                f"cannot be mounted, or no machine has what it asks for. See {service.find_out(run)}"
            )
            if smoke:
                raise UserError(f"{late}. The run itself waits on; end it there.")
            click.echo(f"genre: warning: {late}", err=True)
            runs_or_warned = math.inf  # once
        time.sleep(POLL_SECONDS)
        try:
            run = service.run(run.id)
        except UserError as error:
            raise UserError(f"{error}\nThe run itself goes on; see `genre status {run.id}`.") from error
