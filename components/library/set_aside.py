"""Spans that cannot be used. `genre retrain` and `genre watch` train without them until they are repaired.

<workspace>/set-aside/<span>.json   since when, and why

Otherwise one damaged span would stop every run while it is in the window. `genre run` leaves nothing out: it fails, and
names the damage.
"""

from datetime import UTC, datetime

from etils import epath

from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.json_records import read_record
from components.base.section import Section
from components.base.times import Time, timestamp
from components.library.span_import import SpanImport


class SetAside(Section):
    """Records that a span cannot be used."""

    span: int
    digest: str
    """Of the span's content: a span that was ingested again is another one."""
    time: Time
    reason: str


def read_set_aside(directory: epath.Path) -> list[SetAside]:
    """Reads all records, sorted by span.

    Raises:
      UserError: a record is damaged.
    """
    if not directory.exists():
        return []
    remedy = "Remove it, and the span is used again."
    records = [read_record(path, SetAside, remedy) for path in directory.glob("*.json")]
    return sorted(records, key=lambda record: record.span)


def restore(directory: epath.Path, span: int) -> None:
    """Removes the record of `span`, so that it is used again.

    Raises:
      UserError: it is not set aside.
    """
    try:
        _file(directory, span).unlink()
    except FileNotFoundError:
        others = ", ".join(str(record.span) for record in read_set_aside(directory)) or "none"
        raise UserError(f"{directory}: span {span} is not set aside (spans that are: {others}).") from None


def unusable(directory: str, imported: SpanImport, error: UserError) -> UserError:
    """Sets the span aside that cannot be used, if whole spans were imported.

    Of several, that is the one whose files `error` names; or the newest, as the others passed before it came.

    Args:
      directory: of the records.
      imported: failed to be imported or validated.
      error: says why.

    Returns:
      The error to raise: `error`, and that the span was set aside.
    """
    if imported.span is None or not imported.manifest:
        return error
    digests = {imported.span: imported.manifest, **imported.joined}
    span = next((each for each in digests if f"/span-{each}/" in str(error)), imported.span)
    now = timestamp(datetime.now(UTC))
    record = SetAside(span=span, digest=digests[span], time=now, reason=str(error))
    path = _file(epath.Path(directory), span)
    try:
        write_atomically(path, record.model_dump_json(indent=2) + "\n")
    except OSError as problem:
        return UserError(f"{error}\nSpan {span} cannot be set aside: {path}: {problem.strerror}.")
    return UserError(
        f"{error}\n`genre retrain` and `genre watch` train without span {span} from now on. Repair it, then "
        f"use it again with `genre spans --restore {span}`."
    )


def _file(directory: epath.Path, span: int) -> epath.Path:
    return directory / f"{span}.json"
