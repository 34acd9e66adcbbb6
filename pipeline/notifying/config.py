"""Settings of the messages about runs."""

import re
from typing import Any, Literal, get_args

from pydantic import Field, SerializationInfo, field_serializer

from components.base.section import Section

Event = Literal["pushed", "refused", "drifted", "set aside", "failed"]
EVENTS: tuple[Event, ...] = get_args(Event)
SECRETS = {"secrets": True}
"""Context of a dump that is read again, and shown to nobody."""
_ADDRESS = re.compile(r"""(https?://)(?:[^\s/'"]*@)?([^\s/?#'"]*)[^\s'"]*""")


def masked(text: str) -> str:
    """Returns `text` with nothing but scheme and host of the addresses in it: the rest of a webhook's is a secret."""
    return _ADDRESS.sub(r"\1\2/…", text)


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

    @field_serializer("url", "command")
    def _shown(self, text: str | None, info: SerializationInfo) -> str | None:
        """Masks addresses: settings go into pages, records and compiled pipelines."""
        context: Any = info.context
        return text if text is None or context == SECRETS else masked(text)

    events: tuple[Event, ...] = Field(EVENTS, description=f"what messages are about: any of {', '.join(EVENTS)}")
