"""`genre retrain`: decides once whether to retrain, and if so, runs."""

import json
from pathlib import Path

import click

from pipeline.commands import options
from pipeline.output import echo


@click.command()
@options.configuration
@options.data
@options.workspace
@options.summary
@options.fail_if_refused
@click.option("--now", is_flag=True, help="Retrain without regard to the settings retrain.*.")
@click.option("--dry-run", is_flag=True, help="Print the decision and its reasons, and do nothing.")
@options.as_json
def retrain(
    config_file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workspace: Path | None,
    summary: Path | None,
    fail_if_refused: bool,
    now: bool,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Decide whether to train on the newest span, and if so, train.

    The settings retrain.* are the rules: on drift, on enough new clips, by the age of the served model. The decision
    and its reasons are kept in the history: see `genre history`. Called again after a failure or a kill, it continues
    the run. With --json, prints the summary of the run, which `genre run --json` prints, or where there is none, an
    object with its fields `decision` and `drift`.
    """
    from pipeline.config.settings import load_config
    from pipeline.local.run import execute, finish
    from pipeline.planning.preflight import check_run
    from pipeline.planning.prospect import prospect

    config = load_config(config_file, options.with_paths(overrides, data=data, workspace=workspace))
    check_run(config)
    place = prospect(config, asked=now).inputs.workspace
    with place.locked():
        found = prospect(config, asked=now)
        if not as_json:
            for note in found.notes:
                echo(note)
            echo(f"{found.decision.action}: {'; '.join(found.decision.reasons) or 'it depends on drift'}")
        if found.decision.action == "wait":
            if as_json:
                drift = found.drift and found.drift.model_dump(mode="json")
                click.echo(json.dumps({"decision": found.decision.model_dump(mode="json"), "drift": drift}, indent=2))
            else:
                for line in found.drift.account if found.drift and found.drift.p_values else ():
                    echo(line)
            if not dry_run:
                found.note()
            return
        result = execute(found, dry_run=dry_run)
        finish(result, place, config.notify, summary, dry_run=dry_run, as_json=as_json)
    if fail_if_refused and result.blessed is False:
        click.get_current_context().exit(options.REFUSED)
