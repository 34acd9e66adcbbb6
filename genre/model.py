"""What a loaded model can do, wherever it runs."""

import io
import os
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

from components.audio.decoding import AudioError
from components.audio.samples import Samples
from components.base.errors import UserError, reason
from components.base.text import as_utf8
from components.library.sources.walk import look
from components.store.answers import Segment, SongGenres

if TYPE_CHECKING:
    import pandas as pd

Audio: TypeAlias = str | os.PathLike[str] | bytes | BinaryIO | NDArray[Any]
"""A song: the path of a file, the content of one, an open binary file, or an array of samples."""
Song: TypeAlias = Path | BinaryIO | Samples
Answer: TypeAlias = SongGenres | AudioError | OSError | UserError
_Listed: TypeAlias = tuple[str | None, Song | AudioError | OSError]
"""The path of a song, None for one without; and the song, or why there is none."""
_NAMED = 3
"""Songs that a warning names."""


class Model(ABC):
    """A model that names genres. Its methods may be called from several threads."""

    @property
    @abstractmethod
    def version(self) -> int | None:
        """The version of the model store; None for a model that is in no store."""

    @abstractmethod
    def answer(self, songs: Iterable[Song], segments: bool = False, hop: float | None = None) -> Iterator[Answer]:
        """Yields the answer for each song, in their order, or what makes it unreadable."""

    @abstractmethod
    def embed(self, song: Audio, rate: int | None = None) -> NDArray[np.float32]:
        """Computes what the model's last layer sees of a song, to compare songs by: the mean over its clips.

        Returns:
          float32 [E]; [0] for a song that is silent from beginning to end.

        Raises:
          AudioError, OSError: see `predict`, as for the arguments.
          UserError: this model does not tell.
        """

    def predict(self, song: Audio, rate: int | None = None) -> dict[str, float]:
        """Names the genres of a song of any length.

        Args:
          song: the path of a file, of any format that the ingest reads; the content of one; an open binary file; or
            samples [n] or [n, channels], floats with full scale at 1 or signed integers.
          rate: sample rate of an array, in Hz. Any will do.

        Returns:
          Probability by genre, from 0 to 1, the most probable first: the mean over the clips that are not silent.
          Empty for a song that is silent from beginning to end.

        Raises:
          AudioError: it does not decode; the message names it, and says why.
          OSError: the file cannot be read.
        """
        return self._answer_one(song, rate).probabilities

    def segments(self, song: Audio, rate: int | None = None, *, hop: float | None = None) -> list[Segment]:
        """Names the genres of a song over time.

        Args:
          song, rate: see `predict`.
          hop: most seconds from the start of one segment to that of the next, which then overlap. None: the windows
            that `predict` takes the mean of, one after the other.

        Returns:
          `start` and `end` in seconds, and `probabilities` as from `predict`, empty where it is silent.

        Raises:
          AudioError, OSError: see `predict`.
        """
        return list(self._answer_one(song, rate, True, hop).segments)

    def predict_all(
        self, songs: str | os.PathLike[str] | Iterable[Audio], *, segments: bool = False, hop: float | None = None
    ) -> "pd.DataFrame":
        """Names the genres of many songs.

        Args:
          songs: a folder, whose songs are found as by `genre predict`; or songs, where an array is one of `(samples,
            rate)`.
          segments: a row for each segment, instead of one for each song.
          hop: see `segments`; implies them.

        Returns:
          A column for each genre, with its probability. The index, `song`, holds the paths, or the number of a song
          that has none; with segments it goes on with `start` and `end`. Rows of what is silent, and of a song that
          cannot be read, are NaN; a warning tells how many cannot, and `attrs["errors"]` why, by song.

        Raises:
          UserError: there is no such folder.
        """
        import pandas as pd

        over_time = segments or hop is not None
        listed = _in_folder(songs) if isinstance(songs, str | os.PathLike) else list(map(_or_why_not, songs))
        names = [number if name is None else name for number, (name, _) in enumerate(listed)]
        answers = self.answer((song for _, song in listed if not isinstance(song, Exception)), over_time, hop)
        errors: dict[Any, str] = {}
        index: list[tuple[Any, ...]] = []
        rows: list[dict[str, float]] = []
        for name, (_, song) in zip(names, listed, strict=True):
            answer = song if isinstance(song, Exception) else next(answers)
            if isinstance(answer, Exception):
                errors[name] = reason(answer)
                parts: Iterable[Segment] = (Segment(np.nan, np.nan, {}),)
            else:
                parts = answer.segments if over_time else (Segment(0.0, 0.0, answer.probabilities),)
            index += [(name, part.start, part.end) if over_time else (name,) for part in parts]
            rows += [part.probabilities for part in parts]
        if errors:
            some = "; ".join(f"{name}: {why}" for name, why in list(errors.items())[:_NAMED])
            warnings.warn(f"{len(errors)} of {len(names)} songs cannot be read: {some}", stacklevel=2)
        columns = sorted({genre for row in rows for genre in row})
        labels = ["song", "start", "end"] if over_time else ["song"]
        if over_time:
            labelled: pd.Index = pd.MultiIndex.from_tuples(index, names=labels)
        else:
            labelled = pd.Index([name for (name,) in index], name="song")
        frame = pd.DataFrame(rows, labelled, columns, dtype=float)
        frame.attrs.update(errors=errors)
        return frame

    def _answer_one(
        self, song: Audio, rate: int | None, segments: bool = False, hop: float | None = None
    ) -> SongGenres:
        with named(song):
            answer = next(self.answer([as_song(song, rate)], segments, hop))
            if isinstance(answer, Exception):
                raise answer
        return answer


