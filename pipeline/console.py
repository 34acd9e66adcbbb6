"""Shows a run while it runs: a live table on a terminal, a line per node elsewhere."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from pipeline.node_state import NodeState

_STYLES = {
    "waiting": "dim",
    "running": "bold cyan",
    "cached": "blue",
    "done": "green",
    "failed": "bold red",
    "canceled": "yellow",
}


class NodeTable:
    """The nodes of a run and their states."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._states: dict[str, tuple[str, float]] = {}
        self._live = Live(get_renderable=self._table, console=console, refresh_per_second=4)
        self._interactive = console.is_terminal

    def __enter__(self) -> "NodeTable":
        if self._interactive:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._interactive:
            self._live.stop()

    def expect(self, nodes: Sequence[str]) -> None:
        """Lists nodes that will run."""
        self._states |= dict.fromkeys(nodes, ("waiting", 0.0))

    def show(self, node: "NodeState") -> None:
        """Shows a change of a node's state."""
        seconds = time.monotonic() if node.state == "running" else node.seconds
        self._states[node.node] = (node.state, seconds)
        if not self._interactive and node.state != "running":
            self._console.print(f"{node.node:<22} {node.state:<8} {node.seconds:6.1f} s")

    def note(self, text: str) -> None:
        """Prints a line of text above the table."""
        self._console.print(text, markup=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table("node", "state", box=None, pad_edge=False)
        table.add_column("seconds", justify="right")
        for name, (state, seconds) in self._states.items():
            shown = time.monotonic() - seconds if state == "running" else seconds
            table.add_row(name, Text(state, _STYLES[state]), "" if state == "waiting" else f"{shown:.1f}")
        return table
