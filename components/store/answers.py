"""What a model says about a song. Needs no TensorFlow, as the callers of a server have none."""

from dataclasses import dataclass

from components.base.errors import UserError

LEAST_HOP = 0.05
"""Seconds from one segment to the next, at least."""


@dataclass(frozen=True)
class Segment:
    """The genres of a part of a song: of one of the model's windows."""

    start: float
    """Seconds from the beginning of the song."""
    end: float
    """Seconds from the beginning of the song, at most its length."""
    probabilities: dict[str, float]
    """Probability by genre, from 0 to 1, the most probable first; empty where it is silent."""


@dataclass(frozen=True)
class SongGenres:
    """The genres of a song by a model."""

    probabilities: dict[str, float]
    """Probability by genre, from 0 to 1, the most probable first; the mean over the clips that are not silent.

    Empty for a song that is silent from beginning to end.
    """
    clips: int
    """Number of consecutive clips that are not silent."""
    segments: tuple[Segment, ...] = ()
    """Its parts in order, if they were asked for; windows may overlap."""
    embedding: tuple[float, ...] = ()
    """[E] what the model's last layer sees of it, if that was asked for; empty for a song without sound."""


def require_hop(hop: float) -> None:
    """Raises a UserError for a `hop` below LEAST_HOP, and for one that is no number."""
    if not hop >= LEAST_HOP:
        raise UserError(f"hop: {hop:g} s between two segments is too little; give {LEAST_HOP:g} s or more")