@contextmanager
def named(song: Audio) -> Iterator[None]:
    """Puts the name of a song in front of the AudioErrors of the block."""
    try:
        yield
    except AudioError as error:
        raise AudioError(f"{_name(song, 'the audio')}: {error}") from error


def as_song(song: Audio, rate: int | None) -> Song:
    """Returns a song as the decoders take it.

    Raises:
      TypeError: an array without its rate, or a rate of what has its own.
      UserError: a folder.
      AudioError: a named pipe, a device or the like, of which nobody knows whether it ever ends.
      OSError: it cannot be found out what is there.
    """
    if isinstance(song, str | os.PathLike):
        path = Path(song).expanduser()
        status, problem = look(path)
        if status and S_ISDIR(status.st_mode):
            raise UserError(f"{as_utf8(str(path))}: a folder. `predict_all` names all songs in it.")
        if status and problem:
            raise AudioError(problem)
        kept: Song = path
    elif isinstance(song, bytes | bytearray | memoryview):
        kept = io.BytesIO(song)
    elif isinstance(song, np.ndarray) or not hasattr(song, "read"):  # also what NumPy makes an array of
        if rate is None:
            raise TypeError("an array needs its sample rate: predict(samples, rate)")
        return Samples(np.asarray(song), rate)
    else:
        kept = song if song.seekable() else io.BytesIO(song.read())
    if rate is not None:
        raise TypeError("a file has its own sample rate: leave out `rate`")
    return kept


def _or_why_not(song: Audio | tuple[Any, int]) -> _Listed:
    try:
        return _name(song, None), as_song(*song) if isinstance(song, tuple) else as_song(song, None)
    except (AudioError, OSError) as error:
        return _name(song, None), error


def _in_folder(folder: str | os.PathLike[str]) -> list[_Listed]:
    from pipeline.predicting.songs import find_songs

    path = Path(folder).expanduser()
    if not path.is_dir():
        raise UserError(f"{as_utf8(str(path))}: no such folder. For one song there is `predict`.")
    found = find_songs([path])[0]
    return [(as_utf8(str(each.path)), AudioError(each.problem) if each.problem else each.path) for each in found]


def _name(song: Any, otherwise: Any) -> Any:
    return as_utf8(os.fspath(song)) if isinstance(song, str | os.PathLike) else otherwise
