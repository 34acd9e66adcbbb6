"""FMA, the Free Music Archive data set (https://github.com/mdeff/fma): clips in MP3, and their `tracks.csv`."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from components.base.errors import UserError
from components.base.labels import checked_label
from components.base.tables import read_rows
from components.library.sources.track import Track, parse_split

Subset = Literal["small", "medium", "large"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)
"""Each contains those before it."""

_COLUMNS = (("set", "subset"), ("set", "split"), ("track", "genre_top"), ("artist", "id"))


def read_fma(audio: Path, metadata: Path, subset: Subset) -> list[Track]:
    """Reads the tracks of `subset`, with their top genre, artist and official split.

    Args:
      audio: directory of the clips, as FMA's archives unpack: `audio`/000/000002.mp3.
      metadata: directory of `tracks.csv`, or such a file itself.
      subset: contains the smaller subsets.

    Raises:
      UserError: a directory or file is missing, or is not FMA's table with its three header rows.
    """
    if not audio.is_dir():
        raise UserError(f"--audio {audio}: no such directory. Give the one that holds 000/000002.mp3 and so on.")
    file = _tracks_file(metadata)
    wanted = SUBSETS[: SUBSETS.index(subset) + 1]
    tracks = [_track(file, line, row) for line, row in _rows(file) if row["set", "subset"] in wanted]
    if not tracks:
        raise UserError(f"{file}: no track of the subset {subset} in it. Give another --subset, or the whole table.")
    return tracks


def _tracks_file(metadata: Path) -> Path:
    """Returns `metadata` if it is a file; else tracks.csv in it, or the only file in it with a similar name."""
    if metadata.is_file():
        return metadata
    if not metadata.is_dir():
        raise UserError(f"--metadata {metadata}: no such directory. Give the one that holds FMA's tracks.csv.")
    named = metadata / "tracks.csv"
    similar = sorted(metadata.glob("*tracks*.csv"))
    if named.is_file():
        return named
    if len(similar) != 1:
        raise UserError(f"{named}: no such file. Unpack FMA's fma_metadata.zip, and give its folder as --metadata.")
    return similar[0]


def _rows(file: Path) -> Iterator[tuple[int, dict[tuple[str, str], str]]]:
    """Yields the rows of FMA's table, each with the number of its first line.

    The keys are the two upper header rows; that of the track id is ("", "").
    """
    lines = read_rows(file)
    header = list(zip(*(row for _, row in itertools.islice(lines, 3)), strict=False))
    _check_header(file, header)
    columns = [(upper, lower) for upper, lower, _ in header]
    for line, row in lines:
        if len(row) != len(columns):
            raise UserError(f"{file}, line {line}: {len(row)} fields, not {len(columns)}. Download it again.")
        yield line, dict(zip(columns, row, strict=True))


def _check_header(file: Path, header: list[tuple[str, ...]]) -> None:
    columns = {column[:2] for column in header}
    lacking = [" / ".join(column) for column in _COLUMNS if column not in columns]
    if lacking or header[0] != ("", "", "track_id"):
        raise UserError(
            f"{file}: not FMA's tracks.csv, whose three header rows name track_id, "
            f"{', '.join(' / '.join(column) for column in _COLUMNS)}"
            + (f"; this one lacks {', '.join(lacking)}." if lacking else ".")
        )


def _track(file: Path, line: int, row: dict[tuple[str, str], str]) -> Track:
    where = f"{file.name}, line {line}"
    track_id, split = row["", ""], parse_split(row["set", "split"])
    if not track_id.isdecimal():
        raise UserError(f"{where}: the track id {track_id!r} is no number. Download the table again.")
    if split is None:
        raise UserError(f"{where}: {row['set', 'split']!r} is none of FMA's splits training, validation and test.")
    number = int(track_id)
    return Track(
        track_id=track_id,
        path=f"{number // 1000:03d}/{number:06d}.mp3",
        genre=checked_label(row["track", "genre_top"], where, "Correct it, or download the table again."),
        group=row["artist", "id"] or f"track {track_id}",
        split=split,
        where=where,
    )
