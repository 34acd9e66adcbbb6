"""Names the genre of any song with a pushed model. Needs TensorFlow, but not TFX."""

import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tensorflow as tf
from etils import epath

from components.audio.decoding import AudioError, consecutive_clips
from components.audio.wav import encode_wav
from components.store.checksums import require_sound
from components.store.loading import load
from components.store.model_card import read_card

_BATCH = 4
"""Clips that a model answers at a time: the largest, musicnn, takes 0.6 GB for 30 s."""


@dataclass(frozen=True)
class SongGenres:
    """The genres of a song by a model."""

    probabilities: dict[str, float]
    """Probability by genre, from 0 to 1, the most probable first; the mean over the clips that are not silent.

    Empty for a song that is silent from beginning to end.
    """
    clips: int
    """Number of consecutive clips that are not silent."""


class Predictor:
    """A loaded model."""

    def __init__(self, saved_model: epath.Path) -> None:
        """Loads `saved_model`, a version of the model store.

        Raises:
          UserError: it is damaged, or does not load.
        """
        require_sound(saved_model)
        self._audio = read_card(saved_model).features.audio
        self._model = load(saved_model, "audio")

    def _answers(self, song: Path) -> Iterator[dict[str, np.ndarray]]:
        clips = (clip for clip in consecutive_clips(song, self._audio) if not clip.silent)
        while batch := list(itertools.islice(clips, _BATCH)):
            wavs = [encode_wav(clip.pcm, self._audio.sample_rate) for clip in batch]
            yield {
                key: value.numpy() for key, value in self._model.signatures["audio"](audio=tf.constant(wavs)).items()
            }

    def predict(self, song: Path) -> SongGenres:
        """Names the genres of an audio file of any length. It is decoded clip by clip, so memory does not grow with it.

        Raises:
          AudioError: the file does not decode.
        """
        answers = list(self._answers(song))
        if not answers:
            return SongGenres({}, 0)
        genres = [genre.decode() for genre in answers[0]["genres"][0]]
        probabilities = np.concatenate([answer["probabilities"] for answer in answers])
        ranked = sorted(zip(genres, probabilities.mean(axis=0).tolist(), strict=True), key=lambda pair: -pair[1])
        return SongGenres(dict(ranked), len(probabilities))

    def predict_all(self, songs: Iterable[Path]) -> Iterator[SongGenres | AudioError | OSError]:
        """Names the genres of many songs, one per processor at a time.

        Yields:
          The genres of each song, in the order of `songs`; for a song that cannot be read, the error.
        """

        def attempt(song: Path) -> SongGenres | AudioError | OSError:
            try:
                return self.predict(song)
            except (AudioError, OSError) as error:
                return error

        with ThreadPoolExecutor(os.cpu_count()) as threads:  # decoders and graph release the GIL
            yield from threads.map(attempt, songs)
