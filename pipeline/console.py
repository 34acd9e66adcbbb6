"""Shows on a console that something works: a live table or a line on a terminal, plain lines elsewhere.

rich would redirect what Python prints to the terminal, too. Here it stays where `pipeline.process.output_to` sends it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from pipeline.output import quiet

if TYPE_CHECKING:
    from pipeline.node_state import NodeState

_STYLES = {
    "waiting": "dim",
    "running": "bold cyan",
    "cached": "blue",
    "done": "green",
    "failed": "bold red",
    "canceled": "yellow",
    "skipped": "dim",
}
_GOING = ("waiting", "running")


@contextmanager
def busy(console: Console, text: str) -> Iterator[None]:
    """Shows `text` with a spinner on a terminal, until the block ends."""
    if quiet() or not console.is_interactive:
        yield
        return
    spinner = Spinner("dots", text)
    with Live(spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False):
        yield


@contextmanager
def counting(console: Console, what: str, total: int) -> Iterator[Callable[[], None]]:
    """Shows how much is done, and the time left, on a terminal, until the block ends.

    Yields:
      What to call when one of `total` is done.
    """
    if quiet() or not console.is_interactive:
        yield lambda: None
        return
    shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*shown, console=console, transient=True, redirect_stdout=False, redirect_stderr=False) as progress:
        task = progress.add_task(what, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def showing(console: Console, what: str) -> Iterator[Callable[[int], None]]:
    """Shows a growing number with a spinner on a terminal, until the block ends.

    Yields:
      What to call with the number.
    """
    if quiet() or not console.is_interactive:
        yield lambda number: None
        return
    spinner = Spinner("dots", what)
    with Live(spinner, console=console, transient=True, redirect_stdout=False, redirect_stderr=False):
        yield lambda number: spinner.update(text=f"{number:,} {what}")


class Watched(Protocol):
    """What runs within a node."""

    def figures(self) -> str:
        """Says how far it is; empty if that is not known."""
        ...

    def where(self) -> str:
        """Says where more is to be seen."""
        ...


class NodeTable:
    """The nodes of a run and their states."""

    def __init__(self, console: Console, watched: Mapping[str, Watched] | None = None) -> None:
        """`watched`: of what runs within a node, by its name."""
        self._console = console
        self._watched = watched or {}
        self._states: dict[str, tuple[str, float]] = {}
        self._ended = False
        self._quiet = quiet()
        self._live = Live(
            get_renderable=self._shown,
            console=console,
            refresh_per_second=4,
            redirect_stdout=False,
            redirect_stderr=False,
        )

    def __enter__(self) -> "NodeTable":
        if self._console.is_interactive and not self._quiet:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live.is_started:
            self._ended = True
            self._live.stop()

    def expect(self, nodes: Sequence[str]) -> None:
        """Lists nodes that will run."""
        self._states |= dict.fromkeys(nodes, ("waiting", 0.0))

    def show(self, node: "NodeState") -> None:
        """Shows a change of a node's state."""
        seconds = time.monotonic() if node.state == "running" else node.seconds
        self._states[node.node] = (node.state, seconds)
        if not (self._quiet or self._console.is_interactive) and node.state != "running":
            self._console.print(f"{node.node:<22} {node.state:<8} {node.seconds:6.1f} s")

    def note(self, text: str) -> None:
        """Prints a line of text above the table."""
        if not self._quiet:
            self._console.print(text, markup=False, soft_wrap=True)

    def _shown(self) -> RenderableType:
        going = [self._watched[name].where() for name, (state, _) in self._states.items() if self._goes(name, state)]
        return Group(self._table(len(going)), *(Text(line, "dim", overflow="fold") for line in going))

    def _goes(self, name: str, state: str) -> bool:
        return state == "running" and name in self._watched

    def _table(self, below: int) -> Table:
        table = Table(box=None, pad_edge=False)
        table.add_column("node", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        if below:
            table.add_column("", overflow="ellipsis", no_wrap=True)
        rows = list(self._states.items())
        if not self._ended:  # the last nodes that ended, and those after them, as far as there is room
            going = next((number for number, (_, (state, _)) in enumerate(rows) if state in _GOING), len(rows))
            room = max(1, self._console.height - 2 - 2 * below)
            first = max(0, min(going - 1, len(rows) - room))
            rows = rows[first : first + room]
        for name, (state, seconds) in rows:
            shown = time.monotonic() - seconds if state == "running" else seconds
            figures = [self._watched[name].figures()] if self._goes(name, state) else []
            table.add_row(name, Text(state, _STYLES[state]), "" if state == "waiting" else f"{shown:.1f}", *figures)
        return table
