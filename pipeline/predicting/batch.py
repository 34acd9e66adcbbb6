"""Asks the model for song after song, notes what goes wrong, and draws pictures by the way."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

from components.audio.decoding import AudioError
from components.base.errors import reason
from components.base.text import one_line
from components.store.answers import SongGenres
from pipeline.predicting.formats import Result
from pipeline.predicting.output import FileForEach
from pipeline.predicting.songs import Found

if TYPE_CHECKING:
    from components.store.predictor import Predictor


_PATHS = ". To read a list of paths from standard input, there is --files-from -"


class Batch:
    """Songs to name the genres of."""

    def __init__(
        self, songs: Iterable[Found], segments: bool, hop: float | None, pictures: FileForEach | None = None
    ) -> None:
        """Notes what is wanted of each song.

        Args:
          segments: name the genres over time, too.
          hop: see `Predictor.predict_all`.
          pictures: where to draw the songs.
        """
        self._songs, self._hop, self._pictures = list(songs), hop, pictures
        self.segments = segments or pictures is not None
        """Whether genres are named over time."""
        self.failures: list[str] = []
        """What could not be done, in words, so far."""

    def results(
        self, predictor: "Predictor | None", version: int | None, done: Callable[[], object]
    ) -> Iterator[tuple[Found, Result]]:
        """Yields the result of each song.

        Args:
          predictor: None if no song can be read.
          version: of its model.
          done: called after each song.
        """
        readable = (song.audio or song.path for song in self._songs if not song.problem)
        answers = iter(predictor.predict_all(readable, self.segments, self._hop) if predictor else ())
        for song in self._songs:
            answer = OSError(0, song.problem) if song.problem else next(answers)
            if isinstance(answer, Exception):
                why = reason(answer)
                self._fail(song, (why if song.problem else f"cannot be read: {why}") + _PATHS * bool(song.audio))
                yield song, Result(str(song.path), None, error=why)
            else:
                if self._pictures and predictor and answer.segments:
                    self._draw(song, predictor, answer, self._pictures)
                yield song, Result(str(song.path), version, answer)
            done()

    def _draw(self, song: Found, predictor: "Predictor", answer: SongGenres, pictures: FileForEach) -> None:
        from pipeline.predicting.timeline import draw_timeline

        try:
            audio = predictor.card.features.audio
            draw_timeline(song.audio or song.path, song.name, answer, audio, pictures.of(song))
        except (AudioError, OSError) as error:
            self._fail(song, f"no picture of it: {reason(error)}")

    def _fail(self, song: Found, why: str) -> None:
        self.failures.append(f"{song.name if song.audio else one_line(str(song.path))}: {why}")
