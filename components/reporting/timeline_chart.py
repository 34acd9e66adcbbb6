"""The timeline of a pipeline that retrains: a chart and a table, for the report and for a page of its own."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from components.reporting.charts import Frame, Scale, Tick, linear, tick_values, ticks
from components.reporting.page import environment, percent
from components.retraining.timeline import Event, Timeline

ACCURACY = Frame(width=800, height=406, left=58, right=788, top=40, bottom=240)
SERVED = Frame(width=800, height=406, left=58, right=788, top=258, bottom=358)
SPANS = 16
"""Place of the row that marks spans, above the accuracies."""
_MARGIN = 10.0


@dataclass(frozen=True)
class Point:
    """A candidate that was judged: its accuracy on the golden set with its interval."""

    x: float
    y: float
    low: float
    high: float
    promoted: bool
    label: str


@dataclass(frozen=True)
class TimelineChart:
    """The accuracy of the candidates and the served version over time, and every event.

    Attributes:
      label: describes the drawing to those who do not see it.
      x_label: the first and the last day.
      x_ticks: times.
      y_ticks: accuracies.
      version_ticks: versions.
      points: candidates that were judged on a golden set.
      spans: arrivals of spans.
      drifts: times at which drift was found.
      roll_backs: times at which a version was rolled back.
      served: SVG path of the served version; empty if none ever was.
      notes: limits of what the chart shows.
      events: the oldest first; the page lists them the other way round.
    """

    label: str
    x_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    version_ticks: tuple[Tick, ...]
    points: tuple[Point, ...]
    spans: tuple[Tick, ...]
    drifts: tuple[Tick, ...]
    roll_backs: tuple[Tick, ...]
    served: str
    notes: tuple[str, ...]
    events: tuple[Event, ...]
    accuracy_frame: Frame = ACCURACY
    served_frame: Frame = SERVED
    spans_at: int = SPANS


def timeline_chart(timeline: Timeline) -> TimelineChart | None:
    """Draws and lists the events; None where there were fewer than two runs, so that nothing changed over time."""
    if timeline.runs < 2:
        return None
    moments = [datetime.fromisoformat(event.time) for event in timeline.events]
    first, last = moments[0], max(moments[-1], moments[0] + timedelta(minutes=1))
    scale = linear(first.timestamp(), last.timestamp(), ACCURACY.left + _MARGIN, ACCURACY.right - _MARGIN)

    def to_x(event: Event) -> float:
        return scale(datetime.fromisoformat(event.time).timestamp())

    def marks(kind: str) -> tuple[Tick, ...]:
        return tuple(Tick(to_x(event), _event_label(event)) for event in timeline.events if event.kind == kind)

    days = " to ".join(dict.fromkeys(f"{moment:%Y-%m-%d}" for moment in (first, last)))
    y_ticks, points = _accuracies(timeline, to_x)
    version_ticks, served = _served(timeline, to_x)
    return TimelineChart(
        label=f"Accuracy on the golden set of {len(points)} candidates, and the served version, {days}",
        x_label=f"time (UTC), {days}",
        x_ticks=_dates(first, last, scale),
        y_ticks=y_ticks,
        version_ticks=version_ticks,
        points=points,
        spans=marks("span"),
        drifts=marks("drift"),
        roll_backs=marks("roll-back"),
        served=served,
        notes=_notes(timeline),
        events=timeline.events,
    )


def render_history(timeline: Timeline, name: str) -> str:
    """Renders the timeline as one HTML page. All text is escaped; the same timeline gives the same page.

    Args:
      timeline: all events.
      name: of the pipeline.
    """
    chart = timeline_chart(timeline)
    return environment().get_template("history.html").render(name=name, timeline=timeline, chart=chart)


def _event_label(event: Event) -> str:
    return f"{event.time[:10]}, span {event.span}: {event.words}" if event.span else f"{event.time[:10]}: {event.words}"


def _dates(first: datetime, last: datetime, scale: Scale) -> tuple[Tick, ...]:
    """Returns marks at round times."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter, num2date

    locator = AutoDateLocator(tz=UTC)
    values = locator.tick_values(first, last)
    labels = ConciseDateFormatter(locator, tz=UTC).format_ticks(values)
    marks = zip((num2date(value, UTC) for value in values), labels, strict=True)
    return tuple(Tick(scale(moment.timestamp()), text) for moment, text in marks if first <= moment <= last)


def _accuracies(timeline: Timeline, to_x: Callable[[Event], float]) -> tuple[tuple[Tick, ...], tuple[Point, ...]]:
    """Returns the marks of the axis, and the candidates that were judged on a golden set."""
    judged = [
        (event, event.outcome.golden_accuracy, event.outcome.golden_interval)
        for event in timeline.events
        if event.outcome and event.outcome.golden_accuracy is not None and event.outcome.golden_interval
    ]
    bounds = [bound for *_, interval in judged for bound in interval] or [0.0, 1.0]
    values = [value for value in tick_values(min(bounds), max(bounds)) if -1e-9 <= value <= 1 + 1e-9]
    low, high = min(*values, *bounds), max(*values, *bounds)
    to_y = linear(low, high, ACCURACY.bottom, ACCURACY.top)
    points = tuple(
        Point(
            x=to_x(event),
            y=to_y(accuracy),
            low=to_y(interval[0]),
            high=to_y(interval[1]),
            promoted=event.kind == "promotion",
            label=f"{_event_label(event)} (95 % interval {percent(interval[0])} to {percent(interval[1])})",
        )
        for event, accuracy, interval in judged
    )
    return tuple(Tick(to_y(value), percent(value, 0)) for value in values), points


def _served(timeline: Timeline, to_x: Callable[[Event], float]) -> tuple[tuple[Tick, ...], str]:
    """Returns the marks of the axis, and the path of the served version, which stays until an event changes it."""
    changes = [(to_x(event), event.served) for event in timeline.events if event.served is not None]
    if not changes:
        return (), ""
    if timeline.served is not None and timeline.served != changes[-1][1]:  # the record misses the change
        changes.append((to_x(timeline.events[-1]), timeline.served))
    served = [version for _, version in changes]
    low, high = min(served), max(max(served), min(served) + 1)
    to_y = linear(low, high, SERVED.bottom - 8, SERVED.top + 8)
    path = f"M{changes[0][0]} {to_y(changes[0][1])}"
    path += "".join(f" H{x} V{to_y(version)}" for x, version in changes[1:]) + f" H{SERVED.right}"
    values = tick_values(low, high, 4, integer=True)
    return ticks((value for value in values if value in range(low, max(served) + 1)), low, high, to_y), path


def _notes(timeline: Timeline) -> tuple[str, ...]:
    sets = {event.outcome.golden_span for event in timeline.events if event.outcome and event.outcome.golden_interval}
    notes = []
    if not sets:
        notes.append("No candidate was judged on a golden set.")
    if len(sets) > 1:
        notes.append("The golden set changed: only accuracies on the same golden set can be compared.")
    return tuple(notes)
