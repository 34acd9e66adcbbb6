"""`genre tag`: writes the genres that the served model names into the tags of songs."""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from components.base.errors import UserError, command_line, reason
from components.base.text import one_line
from pipeline.commands import options
from pipeline.output import echo

if TYPE_CHECKING:
    from components.store.predictor import SongGenres
    from pipeline.workspace import Workspace

_PATH = click.Path(path_type=Path)


@click.command()
@click.argument("paths", metavar="FILE|DIR...", nargs=-1, type=_PATH)
@options.configuration
@options.workspace
@click.option("--write", is_flag=True, help="Write into the songs themselves; without it, only show what would be.")
@click.option("--copies", metavar="DIR", type=_PATH, help="Write into copies of the songs below DIR instead.")
@click.option(
    "--min-confidence",
    type=click.FloatRange(0.0, 1.0),
    default=0.6,
    show_default=True,
    help="Lowest probability of a genre that is written.",
)
@click.option("--overwrite", is_flag=True, help="Also replace genres that are there.")
@click.option("--undo", metavar="FILE", type=_PATH, help="Make the songs again what they were before FILE was written.")
def tag(
    paths: tuple[Path, ...],
    config_file: Path | None,
    overrides: tuple[str, ...],
    workspace: Path | None,
    write: bool,
    copies: Path | None,
    min_confidence: float,
    overwrite: bool,
    undo: Path | None,
) -> None:
    """Write the genre that the served model names into the tags of songs that have none.

    Without --write or --copies nothing is changed. --write changes the songs, each whole or not at all, and prints the
    name of a file by which --undo makes them again what they were, to the byte. Songs below --min-confidence, and those
    that have a genre, are left as they are. The exit code is 1 if any file could not be read or written.
    """
    if undo:
        if paths or write or copies:
            raise UserError("--undo stands alone: the file names the songs.")
        _undo(undo)
        return
    if not paths:
        raise click.UsageError("Missing argument 'FILE|DIR...'.")
    if write and copies:
        raise UserError("--write changes the songs, and --copies does not. Give one of them.")

    from components.base.locks import held
    from components.library.tagging.song_tags import TagError
    from components.library.tagging.writing import UndoFile, tag_copy, tag_in_place
    from pipeline.process import output_to

    place = options.configured(config_file, overrides, workspace=workspace)[1]
    folder = place.local / "tags"
    undo_file = UndoFile(folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.jsonl")
    account = _Account()
    songs = _to_tag(paths, account, overwrite=overwrite)
    with ExitStack() as stack:
        if write:
            stack.enter_context(held(folder / ".lock", str(os.getpid()), "tags songs"))
        console = stack.enter_context(output_to(Path(os.devnull)))  # decoders print what they think of a file
        account.say = lambda line: console.print(line, soft_wrap=True)
        for song, answer in zip(songs, _answers(place, songs), strict=True):
            if isinstance(answer, Exception):
                account.fail(song, answer)
                continue
            genre, confidence = next(iter(answer.probabilities.items()), ("", 0.0))
            if confidence < min_confidence or not genre:
                account.add("not sure" if genre else "silent", song, f"{genre} {confidence:.0%}" if genre else "")
                continue
            try:
                if copies:
                    tag_copy(song, genre, copies / _below(song, paths))
                elif write:
                    tag_in_place(song, genre, undo_file)
            except (TagError, OSError) as error:
                account.fail(song, error)
            else:
                account.add("tagged" if write or copies else "to tag", song, f"{genre} {confidence:.0%}")
    account.say = echo
    account.close()
    if account.counts["to tag"]:
        echo("Nothing was written. --write writes into the songs, and --copies DIR into copies.")
    if undo_file.file.exists():
        echo(f"to undo it: {command_line('genre', 'tag', '--undo', undo_file.file)}")
    account.raise_failures()


class _Account:
    """What became of the songs, as it is printed."""

    def __init__(self) -> None:
        self.say: Callable[[str], None] = echo
        """Prints a line."""
        self.counts: Counter[str] = Counter()
        self._failures: list[str] = []

    def add(self, outcome: str, song: Path, words: str = "") -> None:
        """Counts a song, and prints it."""
        self.counts[outcome] += 1
        self.say(": ".join([one_line(str(song)), ", ".join(filter(None, [one_line(words), outcome]))]))

    def fail(self, song: Path, error: Exception) -> None:
        """Keeps an error for the end."""
        self._failures.append(f"{one_line(str(song))}: {reason(error)}")

    def close(self) -> None:
        """Prints the counts."""
        self.say(", ".join(f"{count} {outcome}" for outcome, count in sorted(self.counts.items())) or "no song to tag")

    def raise_failures(self) -> None:
        """Raises a UserError that lists the failures, if there are any."""
        if self._failures:
            raise UserError("\n".join(self._failures))


def _to_tag(paths: tuple[Path, ...], account: _Account, *, overwrite: bool) -> list[Path]:
    """Returns the songs that may get a genre."""
    from components.library.song_files import StorageError
    from components.library.tagging.song_tags import TagError, read_song_tags
    from pipeline.predicting.songs import find_songs

    found = []
    for listed in find_songs(paths)[0]:
        song = listed.path
        try:
            if listed.problem:
                raise TagError(listed.problem)
            genres = read_song_tags(song).genres
        except (TagError, OSError, StorageError) as error:
            account.fail(song, error)
            continue
        if genres and not overwrite:
            account.add("has a genre", song, "; ".join(genres))
        else:
            found.append(song)
    return found


def _answers(place: "Workspace", songs: list[Path]) -> "Iterator[SongGenres | Exception]":
    """Yields what the served model says about each song.

    Raises:
      UserError: there is no model.
    """
    from components.store.model_store import current_version, version_dir
    from pipeline.process import large_imports
    from pipeline.workspace import nothing_there

    if not songs:
        return
    version = current_version(place.models)
    if version is None:
        raise nothing_there(place)
    with large_imports():
        from components.store.predictor import Predictor
    yield from Predictor(version_dir(place.models, version)).predict_all(songs)


def _below(song: Path, paths: tuple[Path, ...]) -> Path:
    """Returns the path of a song from the folder among `paths` that it was found in; of a file, its name."""
    return next((song.relative_to(path) for path in paths if path in song.parents), Path(song.name))


def _undo(file: Path) -> None:
    """Makes songs again what they were."""
    from components.library.tagging.song_tags import TagError
    from components.library.tagging.writing import UndoFile, undo_change

    account = _Account()
    for change in UndoFile(file).changes():
        song = Path(change.path)
        try:
            account.add("as it was" if undo_change(change) else "was so already", song)
        except (TagError, OSError) as error:
            account.fail(song, error)
    account.close()
    account.raise_failures()
