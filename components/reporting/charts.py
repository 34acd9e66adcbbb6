"""Charts: frames, scales, ticks, lines and bars, in the units of a drawing. `templates/charts.html` draws them.

Why inline SVG of our own, and no charting library:

- Weight: a chart is 2 to 8 kB here. matplotlib writes 12 to 25 kB for the same chart; plotly.js (4.8 MB) and Bokeh
  (1.3 MB) put their whole library into a page that must work without a network.
- Interaction: a value in a tooltip is all that these charts need. An SVG `<title>` gives it without a script, so a page
  also opens where scripts are forbidden.
- Accessibility: every drawing has a role and a label, text stays text, and colours come from the page's style sheet, so
  they follow the light or dark theme. matplotlib fixes its colours and draws text as outlines by default.

Ticks at round values, the only hard part, are matplotlib's.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from components.reporting.page import exact, number, short

Scale = Callable[[float], float]
"""Maps a value to its place in a drawing."""


@dataclass(frozen=True)
class Frame:
    """Size of a drawing, and the places of the axes in it."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


CURVES = Frame(width=460, height=250, left=58, right=440, top=14, bottom=204)
BARS = Frame(width=340, height=200, left=50, right=322, top=10, bottom=156)


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, `at` in the units of the drawing."""

    at: float
    label: str


@dataclass(frozen=True)
class Line:
    """A series as an SVG path, broken where a value is missing."""

    name: str
    path: str
    dots: tuple[tuple[float, float, str], ...]
    """x, y and label."""


@dataclass(frozen=True)
class Bar:
    """A bar of a histogram; the label holds its range and count."""

    x: float
    y: float
    width: float
    height: float
    label: str


@dataclass(frozen=True)
class Chart:
    """Axes, with lines or bars, and at most one marked x."""

    frame: Frame
    title: str
    x_label: str
    y_label: str
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]
    lines: tuple[Line, ...] = ()
    bars: tuple[Bar, ...] = ()
    whiskers: tuple[tuple[float, float, float], ...] = ()
    """x, and two y: intervals of the first line's dots."""
    mark: Tick | None = None
    summary: str = ""


def linear(low: float, high: float, start: float, stop: float) -> Scale:
    """Returns the linear map of [low, high] to [start, stop], rounded to a tenth of a unit."""
    span = high - low or 1.0
    return lambda value: round(start + (value - low) / span * (stop - start), 1)


