"""A model in this process, which loads TensorFlow."""

from collections.abc import Iterable, Iterator

import numpy as np
from etils import epath
from numpy.typing import NDArray

from components.store.model_card import ModelCard
from components.store.predictor import Predictor
from genre.model import Answer, Audio, Model, Song, as_song, named


class LocalModel(Model):
    """A SavedModel that `genre run` pushed."""

    def __init__(self, directory: epath.Path) -> None:
        """Loads the version in `directory`.

        Raises:
          UserError: it is damaged, or does not load.
        """
        self._predictor = Predictor(directory)
        self._version = int(directory.name) if directory.name.isdecimal() else None

    @property
    def version(self) -> int | None:
        """The version of the model store; None for a model that is in no store."""
        return self._version

    @property
    def card(self) -> ModelCard:
        """Kind, class list and settings of the model."""
        return self._predictor.card

    def answer(self, songs: Iterable[Song], segments: bool = False, hop: float | None = None) -> Iterator[Answer]:
        """Yields the answer for each song: some are decoded while others are answered."""
        return self._predictor.predict_all(songs, segments, hop)

    def embed(self, song: Audio, rate: int | None = None) -> NDArray[np.float32]:
        """Computes what the model's last layer sees of a song; see `Model.embed`."""
        with named(song):
            return self._predictor.embed(as_song(song, rate))
