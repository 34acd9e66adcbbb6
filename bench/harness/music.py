"""Songs to measure with: composed, and encoded as FMA's clips are (MP3 of 256 kbit/s, 44.1 kHz, stereo).

Encoding takes far longer than decoding. So only a few whole songs are encoded, and each clip is cut out of one of them,
from a different frame on. That makes thousands of clips in seconds, no two of which have the same samples.
"""

import csv
import io
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import soundfile
import soxr
from etils import epath
from numpy.typing import NDArray

from components.base.errors import UserError
from components.base.files import write_atomically
from components.demo.library import LibraryOptions, Piece, compose, plan

ARTISTS = 6
"""Artists per genre, each with one song."""
SPLITS = ("train", "train", "train", "train", "eval", "test")
"""Splits of the artists of a genre, in order."""
HALF_TEST = ("train", "train", "eval", "test", "test", "test")
"""Splits with as many clips to judge as to transform."""
FEWEST = 2 * ARTISTS
"""Smallest number of clips: two genres in every split."""

_RATE = 44100
_FRAME = 1152
"""Samples in a frame of MPEG-1 layer III."""
_KBITS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
"""Bit rates by the index in a frame's header."""
_QUALITY = 0.2
"""libsndfile's compression level that makes 256 kbit/s at a constant bit rate."""


def composed(clips: int, seconds: float) -> NDArray[np.int16]:
    """Composes different clips at 22,050 Hz, PCM16 [clips, samples]."""
    options = LibraryOptions(artists=max(3, -(-clips // 8)), songs=1, seconds=seconds)
    return np.stack([compose(piece, options) for piece in plan(options)[:clips]])


def library(scratch: Path, clips: int, seconds: float, splits: tuple[str, ...] = SPLITS) -> Path:
    """Makes `clips` MP3 files, unless they are there, and a table of them.

    Args:
      splits: split of each artist of a genre.

    Returns:
      The table: path (relative to the table), genre, artist, split.

    Raises:
      UserError: fewer than FEWEST clips, which cannot have two genres in every split.
    """
    if clips < FEWEST:
        raise UserError(
            f"--clips {clips}: too few songs; at least {FEWEST} are needed, two genres of {ARTISTS} artists."
        )
    root = scratch / f"music-{seconds:g}s"
    options = LibraryOptions(artists=ARTISTS, songs=1, seconds=_song_seconds(seconds))
    pieces = plan(options)[: min(8, clips // ARTISTS) * ARTISTS]
    _encode_missing(root, pieces, options)
    rows = []
    for index, piece in enumerate(pieces):
        frames = None
        for cut in range(len(range(index, clips, len(pieces)))):
            path = Path("clips", piece.artist, f"{cut:04d}.mp3")
            if not (root / path).is_file():
                frames = frames or mp3_frames((root / _song(piece)).read_bytes())
                write_atomically(epath.Path(root / path), b"".join(_cut(frames, cut, seconds)))
            rows.append((path, piece.genre, piece.artist, splits[index % ARTISTS]))
    name = "-".join(f"{split}{splits.count(split)}" for split in dict.fromkeys(splits))
    table = io.StringIO(newline="")
    csv.writer(table).writerows([("path", "genre", "artist", "split"), *rows])
    write_atomically(epath.Path(root / f"tracks-{clips}-{name}.csv"), table.getvalue())
    return root / f"tracks-{clips}-{name}.csv"


def songs(table: Path) -> list[Path]:
    """Returns the files that a table of `library` lists."""
    with table.open(encoding="utf-8", newline="") as rows:
        return [table.parent / row["path"] for row in csv.DictReader(rows)]


def mp3_frames(data: bytes) -> list[bytes]:
    """Splits an MPEG-1 layer III stream at 44.1 kHz into its frames.

    Raises:
      ValueError: the data hold something else.
    """
    frames, start = [], 0
    while start < len(data):
        if data[start] != 0xFF or data[start + 1] & 0xFE != 0xFA or data[start + 2] & 0x0C:
            raise ValueError(f"no MPEG-1 layer III frame of 44.1 kHz at byte {start}")
        rate, padding = data[start + 2] >> 4, data[start + 2] >> 1 & 1
        size = 144_000 * _KBITS[rate] // _RATE + padding
        frames.append(data[start : start + size])
        start += size
    return frames


def _cut(frames: list[bytes], number: int, seconds: float) -> list[bytes]:
    """Returns the frames of clip `number` of a song: `seconds` and some milliseconds."""
    first = 2 + number  # The first frame of a file is its encoder's table, the second begins in silence.
    wanted = -(-round(seconds * _RATE) // _FRAME) + 1
    if first + wanted > len(frames):
        raise UserError(f"--clips: a song has only {len(frames) - wanted - 2} clips; give a smaller number")
    return frames[first : first + wanted]


def _song_seconds(seconds: float) -> float:
    return seconds + 5.0  # room for 180 clips of each of the 48 songs


def _song(piece: Piece) -> Path:
    return Path("songs", f"{piece.artist}.mp3")


def _encode_missing(root: Path, pieces: list[Piece], options: LibraryOptions) -> None:
    missing = [piece for piece in pieces if not (root / _song(piece)).is_file()]
    if missing:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            list(pool.map(_encode, missing, [options] * len(missing), [root] * len(missing)))


def _encode(piece: Piece, options: LibraryOptions, root: Path) -> None:
    mono = soxr.resample(compose(piece, options) / 32768.0, 22050, _RATE)
    side = 0.1 * np.roll(mono, _RATE // 50)  # two channels that are not the same
    encoded = io.BytesIO()
    soundfile.write(
        encoded,
        np.stack([mono + side, mono - side], axis=1),
        _RATE,
        format="MP3",
        bitrate_mode="CONSTANT",
        compression_level=_QUALITY,
    )
    write_atomically(epath.Path(root / _song(piece)), encoded.getvalue())
