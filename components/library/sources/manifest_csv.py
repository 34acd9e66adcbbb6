"""A library that a CSV file lists: a path and a genre per row, and optionally a group and a split or a fold."""

import os
import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from components.base.errors import UserError
from components.base.labels import checked_label, normalised
from components.base.tables import read_rows
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
        if self.fold and bool(self.eval_folds) != bool(self.test_folds):
            raise UserError(
                "--fold-column: name the held-out folds with --eval-fold and --test-fold. Or name neither: then the "
                "groups are divided as without folds, and `genre compare --folds fold` holds every fold out in turn."
            )
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
      UserError: `file` or `audio_root` is missing or unreadable; a column is missing or there twice; or a row lacks its
        path or split, has more fields than there are columns, a genre that is no name, a path that leads out of
        `audio_root`, or that of an earlier row. The message names the line.
    """
    if not audio_root.is_dir():
        raise UserError(f"--audio-root {audio_root}: no such directory. Give the folder that the paths start from.")
    rows = _rows(file, columns)
    _check_folds(file, {row[columns.fold].strip() for _, row in rows} if columns.fold else set(), columns)
    tracks: dict[str, Track] = {}
    for line, row in rows:
        track = _track(f"{file.name}, line {line}", row, audio_root, columns)
        if track.track_id in tracks:
            first = tracks[track.track_id].where
            raise UserError(f"{track.where}: {track.path} was listed before, in {first}. Remove one of the two rows.")
        tracks[track.track_id] = track
    return list(tracks.values())


def _rows(file: Path, columns: Columns) -> list[tuple[int, dict[str, str]]]:
    """Returns the rows of `file` by column, each with the number of its first line; missing fields are empty."""
    delimiter = "\t" if file.suffix.lower() == ".tsv" else ","
    lines = read_rows(file, delimiter)
    header = [name.strip() for name in next(lines, (0, []))[1]]
    if header:
        _check_columns(file, header, delimiter, columns)
    rows = []
    for line, row in lines:
        if len(row) > len(header):
            raise UserError(
                f"{file.name}, line {line}: {len(row)} fields under {len(header)} columns. Put what holds a "
                f'{"tab" if delimiter == "	" else "comma"} in quotation marks: "Drum, Bass".'
            )
        rows.append((line, dict.fromkeys(header, "") | dict(zip(header, row, strict=False))))
    if not rows:
        raise UserError(f"{file}: no rows below the header. List one song per row.")
    return rows


def _check_columns(file: Path, have: list[str], delimiter: str, columns: Columns) -> None:
    wanted = {"path": columns.path, "genre": columns.genre, "group": columns.group}
    wanted |= {"split": columns.split, "fold": columns.fold}
    for role, name in wanted.items():
        if name is None or (count := have.count(name.strip())) == 1:
            continue
        if count:
            raise UserError(f"{file}, line 1: {count} columns are called {name!r}. Rename the others.")
        if len(have) == 1 and (other := next((each for each in "\t;,|" if each in have[0]), "")):
            remedy = "Name the file .tsv" if other == "\t" else "Separate them by commas"
            raise UserError(f"{file}, line 1: its columns are separated by {other!r}, not {delimiter!r}. {remedy}.")
        raise UserError(
            f"{file}: no column {name!r}. Its columns are: {', '.join(have)}. Name the right one with --{role}-column."
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
    group = normalised(row[columns.group]) if columns.group else ""
    return Track(
        track_id=path,
        path=path,
        genre=checked_label(row[columns.genre], where, "Correct it."),
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
        path = _below(audio_root, path)
    if not path or path == "." or path.split("/")[0] == "..":
        raise UserError(
            f"{where}: {text} is not inside of --audio-root {audio_root}. Give a root that holds all songs."
        )
    return path


def _below(audio_root: Path, path: str) -> str:
    """Returns `path` from `audio_root`; empty if it is outside. Either may be given with `..`, or through links."""
    folder, name = posixpath.split(path)
    for root, below in (
        (os.path.abspath(audio_root), path),
        (os.path.realpath(audio_root), posixpath.join(os.path.realpath(folder), name)),
    ):
        if posixpath.commonpath((root, below)) == root:
            return posixpath.relpath(below, root)
    return ""


def _split(where: str, row: dict[str, str], columns: Columns) -> str | None:
    if columns.fold:
        fold = row[columns.fold].strip()
        if not fold:
            raise UserError(f"{where}: no fold in column {columns.fold!r}. Complete the row, or remove it.")
        if not columns.test_folds:
            return None
        return "test" if fold in columns.test_folds else "eval" if fold in columns.eval_folds else "train"
    if columns.split:
        split = parse_split(row[columns.split])
        if split is None:
            raise UserError(
                f"{where}: {row[columns.split]!r} in column {columns.split!r} is no split. Known are: {known_splits()}."
            )
        return split
    return None
