"""A library that a CSV file lists: a path and a genre per row, and optionally a group and a split or a fold."""

import csv
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.base.errors import UserError
from components.library.sources.track import Track, known_splits, parse_split


@dataclass(frozen=True)
class Columns:
    """Names of the columns; None: there is no such column."""

    path: str = "path"
    genre: str = "genre"
    group: str | None = None
    split: str | None = None
    fold: str | None = None
    eval_folds: Sequence[str] = ()
    """Values of the fold column whose rows are the split `eval`."""
    test_folds: Sequence[str] = ()
    """Values of the fold column whose rows are the split `test`."""

    def __post_init__(self) -> None:
        if self.split and self.fold:
            raise UserError("--split-column and --fold-column: both determine the split of a row. Give one of them.")
        if self.fold and not (self.eval_folds and self.test_folds):
            raise UserError("--fold-column: name the held-out folds with --eval-fold and --test-fold.")
        if not self.fold and (self.eval_folds or self.test_folds):
            raise UserError("--eval-fold and --test-fold: name the column that holds the fold with --fold-column.")
        if both := set(self.eval_folds) & set(self.test_folds):
            raise UserError(
                f"fold {', '.join(sorted(both))}: given both as --eval-fold and as --test-fold. Give it once."
            )


def read_csv(file: Path, audio_root: Path, columns: Columns) -> list[Track]:
    """Reads one track per row of `file`, in UTF-8 with a header; tabs separate its columns if its name ends in .tsv.

    Paths are relative to `audio_root`, or absolute and inside of it. A row without a group is a group of its own. A row
    without a genre becomes a track without one.

    Raises:
      UserError: `file` or `audio_root` is missing or unreadable; a column is missing; or a row lacks its path or split,
        leads out of `audio_root`, or repeats an earlier path. The message names the line.
    """
    if not audio_root.is_dir():
        raise UserError(f"--audio-root {audio_root}: no such directory. Give the folder that the paths start from.")
    rows = _rows(file)
    if not rows:
        raise UserError(f"{file}: no rows below the header. List one song per row.")
    _check_columns(file, list(rows[0][1]), columns)
    _check_folds(file, {row[columns.fold].strip() for _, row in rows} if columns.fold else set(), columns)
    tracks: dict[str, Track] = {}
    for line, row in rows:
        track = _track(f"{file.name}, line {line}", row, audio_root, columns)
        if track.track_id in tracks:
            first = tracks[track.track_id].where
            raise UserError(f"{track.where}: {track.path} was listed before, in {first}. Remove one of the two rows.")
        tracks[track.track_id] = track
    return list(tracks.values())


def _rows(file: Path) -> list[tuple[int, dict[str, str]]]:
    """Returns the rows of `file` by column, each with the number of its last line; missing fields are empty."""
    try:
        with file.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.DictReader(text, restval="", delimiter="\t" if file.suffix.lower() == ".tsv" else ",")
            return [(reader.line_num, row) for row in reader]
    except FileNotFoundError:
        raise UserError(f"{file}: no such file. Give the CSV file that lists the songs.") from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not readable as a CSV file in UTF-8 ({error}). Save it again in UTF-8.") from error


def _check_columns(file: Path, have: list[str], columns: Columns) -> None:
    wanted = {"path": columns.path, "genre": columns.genre, "group": columns.group}
    wanted |= {"split": columns.split, "fold": columns.fold}
    for role, name in wanted.items():
        if name is not None and name not in have:
            names = ", ".join(str(column) for column in have if column is not None)
            raise UserError(
                f"{file}: no column {name!r}. Its columns are: {names}. Name the right one with --{role}-column."
            )


def _check_folds(file: Path, have: set[str], columns: Columns) -> None:
    for option, folds in (("--eval-fold", columns.eval_folds), ("--test-fold", columns.test_folds)):
        for fold in folds:
            if fold not in have:
                raise UserError(
                    f"{option} {fold}: no row of {file} has it in column {columns.fold!r}. "
                    f"The folds are: {', '.join(sorted(have))}."
                )


def _track(where: str, row: dict[str, str], audio_root: Path, columns: Columns) -> Track:
    path = _relative(where, row[columns.path].strip(), audio_root, columns)
    group = row[columns.group].strip() if columns.group else ""
    return Track(
        track_id=path,
        path=path,
        genre=row[columns.genre].strip(),
        group=group or path,
        split=_split(where, row, columns),
        fold=row[columns.fold].strip() if columns.fold else "",
        where=where,
    )


def _relative(where: str, text: str, audio_root: Path, columns: Columns) -> str:
    if not text:
        raise UserError(f"{where}: no path in column {columns.path!r}. Complete the row, or remove it.")
    path = posixpath.normpath(text)
    if posixpath.isabs(path):
        root = audio_root.absolute().as_posix().rstrip("/") + "/"
        path = path.removeprefix(root) if path.startswith(root) else ""
    if not path or path == "." or path.split("/")[0] == "..":
        raise UserError(
            f"{where}: {text} is not inside of --audio-root {audio_root}. Give a root that holds all songs."
        )
    return path


def _split(where: str, row: dict[str, str], columns: Columns) -> str | None:
    if columns.fold:
        fold = row[columns.fold].strip()
        if not fold:
            raise UserError(f"{where}: no fold in column {columns.fold!r}. Complete the row, or remove it.")
        return "test" if fold in columns.test_folds else "eval" if fold in columns.eval_folds else "train"
    if columns.split:
        split = parse_split(row[columns.split])
        if split is None:
            raise UserError(
                f"{where}: {row[columns.split]!r} in column {columns.split!r} is no split. Known are: {known_splits()}."
            )
        return split
    return None
