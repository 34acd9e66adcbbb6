"""`genre schedule`: runs by the clock, on Kubeflow Pipelines or Vertex AI."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pipeline.commands import options
from pipeline.remote.submission import prepare

if TYPE_CHECKING:
    from pipeline.config.targets import Target
    from pipeline.remote.service import Service


@click.group()
def schedule() -> None:
    """Start runs by the clock on Kubeflow Pipelines or Vertex AI."""


@schedule.command()
@click.argument("name")
@click.option("--cron", required=True, help='When: minute, hour, day, month, day of the week, as "0 4 * * *".')
@click.option("--timezone", help="Time zone of --cron, as Europe/Berlin. Default: UTC, or the server's.")
@options.started
def create(
    name: str, cron: str, timezone: str | None, target: "Target", dry_run: bool, span: str | None, **what: Any
) -> None:
    """Start a run at the times of --cron, on the newest span if no other is given.

    Each decides by the settings retrain.* whether it trains, as `genre retrain` does. Only one runs at a time, because
    two would race for what is served. Missed runs are not made up for.
    """
    from pipeline.remote.connect import connect
    from pipeline.remote.cron import check_cron, check_timezone

    cron = check_cron(cron)
    timezone = timezone and check_timezone(timezone)
    config, start = prepare(target, dry_run, span=span or "last", **what)
    service = connect(config, target)
    if dry_run:
        click.echo(service.schedule_request(name, cron, timezone, start).as_yaml(), nl=False)
        return
    made = service.create_schedule(name, cron, timezone, start)
    click.echo(f"schedule {made.name}: {made.cron}")


@schedule.command("list")
@options.target
@options.configuration
def list_(target: "Target", config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """List the schedules of the pipeline."""
    found = _service(target, config_file, overrides).schedules()
    for each in found:
        after = f"  next {each.next_run:%Y-%m-%d %H:%M %Z}" if each.next_run and each.state == "active" else ""
        click.echo(f"{each.name:<20} {each.state:<10} {each.cron}{after}")
    if not found:
        click.echo("no schedules; create one: genre schedule create NAME --cron ...", err=True)


@schedule.command()
@click.argument("name")
@options.target
@options.configuration
def pause(name: str, target: "Target", config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Start no more runs, until it is resumed."""
    _service(target, config_file, overrides).change_schedule(name, "pause")
    click.echo(f"schedule {name}: paused")


@schedule.command()
@click.argument("name")
@options.target
@options.configuration
def resume(name: str, target: "Target", config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Start runs again."""
    _service(target, config_file, overrides).change_schedule(name, "resume")
    click.echo(f"schedule {name}: active")


@schedule.command()
@click.argument("name")
@options.target
@options.configuration
def delete(name: str, target: "Target", config_file: Path | None, overrides: tuple[str, ...]) -> None:
    """Delete a schedule; runs that it started go on."""
    _service(target, config_file, overrides).change_schedule(name, "delete")
    click.echo(f"schedule {name}: deleted")


def _service(target: "Target", config_file: Path | None, overrides: tuple[str, ...]) -> "Service":
    from pipeline.config.settings import load_config
    from pipeline.remote.connect import connect

    return connect(load_config(config_file, overrides), target)
