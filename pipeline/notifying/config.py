"""Settings of the messages about runs."""

from typing import Literal, get_args

from pydantic import Field

from components.base.section import Section

Event = Literal["pushed", "refused", "drifted", "set aside", "failed"]
EVENTS: tuple[Event, ...] = get_args(Event)


class NotifyConfig(Section):
    """Where messages go that tell what runs of `genre run`, `genre retrain` and `genre watch` did."""

    url: str | None = Field(
        None,
        pattern=r"^https?://[^\s/]",
        description="address that is sent each message, as JSON by POST; null: none is",
    )
    command: str | None = Field(
        None,
        min_length=1,
        description="shell command that is run for each message, with the JSON on its standard input; null: none is",
    )
    events: tuple[Event, ...] = Field(EVENTS, description=f"what messages are about: any of {', '.join(EVENTS)}")
