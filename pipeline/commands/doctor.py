"""`genre doctor`: checks that this installation is sound."""

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.base.errors import UserError
from pipeline.commands import options

if TYPE_CHECKING:
    from rich.console import Console

    from pipeline.doctor import Check, Finding

_STYLES = {"ok": "green", "warning": "bold yellow", "FAIL": "bold red"}


@click.command()
@options.configuration
@click.option("--workspace", type=click.Path(path_type=Path), help="Folder of the runs; it need not exist.")
@options.as_json
def doctor(config_file: Path | None, overrides: tuple[str, ...], workspace: Path | None, as_json: bool) -> None:
    """Check in under a minute that this installation is sound.

    Compares versions with the lock, runs a tiny pipeline, and looks at codecs, free disk, permission to write, GPUs and
    TPUs, and cloud credentials. Changes nothing, and uses no network. The exit code is 1 if a check fails.
    """
    from pipeline.console import busy
    from pipeline.doctor import checks, examine
    from pipeline.process import output_to

    config, place = options.configured(config_file, overrides, workspace=workspace)
    _ = place.local  # no bucket
    try:
        descriptor, name = tempfile.mkstemp(prefix="genre-doctor-", suffix=".log")
    except OSError as error:
        raise UserError(f"no temporary file can be created: {error}. Set TMPDIR to a folder with room.") from error
    os.close(descriptor)
    log = Path(name)
    failures = 0
    account: list[dict[str, str]] = []
    try:
        with output_to(log) as console, busy(console, "importing TensorFlow and TFX"):
            for check, finding in examine(checks(Path(config.workspace))):
                if as_json:
                    account.append({"check": check.name, **dataclasses.asdict(finding)})
                else:
                    _show(console, check, finding)
                failures += finding.status == "FAIL"
    finally:
        if not failures:
            log.unlink()
    if as_json:
        click.echo(json.dumps(account, indent=2))
    if failures:
        raise UserError(f"{failures} of the checks failed. Log of the libraries: {log}")


def _show(console: "Console", check: "Check", finding: "Finding") -> None:
    console.print(f"{finding.status:<8}", style=_STYLES[finding.status], end="")
    console.print(f" {check.name:<17} ", end="")
    console.print(finding.found, soft_wrap=True)
    if finding.advice:
        console.print(f"{'':<26} {finding.advice}", style="dim", soft_wrap=True)