def tick_values(low: float, high: float, count: int = 5, integer: bool = False) -> list[float]:
    """Returns about `count` round values for an axis; the first and last enclose [low, high]."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], integer=integer)
    return [float(value) for value in locator.tick_values(low, high)]


def ticks(values: Iterable[float], low: float, high: float, scale: Scale) -> tuple[Tick, ...]:
    """Returns marks at those of `values` that lie in [low, high]."""
    slack = 1e-9 * max(abs(low), abs(high), 1e-9)
    return tuple(Tick(scale(value), exact(value)) for value in values if low - slack <= value <= high + slack)


def compared_histogram(
    title: str, x_label: str, edges: Sequence[float], sides: Mapping[str, Sequence[int]], share: bool = True
) -> Chart:
    """Draws sets of clips by value, each as an outline.

    Args:
      title: heading of the chart.
      x_label: name of the values.
      edges: of n buckets, n + 1 in ascending order.
      sides: by name, the clips in each bucket, n.
      share: whether the height is the share of the side's clips; else it is their number.
    """
    low, high = edges[0], edges[-1]
    to_x = linear(low, high, BARS.left, BARS.right)
    heights = {
        f"{name} ({sum(counts)} clips)": [count / (sum(counts) or 1) if share else float(count) for count in counts]
        for name, counts in sides.items()
    }
    y_values = tick_values(0.0, max(max(values) for values in heights.values()), 4, integer=not share)
    to_y = linear(0.0, y_values[-1], BARS.bottom, BARS.top)

    def outline(values: Sequence[float]) -> str:
        steps = [f"V{to_y(value)}H{to_x(stop)}" for value, stop in zip(values, edges[1:], strict=True)]
        return f"M{to_x(low)} {BARS.bottom}{''.join(steps)}V{BARS.bottom}"

    return Chart(
        frame=BARS,
        title=title,
        x_label=x_label,
        y_label="share of the clips" if share else "clips",
        x_ticks=ticks(tick_values(low, high, 4), low, high, to_x),
        y_ticks=ticks(y_values, 0.0, y_values[-1], to_y),
        lines=tuple(Line(name, outline(values), ()) for name, values in heights.items()),
    )


def unit_chart(
    title: str,
    x_label: str,
    y_label: str,
    lines: Mapping[str, Sequence[tuple[float, float, str]]],
    intervals: Sequence[tuple[float, float, float]] = (),
    summary: str = "",
) -> Chart:
    """Draws lines in the unit square: both axes go from 0 to 1.

    Args:
      title: heading of the chart.
      x_label: name of the first axis.
      y_label: name of the second.
      lines: by name, their points: x, y, and what the point says; one that says nothing has no dot.
      intervals: x, and two y: of points of the first line.
      summary: a sentence below.
    """
    to_x, to_y = linear(0.0, 1.0, CURVES.left, CURVES.right), linear(0.0, 1.0, CURVES.bottom, CURVES.top)
    values = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)

    def line(name: str, points: Sequence[tuple[float, float, str]]) -> Line:
        path = "".join(f"{'L' if index else 'M'}{to_x(x)} {to_y(y)}" for index, (x, y, _) in enumerate(points))
        return Line(name, path, tuple((to_x(x), to_y(y), words) for x, y, words in points if words))

    return Chart(
        frame=CURVES,
        title=title,
        x_label=x_label,
        y_label=y_label,
        x_ticks=ticks(values, 0.0, 1.0, to_x),
        y_ticks=ticks(values, 0.0, 1.0, to_y),
        lines=tuple(line(name, points) for name, points in lines.items()),
        whiskers=tuple((to_x(x), to_y(low), to_y(high)) for x, low, high in intervals),
        summary=summary,
    )


def line_chart(
    title: str, y_label: str, epochs: Sequence[float], series: Mapping[str, Sequence[float]], best: float, share: bool
) -> Chart | None:
    """Draws series over epochs; None where no series has a finite value.

    Args:
      title: heading of the chart.
      y_label: name of the values, with their unit.
      epochs: numbers of the epochs [n], ascending.
      series: values [n] by name; NaN where missing.
      best: the epoch to mark; NaN for none.
      share: the values are shares, on an axis from 0 to 1; else the axis fits the values.
    """
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if not finite:
        return None
    y_values = [0.0, 0.2, 0.4, 0.6, 0.8, 1.0] if share else tick_values(min(finite), max(finite))
    to_y = linear(y_values[0], y_values[-1], CURVES.bottom, CURVES.top)
    low, high = min(epochs), max(epochs)
    to_x = linear(low, high, CURVES.left, CURVES.right)
    return Chart(
        frame=CURVES,
        title=title,
        x_label="epoch",
        y_label=y_label,
        x_ticks=ticks(tick_values(low, high, 8, integer=True), low, high, to_x),
        y_ticks=ticks(y_values, y_values[0], y_values[-1], to_y),
        lines=tuple(_line(name, epochs, values, to_x, to_y) for name, values in series.items()),
        mark=Tick(to_x(best), f"best epoch {exact(best)}") if math.isfinite(best) else None,
    )


def _line(name: str, xs: Sequence[float], ys: Sequence[float], to_x: Scale, to_y: Scale) -> Line:
    path, pen_down, dots = [], False, []
    for x, y in zip(xs, ys, strict=True):
        if not math.isfinite(y):
            pen_down = False
            continue
        path.append(f"{'L' if pen_down else 'M'}{to_x(x)} {to_y(y)}")
        dots.append((to_x(x), to_y(y), f"{name}, epoch {exact(x)}: {number(y, 3)}"))
        pen_down = True
    return Line(name, " ".join(path), tuple(dots))


def histogram(title: str, unit: str, values: NDArray[np.float64], from_zero: bool) -> Chart | None:
    """Draws the number of clips by `values`, float [n]; None where there are none.

    Args:
      title: heading of the chart.
      unit: of the values.
      values: finite, one per clip.
      from_zero: the axis starts at 0; else it fits the values.
    """
    if not len(values):
        return None
    low, high = (0.0 if from_zero else float(values.min())), float(values.max())
    ends = tick_values(low, high if high > low else low + 1.0, 4)
    low, high = ends[0], ends[-1]
    counts, edges = np.histogram(values, bins=24, range=(low, high))
    to_x = linear(low, high, BARS.left, BARS.right)
    y_values = [value for value in tick_values(0, float(counts.max()), 4, integer=True) if value >= 0]
    to_y = linear(0, y_values[-1], BARS.bottom, BARS.top)
    bars = tuple(
        Bar(
            x=to_x(start),
            y=to_y(count),
            width=round(max(to_x(stop) - to_x(start) - 1.0, 0.5), 1),
            height=round(BARS.bottom - to_y(count), 1),
            label=f"{short(start)} to {short(stop)} {unit}: {count} clips",
        )
        for start, stop, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True)
        if count
    )
    p5, p50, p95 = (short(value) for value in np.percentile(values, [5, 50, 95]).tolist())
    return Chart(
        frame=BARS,
        title=title,
        x_label=unit,
        y_label="clips",
        x_ticks=ticks(ends, low, high, to_x),
        y_ticks=ticks(y_values, 0, y_values[-1], to_y),
        bars=bars,
        summary=f"Median {p50}; nine clips in ten lie between {p5} and {p95}.",
    )
