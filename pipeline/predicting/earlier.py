"""What an interrupted batch has written, so that it goes on where it was."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from etils import epath

from components.base.errors import UserError
from components.base.files import write_atomically
from components.base.tables import read_table, write_table
from pipeline.predicting.formats import Choice, columns

RESUMABLE = ("jsonl", "csv")
"""Forms that are of use before they are complete: they are written as they come."""
Row = dict[str, Any]


def resume(file: Path, form: str, choice: Choice, version: int | None) -> set[str]:
    """Reads what was written to `file`, and leaves only the songs in it that are finished.

    Songs with an error are not: they are tried again. Nor is the last one, which may have been cut off.

    Args:
      form: jsonl or csv.
      version: of the model that goes on.

    Returns:
      The paths of the finished songs, as they are written.

    Raises:
      UserError: `file` cannot be read, or was written by another version or with other options.
    """
    try:
        content = file.read_bytes().decode(errors="replace")
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}.") from error
    whole = content[: content.rfind("\n") + 1]
    try:
        rows, text = (_json_rows if form == "jsonl" else _csv_rows)(whole, choice)
    except ValueError as error:
        raise UserError(
            f"{file}: it cannot be continued: {error}. Name another file, or leave out --resume."
        ) from error
    if form == "csv" and rows:  # a song has several rows, and more of the last one may have been to come
        rows = [row for row in rows if row["path"] != rows[-1]["path"]]
    rows = [row for row in rows if not row.get("error")]
    if others := sorted({str(row["version"]) for row in rows} - {str(version)}):
        raise UserError(
            f"{file}: it was written by version {', '.join(others)}, and version {version} is served. Name another "
            "file, or leave out --resume."
        )
    write_atomically(epath.Path(file), text(rows))
    return {row["path"] for row in rows}


def _json_rows(content: str, choice: Choice) -> tuple[list[Row], Callable[[list[Row]], str]]:
    rows = [json.loads(line) for line in content.split("\n") if line]
    if any(not isinstance(row, dict) or "path" not in row for row in rows):
        raise ValueError("it is no list of predictions")
    if any(("segments" in row) != choice.segments for row in rows if "error" not in row):
        raise ValueError("it was written with and now without --segments, or the other way around")
    return rows, lambda kept: "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in kept)


def _csv_rows(content: str, choice: Choice) -> tuple[list[Row], Callable[[list[Row]], str]]:
    wanted = columns(choice)
    rows = [dict(row) for row in read_table(io.StringIO(content, newline=""))]
    header = content.partition("\n")[0].split(",")
    if content and header != wanted:
        raise ValueError(f"its columns are {', '.join(header)}, and not {', '.join(wanted)}")

    def text(kept: list[Row]) -> str:
        out = io.StringIO()
        write_table(out, wanted, [[row[column] for column in wanted] for row in kept])
        return out.getvalue()

    return rows, text
