"""The table of predictions: one row per judged clip."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from components.base.errors import UserError
from components.base.section import Section
from components.evaluation.results import Answers


class Prediction(Section):
    """What was said about one clip. `probabilities` by genre."""

    track_id: str
    split: str
    genre: str
    predicted: str
    probabilities: dict[str, float]
    champion_predicted: str | None = None

    @property
    def correct(self) -> bool:
        """Whether the predicted genre is the true one."""
        return self.genre == self.predicted


def predictions(genres: Sequence[str], answers: Answers) -> tuple[Prediction, ...]:
    """What was said about every clip, in the order of the track ids.

    Args:
      genres: the k genres, in the order of the columns.
      answers: of the candidate and, if there is one, of the champion.
    """
    champion = [None] * len(answers.track_ids)
    if answers.champion is not None:
        champion = [genres[index] for index in np.argmax(answers.champion[1], axis=1)]
    rows = (
        Prediction(
            track_id=track_id,
            split=answers.split,
            genre=genres[true],
            predicted=genres[int(np.argmax(row))],
            probabilities=dict(zip(genres, map(float, row), strict=True)),
            champion_predicted=served,
        )
        for track_id, true, row, served in zip(
            answers.track_ids, answers.truth, answers.candidate, champion, strict=True
        )
    )
    return tuple(sorted(rows, key=lambda row: row.track_id))


def write_predictions(path: Path, genres: Sequence[str], rows: Iterable[Prediction]) -> None:
    """Write one CSV row per clip: track_id, split, genre, predicted, correct, champion_predicted (if any), p_<genre>...

    The same rows give the same bytes, in whatever order they come.
    """
    rows = sorted(rows, key=lambda row: (row.split, row.track_id))
    with_champion = any(row.champion_predicted is not None for row in rows)
    served = ["champion_predicted"] if with_champion else []
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ["track_id", "split", "genre", "predicted", "correct", *served, *(f"p_{genre}" for genre in genres)]
    )
    for row in rows:
        chances = (f"{row.probabilities[genre]:.6f}" for genre in genres)
        champion = [row.champion_predicted] if with_champion else []
        writer.writerow([row.track_id, row.split, row.genre, row.predicted, int(row.correct), *champion, *chances])
    # Bytes, so that paths of cloud storage (etils.epath), whose `open` knows no `newline`, do as well.
    path.write_bytes(text.getvalue().encode("utf-8"))


def read_predictions(path: Path) -> tuple[Prediction, ...]:
    """Read what `write_predictions` wrote; probabilities to 6 decimals.

    Raises:
      UserError: the file is missing or something else.
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
            for row in csv.DictReader(text)
        )
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{path}: not a readable table of predictions ({error!r}). Run the pipeline again.") from error
