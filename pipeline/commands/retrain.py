"""`genre retrain`: one decision, and the run that follows from it."""

from pathlib import Path

import click

from pipeline.commands import options


@click.command()
@options.configuration
@options.data
@options.workspace
@options.summary
@click.option("--now", is_flag=True, help="Retrain whatever the settings retrain.* say.")
@click.option("--dry-run", is_flag=True, help="Say what would be done and why, and do nothing of it.")
def retrain(
    config_file: Path | None,
    overrides: tuple[str, ...],
    data: Path | None,
    workspace: Path | None,
    summary: Path | None,
    now: bool,
    dry_run: bool,
) -> None:
    """Decide whether the newest span is reason to train again, and if so, do it.

    The settings retrain.* say when: on drift, on enough new clips, by the age of what is served. The decision and its
    reasons go into the history: see `genre history`. Called again after a failure or a kill, it goes on where it was.
    """
    from components.beam.options import check_local
    from pipeline.config.settings import load_config
    from pipeline.local.run import execute, finish
    from pipeline.planning.prospect import prospect

    config = load_config(config_file, options.with_paths(overrides, data=data, workspace=workspace))
    check_local(config.beam)
    place = prospect(config, asked=now).inputs.workspace
    with place.locked():
        found = prospect(config, asked=now)
        for note in found.notes:
            click.echo(note)
        click.echo(f"{found.decision.action}: {'; '.join(found.decision.reasons) or 'it depends on drift'}")
        if found.decision.action == "wait":
            if not dry_run:
                found.note()
            return
        finish(execute(found, dry_run=dry_run), place, summary)
