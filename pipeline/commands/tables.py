"""Tables that commands print."""

import re
import sys
from collections.abc import Iterable, Sequence

import click

from components.base.text import one_line
from pipeline.output import plain_console

_UNLIMITED = 10_000
_NUMBER = re.compile(r"[\d.,]*%?")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], header: bool = True) -> None:
    """Prints a table; columns of numbers are aligned right.

    On a terminal, long cells are wrapped. Elsewhere a row is one line of any length, for programs.

    Args:
      columns: their names.
      rows: a cell for each column, printed as plain text.
    """
    from rich.table import Table

    texts = [[one_line(str(cell)) for cell in row] for row in rows]
    table = Table(box=None, pad_edge=False, show_header=header)
    for index, name in enumerate(columns):
        numbers = all(_NUMBER.fullmatch(row[index]) for row in texts)
        table.add_column(name, justify="right" if numbers else "left")
    for row in texts:
        table.add_row(*row)
    console = plain_console(width=None if sys.stdout.isatty() else _UNLIMITED)
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():
        click.echo(line.rstrip())
