"""`genre submit`: a run on Kubeflow Pipelines or Vertex AI."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from components.errors import UserError
from pipeline.commands import options
from pipeline.commands.compile import compiled

if TYPE_CHECKING:
    from pipeline.config import PipelineConfig
    from pipeline.service import Request, Run, Service, Start
    from pipeline.targets import Target

_BY_HAND = "retrain.when=now"
"""Comes before what --run-set says, which overrides it."""


@click.command()
@options.started
@click.option("--wait", is_flag=True, help="Follow the run to its end; exit with 1 if it fails.")
def submit(target: "Target", dry_run: bool, wait: bool, run_settings: tuple[str, ...], **what: Any) -> None:
    """Start a run on Kubeflow Pipelines or Vertex AI.

    Compiles the pipeline of --config, or takes a --package that `genre compile` wrote.

    A run that is asked for trains, whatever the settings retrain.* say, unless the same data with the same settings was
    judged before. With `--run-set retrain.when=policy` it decides as a scheduled one does.
    """
    from pipeline.service import connect

    config, start = prepare(target, dry_run, run_settings=(_BY_HAND, *run_settings), **what)
    service = connect(config, target)
    if dry_run:
        show_request(service.submit_request(start))
        return
    run = service.submit(start)
    click.echo(f"run {run.id}\n{run.url}")
    if wait:
        run = _follow(service, run, getattr(config, target).calls.poll_seconds)
        if run.state != "succeeded":
            raise UserError(f"run {run.id} {run.state}{f': {run.error}' if run.error else ''}. See {run.url}")


def prepare(
    target: "Target",
    dry_run: bool,
    *,
    config_file: Path | None,
    overrides: tuple[str, ...],
    package: Path | None,
    data: str | None,
    span: str | None,
    run_settings: tuple[str, ...],
) -> tuple["PipelineConfig", "Start"]:
    """What is to be run, and the configuration to start it with; see `options.started`.

    All that can be found wrong is, before the pipeline is compiled: that takes a while. Buckets are looked at only if
    it is no dry run.

    Raises:
      UserError: the configuration, the package, the run parameters or the buckets are not as they must be.
    """
    from pipeline.buckets import check_buckets
    from pipeline.config import load_config
    from pipeline.package import read_package
    from pipeline.plan import parse_span, run_config
    from pipeline.preflight import check_model
    from pipeline.service import Start, new_name
    from pipeline.targets import check_target

    read = None
    if package is None:
        config = load_config(config_file, overrides)
    elif config_file is not None:
        raise UserError(
            "--config: the package has its configuration in it. Leave out --config or --package; --set sets what "
            "counts only when a run is submitted."
        )
    else:
        read = read_package(_text(package), str(package), target)
        config = read.config_with(overrides, target)
    check_target(config, target)
    parameters = {"data": data, "span": span, "settings": "; ".join(run_settings) or None}
    given = {name: value for name, value in parameters.items() if value is not None}
    of_run = run_config(
        config,
        given.get("data", config.data),
        parse_span(given["span"]) if "span" in given else config.span,
        given.get("settings", ""),
    )
    check_target(of_run, target)
    check_model(of_run)
    if not dry_run:
        check_buckets(of_run, target)
    read = read or read_package(compiled(config, target), "the compiled pipeline", target)
    return config, Start(new_name(config), read, read.defaults | given)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"{file}: no such package. Make it: genre compile --target ... -o {file}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{file}: this is no compiled pipeline: {error}") from error


def show_request(request: "Request") -> None:
    """Prints what would be sent, as YAML."""
    import yaml

    click.echo(yaml.safe_dump(vars(request), sort_keys=False, width=120), nl=False)


def _follow(service: "Service", run: "Run", seconds: float) -> "Run":
    """Prints a line per change of state until the run ends."""
    shown: dict[str, str] = {}
    while True:
        for name, state in (*((node.node, node.state) for node in run.nodes), ("run", run.state)):
            if state not in ("waiting", shown.get(name)):
                click.echo(f"{time.strftime('%H:%M:%S')}  {name:<22} {state}")
                shown[name] = state
        if run.ended:
            return run
        time.sleep(seconds)
        try:
            run = service.run(run.id)
        except UserError as error:
            raise UserError(f"{error}\nThe run itself goes on; see `genre status {run.id}`.") from error
