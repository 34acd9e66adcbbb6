"""What an interrupted batch has written, so that it goes on where it was.

Beside the output lies a hidden file that says what was asked for. A file without one is somebody else's, and is left as
it is.
"""

import io
import json
from pathlib import Path
from typing import Any

from etils import epath

from components.base.errors import UserError, reason
from components.base.files import write_atomically
from components.base.tables import read_table, write_table
from pipeline.predicting.formats import Choice, columns

RESUMABLE = ("jsonl", "csv")
"""Forms that are of use before they are complete: they are written as they come."""
Asked = dict[str, Any]
"""What two batches must have in common to share a file, by the name of the option."""
Row = dict[str, Any]
_OTHER = "Name another file, or leave out --resume to write it anew."


def asked_for(form: str, choice: Choice, hop: float | None, version: int | None) -> Asked:
    """Returns what is asked for: the form, the options, and the version of the model."""
    options = {"--segments": choice.segments, "--hop": hop, "--top": choice.top, "--min-confidence": choice.least}
    return {"--format": form, **options, "version": version}


def note(file: Path, asked: Asked) -> None:
    """Writes down what is asked for of an output that begins; nothing for a stream, which cannot be continued.

    Raises:
      OSError: it cannot be written.
    """
    if file.is_file():
        write_atomically(epath.Path(_beside(file)), json.dumps(asked, indent=2) + "\n")


def resume(file: Path, choice: Choice, asked: Asked) -> set[str]:
    """Reads what was written to `file`, and leaves only the songs in it that are finished.

    Songs with an error are not: they are tried again. Nor is the last one, which may have been cut off.

    Returns:
      The paths of the finished songs, as they are written.

    Raises:
      UserError: `file` cannot be read, is not from here, or was written by another version or with other options. It is
        left as it was.
    """
    try:
        if file.exists() and not file.is_file():
            raise UserError(f"{file}: no file that can be continued. {_OTHER}")
        content = file.read_bytes()
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {reason(error)}.") from error
    if not content:
        return set()
    try:
        _require_same(_noted(file), asked)
        whole = content[: content.rfind(b"\n") + 1].decode()
        done, kept = _lines(whole) if asked["--format"] == "jsonl" else _table(whole, columns(choice))
    except ValueError as error:
        raise UserError(f"{file}: it cannot be continued: {error}. {_OTHER}") from error
    write_atomically(epath.Path(file), kept)
    return done


def _beside(file: Path) -> Path:
    return file.with_name(f".{file.name}.asked.json")


def _noted(file: Path) -> Asked:
    """Returns what was asked for when `file` began.

    Raises:
      ValueError: that is not known.
    """
    try:
        known = json.loads(_beside(file).read_bytes())
    except (OSError, ValueError, RecursionError):
        known = None
    if not isinstance(known, dict):
        raise ValueError(f"{_beside(file).name}, which says with what options it was written, is not beside it")
    return known


def _require_same(before: Asked, asked: Asked) -> None:
    def word(value: object) -> str:
        return "not given" if value is None or value is False else "given" if value is True else str(value)

    others = [name for name in asked if before.get(name) != asked[name]]
    if others:
        was, now = (", ".join(f"{name} {word(each.get(name))}" for name in others) for each in (before, asked))
        raise ValueError(f"it was written with {was}, and this is with {now}")


def _lines(content: str) -> tuple[set[str], str]:
    """Returns the finished songs among lines of JSON, and their lines.

    Raises:
      ValueError: these are no predictions.
    """
    try:
        rows = [(json.loads(line), line) for line in content.split("\n") if line]
    except RecursionError:
        raise ValueError("a line of it is nested too deeply") from None
    if not all(isinstance(row, dict) and isinstance(row.get("path"), str) for row, _ in rows):
        raise ValueError("a line of it is no prediction")
    kept = [(row["path"], line) for row, line in rows if not row.get("error")]
    return {path for path, _ in kept}, "".join(f"{line}\n" for _, line in kept)


def _table(content: str, wanted: list[str]) -> tuple[set[str], str]:
    """Returns the finished songs of a table, and the table with those.

    Raises:
      ValueError: this is no table of predictions.
    """
    rows = list(read_table(io.StringIO(content, newline="")))
    header = content.partition("\n")[0]
    if content and header != ",".join(wanted):
        raise ValueError(f"its columns are {header}, and not {','.join(wanted)}")
    if short := [number for number, row in enumerate(rows[:-1], 1) if None in row.values()]:
        raise ValueError(f"row {short[0]} has fewer fields than the first line")  # the last may be cut off in a name
    last = rows[-1]["path"] if rows else None  # a song has several rows, and more of the last one may have been to come
    kept = [row for row in rows if not row["error"] and row["path"] != last]
    out = io.StringIO()
    write_table(out, wanted, [list(row.values()) for row in kept])
    return {row["path"] for row in kept}, out.getvalue()
