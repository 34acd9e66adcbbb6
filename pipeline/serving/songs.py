"""Names the genres of a song that was sent, as a whole and over time."""

import base64
from typing import TYPE_CHECKING, BinaryIO

from pydantic import BaseModel, Field

from components.audio.ffmpeg import FfmpegError, Sound
from pipeline.predicting.formats import SILENT
from pipeline.predicting.picture import BANDS, Picture, draw

if TYPE_CHECKING:
    from pipeline.serving.loaded_model import LoadedModel


class TooLongError(Exception):
    """A song is longer than the server allows."""


class SegmentAnswer(BaseModel):
    """A window of the song."""

    start: float = Field(description="in seconds from the beginning of the song")
    end: float
    genres: dict[str, float] = Field(description="probability by genre, the most probable first; empty: silent")


class SongAnswer(BaseModel):
    """The genres of a song."""

    genres: dict[str, float] = Field(
        description="probability by genre, the most probable first: the mean over what is not silent; empty if all is"
    )
    segments: list[SegmentAnswer]
    clips: int = Field(description="clips that are not silent, of which the genres are the mean")
    version: int = Field(description="of the model that answered")
    seconds: float = Field(description="where the last segment ends")
    reason: str | None = Field(None, description="why there are no genres")
    picture: dict[str, int | float | str] | None = Field(
        None,
        description="waveform and spectrogram, if asked for: `seconds` of the song, `columns` and `bands`; "
        "and as base64 of bytes `mel` [columns, bands], low bands first, and `peaks` [columns]",
    )


def listen(song: BinaryIO, model: "LoadedModel", most_seconds: float, hop: float | None, picture: bool) -> SongAnswer:
    """Names the genres of a song, window by window; see `Predictor.predict_all` for `hop`.

    Raises:
      AudioError: it does not decode.
      TooLongError: it is longer than `most_seconds`.
      UserError: `hop` is too small.
    """
    _require_length(song, most_seconds)
    answer = next(model.predict_all([song], segments=True, hop=hop))
    if isinstance(answer, Exception):
        raise answer
    segments = [SegmentAnswer(start=each.start, end=each.end, genres=each.probabilities) for each in answer.segments]
    return SongAnswer(
        genres=answer.probabilities,
        segments=segments,
        clips=answer.clips,
        version=model.version,
        seconds=segments[-1].end if segments else 0.0,
        reason=None if answer.probabilities else SILENT,
        picture=_as_json(draw(song, model.card.features.audio)) if picture else None,
    )


def _as_json(picture: Picture) -> dict[str, int | float | str]:
    return {
        "seconds": round(picture.seconds, 3),
        "columns": len(picture.peaks),
        "bands": BANDS,
        "mel": base64.b64encode(picture.mel.tobytes()).decode(),
        "peaks": base64.b64encode(picture.peaks.tobytes()).decode(),
    }


def _require_length(song: BinaryIO, most_seconds: float) -> None:
    """Checks the length by the packets of a file: a small one can hold hours of silence."""
    try:
        seconds = Sound(song).seconds()
    except FfmpegError:
        return  # whatever else reads it does not compress, so that the body's limit holds
    if seconds > most_seconds:
        raise TooLongError(f"the song is longer than {most_seconds / 60:g} minutes")
