"""Writes results where they are wanted: to a stream, to a file, or to a file for each song."""

import hashlib
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from etils import epath

from components.base.errors import UserError, reason
from components.base.files import make_directory, replacing
from pipeline.predicting.earlier import RESUMABLE, Asked, note
from pipeline.predicting.formats import TEXTS, Choice, Result, columns, csv_rows, rows
from pipeline.predicting.songs import Found

if TYPE_CHECKING:
    from rich.console import Console

_ROWS = 1 << 14
"""Of a Parquet file that are written at a time."""


class FileForEach:
    """A file for a song, or a folder that holds one for each of several. Whoever asks again gets the same file."""

    def __init__(self, path: Path, suffix: str, songs: Sequence[Found]) -> None:
        """Takes `path` for a folder if there are several songs, if it is one, or if its name has no suffix.

        Args:
          songs: all that are asked for, also those that are finished already.

        Raises:
          UserError: there are several songs, and `path` is a file or named like one.
        """
        several = len(songs) > 1
        if several and (path.is_file() or path.suffix.lower() == suffix):
            raise UserError(f"{path}: there are several songs, and each gets a file of its own. Name a folder.")
        self._folder = path if several or path.is_dir() or not path.suffix else None
        self._path, self._suffix = path, suffix
        self._places: dict[str, set[Path]] = {}
        for song in songs:
            self._places.setdefault(song.name, set()).add(song.path.absolute())

    def of(self, song: Found) -> Path:
        """Returns the file for a song; its name says where the song is if others have the same name."""
        if self._folder is None:
            return self._path
        name = song.name
        if len(self._places[name]) > 1:
            name += "-" + hashlib.sha256(os.fsencode(song.path.absolute())).hexdigest()[:8]
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{name}{self._suffix}"


def print_text(results: Iterable[Result], form: str, choice: Choice, console: "Console") -> None:
    """Prints on standard output, song by song. Who reads it may stop, as `head` does: then nothing more is done."""
    try:
        for text in TEXTS[form](results, choice):
            if console.is_terminal:
                console.print(text, end="", soft_wrap=True)
            else:
                console.file.write(text)
                console.file.flush()
    except BrokenPipeError:
        with open(os.devnull, "ab") as nowhere:  # what is left in the buffer
            os.dup2(nowhere.fileno(), console.file.fileno())


def write_file(
    results: Iterable[Result],
    form: str,
    choice: Choice,
    file: Path,
    asked: Asked | None = None,
    goes_on: bool = False,
) -> None:
    """Writes a file: as results come, or else all of it at the end.

    Args:
      asked: what is noted beside a file that can be continued; None: nothing.
      goes_on: append to what `earlier.resume` left.

    Raises:
      UserError: it cannot be written.
    """
    try:
        make_directory(epath.Path(file.absolute().parent))
        if form in RESUMABLE:
            _write_streamed(results, form, choice, file, asked, goes_on and file.exists() and file.stat().st_size > 0)
        else:
            _write_whole(results, form, choice, file)
    except OSError as error:
        raise UserError(f"{file}: cannot be written: {reason(error)}. Name another file.") from error


def _write_streamed(
    results: Iterable[Result], form: str, choice: Choice, file: Path, asked: Asked | None, goes_on: bool
) -> None:
    texts = csv_rows if goes_on and form == "csv" else TEXTS[form]
    with file.open("a" if goes_on else "w", encoding="utf-8", newline="") as out:
        if asked:
            note(file, asked)  # after what was there is gone, and before anything of this is
        for text in texts(results, choice):
            out.write(text)
            out.flush()


def _write_whole(results: Iterable[Result], form: str, choice: Choice, file: Path) -> None:
    with replacing(epath.Path(file.absolute())) as temporary:
        if form == "parquet":
            _write_parquet(results, choice, Path(temporary))
        else:
            with Path(temporary).open("w", encoding="utf-8", newline="") as out:
                out.writelines(TEXTS[form](results, choice))


def _write_parquet(results: Iterable[Result], choice: Choice, file: Path) -> None:
    import pyarrow as pa
    from pyarrow.parquet import ParquetWriter

    types = {"start": pa.float64(), "end": pa.float64(), "probability": pa.float64(), "version": pa.int64()}
    schema = pa.schema([(column, types.get(column, pa.string())) for column in columns(choice)])
    with ParquetWriter(file, schema) as writer:
        waiting: list[dict[str, object]] = []
        for result in results:
            waiting += rows(result, choice)
            if len(waiting) >= _ROWS:
                writer.write_table(pa.Table.from_pylist(waiting, schema))
                waiting = []
        writer.write_table(pa.Table.from_pylist(waiting, schema))
