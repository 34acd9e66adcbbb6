"""Moments as text: what records are stamped with."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator


def timestamp(moment: datetime) -> str:
    """ISO 8601 in UTC, to the second."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _with_zone(text: str) -> str:
    if datetime.fromisoformat(text).tzinfo is None:
        raise ValueError("a time without its zone")
    return text


Time = Annotated[str, AfterValidator(_with_zone)]
"""ISO 8601 with its zone; see `timestamp`."""
