"""Prints for people: everything is shown as it is, without markup, and without characters that control a terminal."""

import sys
from typing import IO, TYPE_CHECKING, Any

import click

from components.base.text import printable

if TYPE_CHECKING:
    from rich.console import Console


PLAIN_WIDTH = 110
"""Characters in a line where there is no terminal."""


QUIET, VERBOSE = "genre.quiet", "genre.verbose"
"""Keys of click's `Context.meta`, see `pipeline.commands.options.add_verbosity`."""


def quiet() -> bool:
    """Returns whether results and errors alone are to be shown."""
    return _asked(QUIET)


def verbose() -> bool:
    """Returns whether what libraries print is to be shown, too."""
    return _asked(VERBOSE)


def _asked(key: str) -> bool:
    context = click.get_current_context(silent=True)
    return bool(context and context.meta.get(key))


def note(text: str) -> None:
    """Prints on standard error what is no result, unless results alone are to be shown."""
    if not quiet():
        echo(text, err=True)


def echo(text: str, *, err: bool = False) -> None:
    """Prints text to standard output, or to standard error."""
    click.echo(printable(text), err=err)


def plain_console(file: IO[str] | None = None, width: int | None = None) -> "Console":
    """Makes a console that takes the strings which it prints, also those in tables, as text. Styles are arguments.

    Args:
      file: where it prints; None: standard output.
      width: of a line; None: that of the terminal.
    """
    from rich.console import Console
    from rich.text import Text

    class PlainConsole(Console):
        def render_str(self, text: str, **options: Any) -> Text:
            """Makes a text of a string: rich calls this for every one."""
            return super().render_str(printable(text), **options)

    terminal = None if (file or sys.stdout).isatty() else False  # whatever FORCE_COLOR and the like say
    return PlainConsole(file=file, width=width, force_terminal=terminal, highlight=False, markup=False, emoji=False)
