"""When a scheduled run starts: cron expressions, as people know them from Unix."""

import re
import zoneinfo

from components.base.errors import UserError

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _DAYS),
)
_LONGEST = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_EXAMPLE = '"0 4 * * *" is every day at 4:00'


def check_cron(text: str) -> str:
    """The five fields of a cron expression, divided by single spaces, once it is clear that it can come true.

    What Kubeflow Pipelines and Vertex AI understand alike is allowed: `*`, numbers, names of months and days, ranges,
    lists and steps.

    Raises:
      UserError: not five fields, a field out of range or ill-formed, or a day that no month has.
    """
    fields = text.split()
    if len(fields) != len(_FIELDS):
        names = ", ".join(name for name, *_ in _FIELDS)
        raise UserError(
            f"--cron {text!r}: {len(fields)} fields, but it takes five: {names}; {_EXAMPLE}. Seconds, and short forms "
            "such as @daily, are not understood on every target."
        )
    values = [_values(text, field, *kind) for field, kind in zip(fields, _FIELDS, strict=True)]
    days, months = values[2], values[3]
    if fields[4] == "*" and all(min(days) > _LONGEST[month - 1] for month in months):
        raise UserError(f"--cron {text!r}: no such month has a day {min(days)}: it would never start a run")
    return " ".join(fields)


def _values(text: str, field: str, name: str, low: int, high: int, words: tuple[str, ...]) -> set[int]:
    """The numbers that a field stands for."""

    def number(part: str) -> int:
        if part.lower() in words:
            return words.index(part.lower()) + low
        if not part.isdecimal() or not low <= int(part) <= high:
            hint = " Sunday is 0." if name == "day of the week" and part == "7" else ""
            raise UserError(f"--cron {text!r}: {name}: {part!r} is not between {low} and {high}.{hint}")
        return int(part)

    found: set[int] = set()
    for item in field.split(","):
        form = re.fullmatch(r"(?:\*|(?P<first>[0-9A-Za-z]+)(?:-(?P<last>[0-9A-Za-z]+))?)(?:/(?P<step>[0-9]+))?", item)
        if not form:
            raise UserError(f"--cron {text!r}: {name}: {item!r} is none of *, 5, 1-5, */10 and lists of them")
        first = number(form["first"]) if form["first"] else low
        single = form["first"] and not form["last"] and not form["step"]
        last = number(form["last"]) if form["last"] else first if single else high
        step = int(form["step"] or 1)
        if first > last or step < 1:
            raise UserError(f"--cron {text!r}: {name}: there is nothing in {item!r}")
        found |= set(range(first, last + 1, step))
    return found


def check_timezone(name: str) -> str:
    """A name of the IANA time zone database, once it is clear that it is one.

    Raises:
      UserError: it is none.
    """
    try:
        zoneinfo.ZoneInfo(name)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise UserError(f"{name}: no such time zone; write it as UTC or Europe/Berlin") from error
    return name
