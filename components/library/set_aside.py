"""Spans that cannot be used, which the loop leaves out until somebody has mended them.

<workspace>/set-aside/<span>.json   since when, and why

Otherwise one damaged span would stop every run for as long as it is in the window. Who runs the pipeline by hand is
told of the damage instead: nothing is left out then.
"""

from datetime import UTC, datetime

from etils import epath
from pydantic import ValidationError

from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.section import Section, problems
from components.base.times import Time, timestamp
from components.library.layout import SpanImport, complete_spans, read_manifest


class SetAside(Section):
    """That a span cannot be used."""

    span: int
    digest: str
    """Of the span's content: one that was ingested anew is another."""
    time: Time
    reason: str


def read_set_aside(directory: epath.Path) -> list[SetAside]:
    """Every record there is, by span.

    Raises:
      UserError: one is damaged.
    """
    if not directory.exists():
        return []
    records = []
    for path in directory.glob("*.json"):
        try:
            records.append(SetAside.model_validate_json(path.read_bytes()))
        except ValidationError as error:
            raise UserError(
                f"{path}: damaged: {'; '.join(problems(error))}. Remove it, and the span is used again."
            ) from error
    return sorted(records, key=lambda record: record.span)


def set_aside_spans(directory: epath.Path, root: epath.Path) -> list[SetAside]:
    """Records of the spans of the library at `root` that are set aside, and are still what they were then, by span."""
    there = complete_spans(root)
    return [
        record
        for record in read_set_aside(directory)
        if record.span in there and read_manifest(root, record.span).digest == record.digest
    ]


def restore(directory: epath.Path, span: int) -> None:
    """Has `span` used again.

    Raises:
      UserError: it is not set aside.
    """
    try:
        _file(directory, span).unlink()
    except FileNotFoundError:
        others = ", ".join(str(record.span) for record in read_set_aside(directory)) or "none"
        raise UserError(f"{directory}: span {span} is not set aside (spans that are: {others}).") from None


def unusable(directory: str, source: SpanImport, error: UserError) -> UserError:
    """`error` in importing or validating `source`; if that is a whole span, it is set aside, and the error says so."""
    if source.span is None or not source.manifest:
        return error
    record = SetAside(span=source.span, digest=source.manifest, time=timestamp(datetime.now(UTC)), reason=str(error))
    path = _file(epath.Path(directory), source.span)
    try:
        write_atomically(path, record.model_dump_json(indent=2) + "\n")
    except OSError as problem:
        return UserError(f"{error}\nSpan {source.span} cannot be set aside: {path}: {problem.strerror}.")
    return UserError(
        f"{error}\n`genre retrain` and `genre watch` leave span {source.span} out from now on. When it is mended, "
        f"`genre spans --restore {source.span}` has it used again."
    )


def _file(directory: epath.Path, span: int) -> epath.Path:
    return directory / f"{span}.json"
