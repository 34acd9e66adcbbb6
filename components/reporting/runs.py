"""The page that lists all runs of a workspace, and puts two of them side by side."""

from collections.abc import Sequence

from components.base.section import Section
from components.reporting.page import environment, number, percent


class RunRow(Section):
    """A run, as the list shows it."""

    run_id: str
    """Its time, as it names the run's folder."""
    outcome: str
    """What became of it, in words."""
    state: str
    """good, bad, or empty where nothing was decided."""
    kind: str
    """Of the model."""
    spans: str
    figures: dict[str, float | None]
    """By name; shares from 0 to 1, but for those in `PLAIN`."""
    seconds: float
    reasons: tuple[str, ...] = ()
    """The gate's verdict, or why there is none."""
    settings: dict[str, str] = {}  # noqa: RUF012 (pydantic copies it)
    """The whole configuration, by dotted key."""
    nodes: dict[str, float] = {}  # noqa: RUF012
    """Seconds that each node took; those that came from the cache are left out."""
    report: str | None = None
    """Address of the run's report, from the list; None: it is no longer there, or never was."""

    @property
    def time(self) -> str:
        """The time of the run's id for a person; the id itself where it is no time."""
        day, _, clock = self.run_id.partition("-")
        if not (day.isdecimal() and len(day) == 8 and clock[:6].isdecimal() and len(clock) >= 6):
            return self.run_id
        return f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:4]}:{clock[4:6]}"

    @property
    def shown(self) -> dict[str, str]:
        """The figures as a person reads them."""
        return {name: number(value, 3) if name in PLAIN else percent(value) for name, value in self.figures.items()}


PLAIN = ("macro-F1", "log loss")
"""Figures that are no percentages."""


def render_runs(rows: Sequence[RunRow], name: str) -> str:
    """Renders the list as one HTML page. All text is escaped; the same runs give the same page.

    Args:
      rows: the newest first.
      name: of the pipeline.
    """
    values: dict[str, set[str | None]] = {key: set() for row in rows for key in row.settings}
    for key, found in values.items():
        found.update(row.settings.get(key) for row in rows)
    differ = {key for key, found in values.items() if len(found) > 1}  # others would fill the page, and are never shown
    data = [
        {
            "id": row.run_id,
            "Time": row.time,
            "Outcome": row.outcome,
            "figures": row.shown,
            "settings": {key: value for key, value in row.settings.items() if key in differ},
            "nodes": {node: f"{number(seconds, 1)} s" for node, seconds in row.nodes.items()},
            "reasons": row.reasons,
        }
        for row in rows
    ]
    figures = list(dict.fromkeys(name for row in rows for name in row.figures))
    return environment().get_template("runs.html").render(rows=rows, name=name, data=data, figures=figures)
