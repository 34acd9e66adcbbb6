"""The page of songs whose label is likely wrong: heard one by one, and exported as corrections."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from components.reporting.listening import Heard, player
from components.reporting.page import environment
from components.reporting.spectrograms import SpectrogramScale, gradient


@dataclass(frozen=True)
class Suspect:
    """A song whose label is likely wrong."""

    track_id: str
    path: str
    split: str
    genre: str
    """Its label."""
    suggested: str
    probabilities: Mapping[str, float]
    """By genre, from a model that did not learn from its artist."""
    heard: Heard


def render_labels(genres: Sequence[str], suspects: Sequence[Suspect], songs: int, scale: SpectrogramScale) -> str:
    """Renders the page. All text is escaped; the same suspects give the same page.

    Args:
      genres: of the library, in order.
      suspects: the clearest first.
      songs: that were looked at.
      scale: of the spectrograms.
    """
    rows = [(each, player(each.heard, each.probabilities, each.genre, scale)) for each in suspects]
    return environment().get_template("labels.html").render(genres=genres, rows=rows, songs=songs, gradient=gradient())
