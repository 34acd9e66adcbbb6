"""The parameters of Champion."""

from components.base.section import Section


class ChampionParameters(Section):
    """The version to fetch."""

    store: str
    """Root of the model store."""
    version: int | None
    """Null: there is no champion yet. Never "the latest", which would be another one for every reader."""
