"""What the pages have in common: their templates' environment, axes of charts, numbers as a person reads them.

A page is self-contained: it needs no network, no script and no font of its own, and follows the reader's light or dark
theme. Colours are Okabe and Ito's, which colour-blind readers can tell apart, and never the only sign.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


@dataclass(frozen=True)
class Frame:
    """Size of a drawing, and where in it the axes are."""

    width: int
    height: int
    left: int
    right: int
    top: int
    bottom: int


@dataclass(frozen=True)
class Tick:
    """A mark on an axis, `at` in the units of the drawing."""

    at: float
    label: str


def number(value: Any, digits: int = 2) -> str:
    """`value` with `digits` decimals, grouped thousands and a real minus sign; a dash for None, NaN and infinity."""
    known = to_float(value)
    return f"{round(known, digits) + 0.0:,.{digits}f}".replace("-", "−") if math.isfinite(known) else "–"


def percent(value: Any, digits: int = 1) -> str:
    """A share as a percentage; a dash for None, NaN and infinity."""
    known = to_float(value)
    return f"{number(100 * known, digits)} %" if math.isfinite(known) else "–"


def to_float(value: Any) -> float:
    """`value` as a number, NaN where it is none."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def tick_values(low: float, high: float, count: int = 5, integer: bool = False) -> list[float]:
    """Round values for the marks of an axis, about `count`; the first and last enclose [low, high]."""
    from matplotlib.ticker import MaxNLocator

    locator = MaxNLocator(count, steps=[1, 2, 2.5, 5, 10], integer=integer)
    return [float(value) for value in locator.tick_values(low, high)]


def plain(value: float) -> str:
    """`value` with all its digits, grouped thousands and a real minus sign."""
    return f"{value + 0.0:,.10g}".replace("-", "−")


def linear(low: float, high: float, start: float, stop: float) -> Callable[[float], float]:
    """Linear map of [low, high] to [start, stop], to a tenth of a unit."""
    span = high - low or 1.0
    return lambda value: round(start + (value - low) / span * (stop - start), 1)


def ticks(values: Iterable[float], low: float, high: float, scale: Callable[[float], float]) -> tuple[Tick, ...]:
    """Marks at those of `values` that lie in [low, high]."""
    slack = 1e-9 * max(abs(low), abs(high), 1e-9)
    return tuple(Tick(scale(value), plain(value)) for value in values if low - slack <= value <= high + slack)


def environment() -> "Environment":
    """For the templates in this directory: all text is escaped, and a name that is not known is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("components.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, percent=percent)
    return made
