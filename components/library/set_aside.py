"""Spans that cannot be used. `genre retrain` and `genre watch` train without them until they are repaired.

<workspace>/set-aside/<span>.json   since when, and why

Otherwise one damaged span would stop every run while it is in the window. `genre run` leaves nothing out: it fails, and
names the damage.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from etils import epath

from components.base.errors import UserError, reason
from components.base.files import remove
from components.base.json_records import read_record, record_files, write_record
from components.base.section import Section
from components.base.times import Time, timestamp


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
    remedy = "Remove it, and the span is used again."
    records = [read_record(path, SetAside, remedy) for path in record_files(directory)]
    return sorted(records, key=lambda record: record.span)


def restore(directory: epath.Path, span: int) -> None:
    """Removes the record of `span`, so that it is used again.

    Raises:
      UserError: it is not set aside.
    """
    try:
        remove(_file(directory, span))
    except FileNotFoundError:
        others = ", ".join(str(record.span) for record in read_set_aside(directory)) or "none"
        raise UserError(f"{directory}: span {span} is not set aside (spans that are: {others}).") from None


def unusable(directory: str, spans: Mapping[int, str], error: UserError) -> UserError:
    """Sets spans aside.

    Args:
      directory: of the records.
      spans: by number, the digests of those that failed to be imported or validated; there may be none.
      error: says why.

    Returns:
      The error to raise: `error`, and which spans were set aside.
    """
    if not spans:
        return error
    now = timestamp(datetime.now(UTC))
    for span, digest in spans.items():
        record = SetAside(span=span, digest=digest, time=now, reason=str(error))
        path = _file(epath.Path(directory), span)
        try:
            write_record(path, record)
        except OSError as problem:
            return UserError(f"{error}\nSpan {span} cannot be set aside: {path}: {reason(problem)}.")
    names = ", ".join(f"span {span}" for span in spans)
    commands = " and ".join(f"`genre spans --restore {span}`" for span in spans)
    return UserError(
        f"{error}\n`genre retrain` and `genre watch` train without {names} from now on. Repair it, then "
        f"use it again with {commands}."
    )


def _file(directory: epath.Path, span: int) -> epath.Path:
    return directory / f"{span}.json"
