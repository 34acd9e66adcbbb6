"""The templates of the pages, and numbers as a person reads them.

A page is self-contained: it needs no network and no font of its own, and follows the reader's light or dark theme. Its
figures are there without a script, too; with its script, a reader searches, sorts and plays. Colours are Okabe and
Ito's, which colour-blind readers can distinguish, and never the only sign.
"""

import base64
import hashlib
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from jinja2 import Environment
    from markupsafe import Markup


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


_TEMPLATES = Path(__file__).with_name("templates")


def templates_digest() -> str:
    """Computes the digest of all templates, for the cache of a node that renders a page."""
    digest = hashlib.sha256()
    for path in sorted(_TEMPLATES.iterdir()):
        digest.update(f"{path.name}\n".encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _script(name: str) -> "Markup":
    """Returns a script of the templates as an element."""
    from markupsafe import Markup

    return Markup(f"<script>{(_TEMPLATES / name).read_text(encoding='utf-8')}</script>")


def _scripts_allowed() -> str:
    """Returns the sources that the policy of a page allows: our scripts, by their hashes, and no other."""
    digests = (hashlib.sha256(path.read_bytes()).digest() for path in sorted(_TEMPLATES.glob("*.js")))
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


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
    # The order of figures and of nodes says something.
    made.policies.update({"json.dumps_kwargs": {"sort_keys": False}})
    made.globals.update(script=_script, scripts_allowed=_scripts_allowed())
    made.filters.update(number=number, percent=percent, p_value=p_value)
    return made
