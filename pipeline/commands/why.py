"""`genre why`: the account of one version, or of a candidate that may never have become one."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import options

if TYPE_CHECKING:
    from components.retraining.history import Record
    from components.retraining.timeline import Store
    from components.store.model_store import Lineage
    from pipeline.workspace import Workspace


def _digest(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[0-9a-f]{4,64}", value):
        raise click.BadParameter(f"{value!r} is not the beginning of a digest: at least 4 of the digits 0-9 and a-f.")
    return value


@click.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@options.configuration
@options.workspace
@click.option(
    "--candidate",
    metavar="DIGEST",
    callback=_digest,
    help="Of a candidate instead, pushed or not: its digest or the beginning of it, as `genre history --json` has it.",
)
def why(
    version: int | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
    candidate: str | None,
) -> None:
    """Say why a version was pushed: what led to it, its data, what the gate checked, and what became of it.

    Without VERSION, of the one that is served.
    """
    from components.base.errors import UserError
    from components.retraining.history import read_history
    from components.retraining.timeline import read_store

    if version is not None and candidate is not None:
        raise click.UsageError("VERSION and --candidate exclude each other.")
    place = options.configured(config_file, overrides, workspace=workspace)[1]
    records, store = read_history(place.history), read_store(place.models)
    if candidate is not None:
        candidate = _only(candidate, records, store, place)
        record = next((record for record in records if record.candidate == candidate), None)
        version = _version_of(candidate, record, store)
    else:
        version = version if version is not None else store.served
        if version is None:
            raise UserError(f"{place.models}: no model has been pushed yet.")
        record = _record_of(version, records, store)
        if record is None and version not in {*store.pushes, *store.withdrawals}:
            have = ", ".join(map(str, store.pushes)) or "none"
            raise UserError(f"{place.models}: there is no version {version}; there are {have}.")
    _tell(version, record, store, place)


def _only(prefix: str, records: "list[Record]", store: "Store", place: "Workspace") -> str:
    """The one candidate whose digest begins so."""
    from components.base.errors import UserError

    known = {record.candidate for record in records}
    known |= {push.lineage.candidate for push in store.pushes.values() if push.lineage}
    known |= {withdrawal.candidate for withdrawal in store.withdrawals.values() if withdrawal.candidate}
    found = sorted(each for each in known if each.startswith(prefix))
    if not found:
        raise UserError(f"{place.root}: there is no candidate {prefix}. `genre history --json` names those there are.")
    if len(found) > 1:
        some = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise UserError(f"{place.root}: {len(found)} candidates begin with {prefix}: {some}. Give more digits.")
    return found[0]


def _version_of(candidate: str, record: "Record | None", store: "Store") -> int | None:
    """The newest version that a candidate was pushed as, if it was."""
    pushed = [version for version, push in store.pushes.items() if push.lineage and push.lineage.candidate == candidate]
    pushed += [version for version, withdrawal in store.withdrawals.items() if withdrawal.candidate == candidate]
    pushed += [outcome.version for outcome in record.outcomes if outcome.version is not None] if record else []
    return max(pushed, default=None)


def _record_of(version: int, records: "list[Record]", store: "Store") -> "Record | None":
    """The account of the candidate that was pushed as a version; of a store that began anew, the latest one."""
    push = store.pushes.get(version)
    if push and push.lineage:
        return next((record for record in records if record.candidate == push.lineage.candidate), None)
    found = (record for record in reversed(records) for outcome in record.outcomes if outcome.version == version)
    return next(found, None)


def _tell(version: int | None, record: "Record | None", store: "Store", place: "Workspace") -> None:
    from components.retraining.history import in_words
    from components.retraining.timeline import Store, events
    from components.store.model_store import Lineage, read_verdict

    push = store.pushes.get(version)
    if version is None:
        click.echo(f"candidate {record.candidate} was never pushed: {in_words(record)}\nof {record.data}")
    else:
        click.echo(_state(version, store))
        if push and push.lineage:
            _tell_lineage(push.lineage)
        elif pushed := [outcome for outcome in record.outcomes if outcome.version == version] if record else []:
            known = record.model_dump(include={"candidate", "data", "span", "window"})
            _tell_lineage(Lineage(parent=pushed[0].champion, **known))
    if record and record.outcome and record.outcome.started_from:
        click.echo(f"start of training: {record.outcome.started_from}")
    verdict = read_verdict(place.models, version) if push else None
    for event in events([record] if record else [], Store(served=None, pushes={}, withdrawals={})):
        if not (verdict and event.version == version and event.kind == "promotion"):  # told in full below
            click.echo(f"  {event.time}  {event.kind:<9}  {' '.join(event.words.split())}")
    if verdict:
        for judged in verdict.sets:
            click.echo(judged.headline)
        for line in verdict.account:
            click.echo(f"  {line}")
    elif push:
        click.echo("the gate's verdict is not in the store")
    elif record is None:
        click.echo("nothing else is known of it")


def _state(version: int, store: "Store") -> str:
    """What became of a version."""
    withdrawn = store.withdrawals.get(version)
    gone = "" if version in store.pushes else "; its files were removed since"
    if version == store.served:
        return f"version {version} is served"
    if withdrawn:
        reason = withdrawn.reason or "no reason given"
        return f"version {version} was rolled back at {withdrawn.time}: {reason}{gone}"
    return f"version {version} was served until another one took its place{gone}"


def _tell_lineage(lineage: "Lineage") -> None:
    from components.retraining.policy import spans_in_words

    against = f"judged against version {lineage.parent}" if lineage.parent else "the first, judged by the floors alone"
    click.echo(
        f"trained on {spans_in_words(lineage.window)} of {lineage.data}; {against}; candidate {lineage.candidate}"
    )
    known = [("code", lineage.code), ("configuration", lineage.config)]
    known += [("golden set of span", str(lineage.golden))] if lineage.golden is not None else []
    if told := ", ".join(f"{name} {value}" for name, value in known if value):
        click.echo(told)
