"""Times as text, for records."""

from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import AfterValidator


def timestamp(moment: datetime) -> str:
    """Formats a time as ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _utc(text: str) -> str:
    if datetime.fromisoformat(text).utcoffset() != timedelta():
        raise ValueError("a time that does not end with +00:00")
    return text


Time = Annotated[str, AfterValidator(_utc)]
"""A text that `timestamp` returns. It begins with date and time of UTC."""
