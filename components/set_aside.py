"""Spans that cannot be used, which the loop leaves out until somebody has mended them.

<workspace>/set-aside/<span>.json   why; remove it to have the span used again

Otherwise one damaged span would stop every run for as long as it is in the window. Who runs the pipeline by hand is
told of the damage instead: nothing is left out then.
"""

from datetime import UTC, datetime

from etils import epath
from pydantic import ValidationError

from components.atomic_files import write_atomically
from components.config import Section, problems
from components.errors import UserError
from components.library import Source, complete_spans, read_manifest


class SetAside(Section):
    """That a span cannot be used."""

    span: int
    digest: str
    """Of the span's content: one that was ingested anew is another."""
    time: str
    """ISO 8601, UTC."""
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


def set_aside_spans(directory: epath.Path, root: epath.Path) -> list[int]:
    """The spans of the library at `root` that are set aside, and are still what they were then."""
    there = complete_spans(root)
    return [
        record.span
        for record in read_set_aside(directory)
        if record.span in there and read_manifest(root, record.span).digest == record.digest
    ]


def unusable(directory: str, source: Source, error: UserError) -> UserError:
    """`error` in importing or validating `source`; if that is a whole span, it is set aside, and the error says so."""
    if source.span is None or not source.manifest:
        return error
    path = epath.Path(directory) / f"{source.span}.json"
    time = datetime.now(UTC).isoformat(timespec="seconds")
    record = SetAside(span=source.span, digest=source.manifest, time=time, reason=str(error))
    write_atomically(path, record.model_dump_json(indent=2) + "\n")
    return UserError(
        f"{error}\n`genre retrain` and `genre watch` leave span {source.span} out from now on. When it is mended, "
        f"remove {path}."
    )
