"""`genre why`: explains why a version was pushed, or why a candidate was not."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pipeline.commands import options
from pipeline.commands.tables import show_table
from pipeline.output import echo

if TYPE_CHECKING:
    from components.retraining.history import Record
    from components.retraining.timeline import Store
    from components.store.model_store import Lineage
    from pipeline.workspace import Workspace


def _digest(context: click.Context, parameter: click.Parameter, value: str | None) -> str | None:
    if value is not None and not re.fullmatch(r"[0-9a-f]{4,64}", value):
        raise click.BadParameter(
            f"{value!r} is not the beginning of a digest. Give 4 or more of the digits 0-9 and a-f."
        )
    return value


@click.command()
@click.argument("version", type=click.IntRange(min=1), required=False)
@options.configuration
@options.workspace
@click.option(
    "--candidate",
    metavar="DIGEST",
    callback=_digest,
    help="Explain a candidate, pushed or not, by the beginning of its digest; see `genre history --json`.",
)
@options.as_json
def why(
    version: int | None,
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
    candidate: str | None,
    as_json: bool,
) -> None:
    """Explain why a version was pushed: the events before it, its data, the gate's checks, and its present state.

    Without VERSION, explains the version that is served.
    """
    from components.base.errors import UserError
    from components.retraining.history import read_history
    from components.retraining.timeline import read_store
    from pipeline.workspace import nothing_there

    if version is not None and candidate is not None:
        raise click.UsageError("VERSION and --candidate exclude each other.")
    place = options.configured(config_file, overrides, workspace=workspace)[1]
    records, store = read_history(place.history), read_store(place.models)
    if candidate is not None:
        candidate = _only(candidate, records, store, place)
        record = next((record for record in records if record.candidate == candidate), None)
        version = _version_of(candidate, record, store)
        if version is None and record is not None:  # one that was never pushed has a record
            if as_json:
                click.echo(json.dumps(_account(None, record, store, place), indent=2))
            else:
                _show_refused(record)
            return
    version = version if version is not None else store.served
    if version is None:
        raise nothing_there(place)
    if candidate is None:
        record = _record_of(version, records, store)
        if record is None and version not in {*store.pushes, *store.withdrawals}:
            have = ", ".join(map(str, store.pushes)) or "none"
            raise UserError(f"{place.models}: there is no version {version}; there are {have}.")
    if as_json:
        click.echo(json.dumps(_account(version, record, store, place), indent=2))
    else:
        _show(version, record, store, place)


def _account(version: int | None, record: "Record | None", store: "Store", place: "Workspace") -> dict[str, object]:
    """Returns all that is known of a version, or of a candidate that was never pushed; null where nothing is."""
    from components.store.model_store import read_verdict

    push = store.pushes.get(version) if version is not None else None
    withdrawal = store.withdrawals.get(version) if version is not None else None
    known = {
        "lineage": push and push.lineage,
        "verdict": read_verdict(place.models, version) if push and version is not None else None,
        "withdrawn": withdrawal,
        "record": record,
    }
    served = version is not None and version == store.served
    return {
        "version": version,
        "served": served,
        **{name: each and each.model_dump(mode="json") for name, each in known.items()},
    }


def _only(prefix: str, records: "list[Record]", store: "Store", place: "Workspace") -> str:
    """Returns the one candidate whose digest begins with `prefix`.

    Raises:
      UserError: there is none, or more than one.
    """
    from components.base.errors import UserError

    known = {record.candidate for record in records}
    known |= {push.lineage.candidate for push in store.pushes.values() if push.lineage}
    known |= {withdrawal.candidate for withdrawal in store.withdrawals.values() if withdrawal.candidate}
    found = sorted(each for each in known if each.startswith(prefix))
    if not found:
        raise UserError(f"{place.root}: there is no candidate {prefix}. `genre history --json` lists all candidates.")
    if len(found) > 1:
        some = ", ".join(found[:3]) + (", ..." if len(found) > 3 else "")
        raise UserError(f"{place.root}: {len(found)} candidates begin with {prefix}: {some}. Give more digits.")
    return found[0]


def _version_of(candidate: str, record: "Record | None", store: "Store") -> int | None:
    """Returns the newest version that a candidate was pushed as; None if it never was."""
    pushed = [version for version, push in store.pushes.items() if push.lineage and push.lineage.candidate == candidate]
    pushed += [version for version, withdrawal in store.withdrawals.items() if withdrawal.candidate == candidate]
    pushed += [outcome.version for outcome in record.outcomes if outcome.version is not None] if record else []
    return max(pushed, default=None)


def _record_of(version: int, records: "list[Record]", store: "Store") -> "Record | None":
    """Returns the record of the candidate that was pushed as a version: the latest, if the store was emptied since."""
    push = store.pushes.get(version)
    if push and push.lineage:
        return next((record for record in records if record.candidate == push.lineage.candidate), None)
    found = (record for record in reversed(records) for outcome in record.outcomes if outcome.version == version)
    return next(found, None)


def _show_refused(record: "Record") -> None:
    """Prints why a candidate was not pushed."""
    from components.retraining.history import in_words

    echo(f"candidate {record.candidate} was never pushed: {in_words(record)}\nof {record.data}")
    _show_start(record)
    _show_events(record)


def _show(version: int, record: "Record | None", store: "Store", place: "Workspace") -> None:
    """Prints why a version was pushed."""
    from components.store.model_store import Lineage, read_verdict

    push = store.pushes.get(version)
    echo(_state(version, store))
    if push and push.lineage:
        _show_lineage(push.lineage)
    elif record and (pushed := [outcome for outcome in record.outcomes if outcome.version == version]):
        known = record.model_dump(include={"candidate", "data", "span", "window"})
        _show_lineage(Lineage(parent=pushed[0].champion, **known))
    verdict = read_verdict(place.models, version) if push else None
    if record:
        _show_start(record)
        _show_events(record, without_push_of=version if verdict else None)
    if verdict:
        for judged in verdict.sets:
            echo(judged.headline)
        for line in verdict.account:
            echo(f"  {line}")
    elif push:
        echo("the gate's verdict is not in the store")
    elif record is None:
        echo("nothing else is known of it")


def _show_start(record: "Record") -> None:
    if record.outcome and record.outcome.started_from:
        echo(f"start of training: {record.outcome.started_from}")


def _show_events(record: "Record", without_push_of: int | None = None) -> None:
    """Prints the events of a candidate, without that of a push whose verdict is printed in full."""
    from components.retraining.timeline import Store, events

    rows = (
        (f"  {event.time}", event.kind, " ".join(event.words.split()))
        for event in events([record], Store(served=None, pushes={}, withdrawals={}))
        if event.kind != "promotion" or event.version != without_push_of
    )
    show_table(["time", "event", ""], rows, header=False)


def _state(version: int, store: "Store") -> str:
    """Describes the present state of a version."""
    withdrawn = store.withdrawals.get(version)
    gone = "" if version in store.pushes else "; its files were removed since"
    if version == store.served:
        return f"version {version} is served"
    if withdrawn:
        reason = withdrawn.reason or "no reason given"
        return f"version {version} was rolled back at {withdrawn.time}: {reason}{gone}"
    return f"version {version} was served until another one took its place{gone}"


def _show_lineage(lineage: "Lineage") -> None:
    from components.retraining.policy import spans_in_words

    against = f"judged against version {lineage.parent}" if lineage.parent else "the first, judged by the floors alone"
    echo(f"trained on {spans_in_words(lineage.window)} of {lineage.data}; {against}; candidate {lineage.candidate}")
    known = [("code", lineage.code), ("configuration", lineage.config)]
    known += [("golden set of span", str(lineage.golden))] if lineage.golden is not None else []
    if digests := ", ".join(f"{name} {value}" for name, value in known if value):
        echo(digests)
