"""The templates of the pages, and numbers as a person reads them.

A page is self-contained: it needs no network, no script and no font of its own, and follows the reader's light or dark
theme. Colours are Okabe and Ito's, which colour-blind readers can distinguish, and never the only sign.
"""

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment


def to_float(value: Any) -> float:
    """Returns `value` as a number; NaN where it is not one."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def number(value: Any, digits: int = 2) -> str:
    """Formats with `digits` decimals, grouped thousands and a real minus sign; a dash for None, NaN and infinity."""
    known = to_float(value)
    return f"{round(known, digits) + 0.0:,.{digits}f}".replace("-", "−") if math.isfinite(known) else "–"


def percent(value: Any, digits: int = 1) -> str:
    """Formats a share as a percentage; a dash for None, NaN and infinity."""
    known = to_float(value)
    return f"{number(100 * known, digits)} %" if math.isfinite(known) else "–"


def exact(value: float) -> str:
    """Formats with all digits, up to 10 significant ones, grouped thousands and a real minus sign."""
    return f"{value + 0.0:,.10g}".replace("-", "−")


def short(value: float) -> str:
    """Formats with three significant digits, never in powers of ten."""
    return exact(float(f"{value:.3g}"))


def p_value(value: float) -> str:
    """Formats a p-value with its relation, such as "= 0.0117" or "< 0.0001"."""
    return "< 0.0001" if value < 0.0001 else f"= {number(value, 4)}"


def environment() -> "Environment":
    """Returns the environment of the templates: all text is escaped, and an unknown name is an error."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("components.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(number=number, percent=percent, p_value=p_value)
    return made
