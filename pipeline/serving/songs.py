"""Names the genres of a song that was sent, over time, while it is decoded."""

import os
import threading
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from pydantic import BaseModel, Field

from components.audio.config import AudioConfig
from components.audio.decoding import Clip, consecutive_clips
from components.audio.wav import encode_wav
from pipeline.serving.batching import LARGEST_BATCH, Answer
from pipeline.serving.picture import Picture

if TYPE_CHECKING:
    from pipeline.serving.loaded_model import LoadedModel

_decoding = threading.BoundedSemaphore(os.cpu_count() or 1)
"""Held while a clip is decoded: a file can claim many channels, whose samples all are in memory until they are averaged."""


class TooLongError(Exception):
    """A song is longer than the server allows."""


class Segment(BaseModel):
    """A window of the song."""

    start: float = Field(description="in seconds from the beginning of the song")
    end: float
    genres: dict[str, float] = Field(description="probability by genre, the most probable first; empty: silent")


class SongAnswer(BaseModel):
    """The genres of a song."""

    genres: dict[str, float] = Field(
        description="probability by genre, the most probable first: the mean over what is not silent; empty if all is"
    )
    segments: list[Segment]
    version: int = Field(description="of the model that answered")
    seconds: float = Field(description="length of what was listened to")
    reason: str | None = Field(None, description="why there are no genres")
    picture: dict[str, int | str] | None = Field(None, description="waveform and mel spectrogram, if asked for")


def listen(song: BinaryIO, model: "LoadedModel", most_seconds: float, with_picture: bool) -> SongAnswer:
    """Names the genres of a song, window by window.

    Raises:
      AudioError: it does not decode.
      TooLongError: it is longer than `most_seconds`.
    """
    audio = model.card.features.audio
    picture = Picture(audio.sample_rate)
    waiting: deque[tuple[Clip, Future[Answer]]] = deque()
    segments: list[Segment] = []
    of_clips: list[np.ndarray] = []
    genres = model.card.features.genres

    def take() -> None:
        clip, future = waiting.popleft()
        answer = future.result()
        of_clips.append(answer["probabilities"][answer["heard"]].mean(axis=0))
        segments.extend(_segments(clip, answer, genres))

    seconds = 0.0
    for clip in _decoded(song, audio):
        seconds = clip.start_seconds + clip.duration_seconds
        if seconds > most_seconds:
            raise TooLongError(f"the song is longer than {most_seconds / 60:g} minutes")
        if with_picture:
            picture.add(clip.pcm[: round(clip.duration_seconds * audio.sample_rate)])
        if not clip.silent:
            waiting.append((clip, *model.submit("windows", [encode_wav(clip.pcm, audio.sample_rate)])))
            if len(waiting) > LARGEST_BATCH:  # so that memory does not grow with the song
                take()
    while waiting:
        take()
    return SongAnswer(
        genres=_ranked(genres, np.mean(of_clips, axis=0)) if of_clips else {},
        segments=segments,
        version=model.version,
        seconds=seconds,
        reason=None if of_clips else "silent",
        picture=picture.as_json() if with_picture else None,
    )


def _decoded(song: BinaryIO, audio: AudioConfig) -> Iterator[Clip]:
    clips = consecutive_clips(song, audio)
    while True:
        with _decoding:
            clip = next(clips, None)
        if clip is None:
            return
        yield clip


def _segments(clip: Clip, answer: Answer, genres: tuple[str, ...]) -> Iterator[Segment]:
    """Yields the windows of a clip, as far as there is song."""
    for start, end, heard, probabilities in zip(
        *(answer[name] for name in ("starts", "ends", "heard", "probabilities")), strict=True
    ):
        if start < clip.duration_seconds:
            end = min(float(end), clip.duration_seconds)
            named = _ranked(genres, probabilities) if heard else {}
            yield Segment(start=clip.start_seconds + float(start), end=clip.start_seconds + end, genres=named)


def _ranked(genres: tuple[str, ...], probabilities: np.ndarray) -> dict[str, float]:
    pairs = zip(genres, probabilities.tolist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))
