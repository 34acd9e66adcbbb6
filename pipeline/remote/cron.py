"""Checks cron expressions and time zones of scheduled runs before a service is asked."""

import re
import zoneinfo
from datetime import UTC, datetime

from cronsim import CronSim, CronSimError

from components.base.errors import UserError

_FIELDS = {
    "minute": "0 to 59",
    "hour": "0 to 23",
    "day-of-month": "1 to 31, and a day that a month of the expression has",
    "month": "1 to 12, or jan to dec",
    "day-of-week": "0 to 6, or sun to sat; Sunday is 0",
}
"""By cronsim's name of a field: what it may be."""
_NOT_EVERYWHERE = {"day-of-month": r"[A-Za-z]", "day-of-week": r"7|\dL"}
"""Patterns that cronsim understands, but Kubeflow Pipelines or Vertex AI does not: the last day, Sunday as 7."""


def check_cron(text: str) -> str:
    """Returns the five fields of a cron expression, divided by single spaces.

    What Kubeflow Pipelines and Vertex AI understand alike is allowed: `*`, numbers, names of months and days, ranges,
    lists and steps.

    Raises:
      UserError: not five fields, a field out of range or ill-formed, or a day that no month has.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        raise UserError(
            f'--cron {text!r}: {len(fields)} fields, but it takes five: {", ".join(_FIELDS)}; "0 4 * * *" is every '
            "day at 4:00. Seconds, and short forms such as @daily, are not understood on every target."
        )
    named = dict(zip(_FIELDS, fields, strict=True))
    wrong = next((name for name, field in named.items() if _not_everywhere(name, field)), None)
    try:
        CronSim(text, datetime.now(UTC))
    except CronSimError as error:
        wrong = wrong or str(error).removeprefix("Bad ")
    if wrong:
        raise UserError(
            f"--cron {text!r}: {wrong} {named[wrong]!r} is not valid. It takes {_FIELDS[wrong]}; * for all, ranges "
            "such as 1-5, steps such as */10, and lists of these with commas."
        )
    return " ".join(fields)


def _not_everywhere(name: str, field: str) -> bool:
    return re.search(rf"[^0-9A-Za-z*,/-]|{_NOT_EVERYWHERE.get(name, '(?!)')}", field, re.IGNORECASE) is not None


def check_timezone(name: str) -> str:
    """Returns `name` if it is in the IANA time zone database.

    Raises:
      UserError: it is not.
    """
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UserError(f"{name}: no such time zone. Write it as UTC or Europe/Berlin.") from error
    return name
