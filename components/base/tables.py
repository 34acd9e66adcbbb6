"""CSV files: cells that spreadsheets do not take for formulas, and the reading of tables that people made."""

import csv
import io
import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TextIO

from components.base.errors import UserError, reason
from components.base.text import as_utf8, is_text

_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_LONGEST_FIELD = 1 << 24
"""Characters. Biographies and lyrics are longer than the csv module allows by default."""


def write_table(out: TextIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> int:
    """Writes a CSV file; returns the number of `rows`.

    Text that a spreadsheet would run as a formula gets an apostrophe in front. Bytes that are not UTF-8, such as in the
    names of files, become escapes.
    """
    count = -1
    for count, row in enumerate(itertools.chain([columns], rows)):  # noqa: B007 (it is the result)
        line = io.StringIO(newline="")
        csv.writer(line, lineterminator="\r\n").writerow(map(_protected, row))  # with "\n", it would not quote "\r"
        out.write(line.getvalue().removesuffix("\r\n") + "\n")
    return count


def read_table(text: TextIO) -> Iterator[dict[str, str]]:
    """Yields the rows by column of what `write_table` wrote, without the apostrophes.

    Raises:
      ValueError: it is no such table.
    """
    reader = csv.DictReader(text)
    try:
        for row in reader:
            if None in row:
                raise ValueError(f"line {reader.line_num} has more fields than the first")
            yield {name: cell and _restored(cell) for name, cell in row.items()}
    except csv.Error as error:
        raise ValueError(f"line {reader.line_num}: {error}") from error


def _protected(cell: object) -> object:
    if not isinstance(cell, str):
        return cell
    return as_utf8(f"'{cell}" if _FORMULA.match(cell) else cell)


def _restored(cell: str) -> str:
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def read_rows(file: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Yields the fields of the rows of a CSV file in UTF-8, each row with the number of its first line, from 1.

    Empty lines are passed over. A byte order mark is, too.

    Raises:
      UserError: the file is missing, unreadable, or no such table; the message names the line.
    """
    limit = csv.field_size_limit(_LONGEST_FIELD)  # it holds for the whole process
    line = 1
    try:
        with file.open("rb") as raw:
            if raw.read(2) in (b"\xff\xfe", b"\xfe\xff"):
                raise UserError(f"{file}: its text is UTF-16. Save it again as CSV in UTF-8.")
        with file.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as text:
            reader = csv.reader(text, delimiter=delimiter, strict=True)
            for row in reader:
                if "\0" in (fields := "".join(row)):
                    raise UserError(f"{file}, line {line}: NUL bytes in it. Save the table again as CSV in UTF-8.")
                if not is_text(fields):
                    raise UserError(
                        f"{file}, line {line}: not UTF-8. Save the table again in UTF-8; rename files whose names are "
                        "not UTF-8."
                    )
                if row:
                    yield line, [_restored(field) for field in row]
                line = reader.line_num + 1
    except FileNotFoundError:
        raise UserError(f"{file}: no such file. Give the CSV file that lists the songs.") from None
    except OSError as error:
        raise UserError(f"{file}: not readable ({reason(error)}). Make it readable.") from error
    except csv.Error as error:
        raise UserError(
            f"{file}, line {line}: not readable as CSV ({error}). Look for a quotation mark that is not closed, or not "
            "doubled within a field."
        ) from error
    finally:
        csv.field_size_limit(limit)
