"""A model in this process, which loads TensorFlow or ONNX Runtime."""

from collections.abc import Iterable, Iterator

import numpy as np
from etils import epath
from numpy.typing import NDArray

from components.store.model_card import ModelCard
from components.store.predictor import Predictor, RuntimeName
from genre.model import Answer, Audio, Model, Song, as_song, named


class LocalModel(Model):
    """A version that `genre run` pushed, or a file that `genre export` wrote for ONNX Runtime."""

    def __init__(self, directory: epath.Path, runtime: RuntimeName) -> None:
        """Loads the version in `directory`, or the file.

        Raises:
          UserError: it is damaged, or does not load.
        """
        self._predictor = Predictor(directory, runtime)
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
            answer = next(self._predictor.embed_all([as_song(song, rate)]))
            if isinstance(answer, Exception):
                raise answer
        return answer
