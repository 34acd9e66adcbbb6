"""Predictions of the models on a set of clips, and the table of them that a report reads: one row per clip."""

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from components.base.errors import UserError
from components.base.section import Section
from components.base.tables import read_table, write_table


@dataclass(frozen=True)
class ScoredClips:
    """The true genres of n clips, and the probabilities that the models gave to k genres.

    Attributes:
      track_ids: n ids.
      truth: int [n], indices of the true genres.
      candidate: float [n, k], probabilities.
      champion: version and float [n, k] probabilities; None: there is no champion to compare with.
      split: name of the split that the clips are from.
      span: number of the span that they are from; None: not known.
      joined: numbers of other spans that they are from as well.
    """

    track_ids: Sequence[str]
    truth: NDArray[np.integer]
    candidate: NDArray[np.floating]
    champion: tuple[str, NDArray[np.floating]] | None = None
    split: str = "test"
    span: int | None = None
    joined: tuple[int, ...] = ()


class Prediction(Section):
    """The models' predictions for one clip."""

    track_id: str
    split: str
    genre: str
    """The true one."""
    predicted: str
    probabilities: dict[str, float]
    """By genre."""
    champion_predicted: str | None = None

    @property
    def correct(self) -> bool:
        """Holds if the predicted genre is the true one."""
        return self.genre == self.predicted


def predictions(genres: Sequence[str], clips: ScoredClips) -> tuple[Prediction, ...]:
    """Lists the predictions for every clip, in the order of the track ids.

    Args:
      genres: the k genres, in the order of the columns.
      clips: with the probabilities of the candidate and, if there is one, of the champion.
    """
    by_champion: list[str | None] = [None] * len(clips.track_ids)
    if clips.champion is not None:
        by_champion = [genres[index] for index in np.argmax(clips.champion[1], axis=1)]
    rows = (
        Prediction(
            track_id=track_id,
            split=clips.split,
            genre=genres[true],
            predicted=genres[int(np.argmax(row))],
            probabilities=dict(zip(genres, map(float, row), strict=True)),
            champion_predicted=champion_predicted,
        )
        for track_id, true, row, champion_predicted in zip(
            clips.track_ids, clips.truth, clips.candidate, by_champion, strict=True
        )
    )
    return tuple(sorted(rows, key=lambda row: row.track_id))


def write_predictions(path: Path, genres: Sequence[str], rows: Iterable[Prediction]) -> None:
    """Writes one CSV row per clip.

    The columns: track_id, split, genre, predicted, correct (0 or 1), champion_predicted (if there is a champion), and
    p_<genre> for every genre, to 6 decimals. The same rows give the same bytes, in whatever order they come.
    """
    rows = sorted(rows, key=lambda row: (row.split, row.track_id))
    with_champion = any(row.champion_predicted is not None for row in rows)
    champion_column = ["champion_predicted"] if with_champion else []
    text = io.StringIO(newline="")
    columns = ["track_id", "split", "genre", "predicted", "correct", *champion_column]

    def cells(row: Prediction) -> list[object]:
        chances = (f"{row.probabilities[genre]:.6f}" for genre in genres)
        champion = [row.champion_predicted] if with_champion else []
        return [row.track_id, row.split, row.genre, row.predicted, int(row.correct), *champion, *chances]

    write_table(text, [*columns, *(f"p_{genre}" for genre in genres)], map(cells, rows))
    # As bytes, because the paths of cloud storage (etils.epath) do not know `newline`.
    path.write_bytes(text.getvalue().encode("utf-8"))


def read_predictions(path: Path) -> tuple[Prediction, ...]:
    """Reads what `write_predictions` wrote; probabilities to 6 decimals.

    Raises:
      UserError: the file is missing or is not such a table.
    """
    try:
        text = io.StringIO(path.read_bytes().decode("utf-8"), newline="")
        return tuple(
            Prediction(
                track_id=row["track_id"],
                split=row["split"],
                genre=row["genre"],
                predicted=row["predicted"],
                probabilities={key[2:]: float(value) for key, value in row.items() if key.startswith("p_")},
                champion_predicted=row.get("champion_predicted"),
            )
            for row in read_table(text)
        )
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable table of predictions ({error!r}). Run the pipeline again.") from error
