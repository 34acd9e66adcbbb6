"""FMA, the Free Music Archive data set (https://github.com/mdeff/fma): clips in MP3, and their `tracks.csv`."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args

from components.base.errors import UserError
from components.library.sources.track import Track, parse_split

Subset = Literal["small", "medium", "large"]
SUBSETS: tuple[Subset, ...] = get_args(Subset)
"""Each contains those before it."""

_COLUMNS = (("set", "subset"), ("set", "split"), ("track", "genre_top"), ("artist", "id"))
_LONGEST_FIELD = 1 << 24


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
    """Yields the rows of FMA's table, each with the number of its last line.

    The keys are the two upper header rows; that of the track id is ("", "").
    """
    # Biographies are longer than the csv module allows by default; its limit holds for the whole process.
    limit = csv.field_size_limit(_LONGEST_FIELD)
    try:
        with file.open(encoding="utf-8", newline="") as text:
            reader = csv.reader(text)
            header = list(zip(*(next(reader, []) for _ in range(3)), strict=False))
            _check_header(file, header)
            columns = [(upper, lower) for upper, lower, _ in header]
            for row in reader:
                if len(row) != len(columns):
                    raise UserError(
                        f"{file}, line {reader.line_num}: {len(row)} fields, not {len(columns)}. Download it again."
                    )
                yield reader.line_num, dict(zip(columns, row, strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: not readable as FMA's tracks.csv ({error}). Download it again.") from error
    finally:
        csv.field_size_limit(limit)


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
        genre=row["track", "genre_top"],
        group=row["artist", "id"] or f"track {track_id}",
        split=split,
        where=where,
    )
