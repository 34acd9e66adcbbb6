"""Audio files into clips: mono PCM16 of the configured rate and length, with what there is to say of their health.

A clip is made by one rule everywhere. All channels are averaged; what is longer than a clip is cut from the middle; the
rest is resampled (soxr, HQ), rounded to 16 bits and, where it is shorter than a clip, padded with zeros at the end.

Memory is bounded by the clip's length, not by the song's, nor by what a file's header claims of itself.
"""

import functools
import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from components.audio.config import AudioConfig

FLOOR_DBFS = -120.0
"""Level of digital silence, whose logarithm would be infinite."""
SILENT_FRAME_DBFS = -60.0
"""A frame whose RMS is below counts as silent."""
FRAME_SECONDS = 512 / 22050
"""Length of the frames whose silence is counted: about 23 ms."""
SOURCE_RATES = (1_000, 768_000)
"""Hz. A header that claims anything else is broken, or is no audio."""

_BLOCK_VALUES = 1 << 16
_REASONS = {  # by libsndfile's codes; its own words for these say nothing, or say that an existing file does not exist
    1: "not one of the formats that are read (MP3, Ogg, FLAC, WAV, AIFF)",
    7: "no valid audio frame in it",
    29: "its audio data is broken",
}

Source = str | bytes | Path | BinaryIO


class AudioError(Exception):
    """A file that does not decode. Its text is the reason, without the file's name."""


@dataclass(frozen=True)
class Clip:
    """One clip and its health. Levels and ratios describe the audio before it was padded, as it is stored."""

    pcm: NDArray[np.int16]
    """Mono, [clip_samples]."""
    start_seconds: float
    """Where in the source the clip begins."""
    duration_seconds: float
    """Of the whole source; of `decode_clips`, of this piece."""
    rms_dbfs: float
    """FLOOR_DBFS to 0; 0 dBFS is a square wave of full scale."""
    peak_dbfs: float
    """FLOOR_DBFS to 0."""
    silence_ratio: float
    """Share of the frames of FRAME_SECONDS whose RMS is below SILENT_FRAME_DBFS, 0 to 1."""
    clipping_ratio: float
    """Share of the samples at either end of the scale, 0 to 1."""
    source_rate: int
    """Hz."""
    source_channels: int


def decode_clip(source: Source, config: AudioConfig) -> Clip:
    """The one clip that stands for a whole song.

    Of a song that is longer than a clip only the middle is decoded, unless its header turns out to lie about its
    length; then all of it is, block by block, to find the middle.

    Args:
      source: path of a file, or a seekable binary file.
      config: rate and length of the clip.

    Raises:
      AudioError: no known format, broken, empty, or with samples that are not numbers.

    Example:
      >>> clip = decode_clip("song.mp3", AudioConfig())
      >>> clip.pcm.shape, clip.pcm.dtype
      ((661500,), dtype('int16'))
    """
    with _opened(source) as file:
        rate, channels, claimed = file.samplerate, file.channels, file.frames
        wanted = math.ceil(config.clip_seconds * rate)
        if claimed <= wanted:
            start, mono = 0, _read(file, wanted)
            frames = len(mono)
        else:
            start, frames = (claimed - wanted) // 2, claimed
            mono = _seek_and_read(file, start, wanted) if _reaches_its_end(file) else None
    if mono is None:
        start, frames, mono = _middle_of_all(source, wanted)
    if not frames:
        raise AudioError("no samples in it")
    return _clip(mono, start / rate, frames / rate, rate, channels, config)


def decode_clips(source: Source, config: AudioConfig) -> Iterator[Clip]:
    """A song in consecutive clips, from its beginning, decoded as they are asked for.

    A remainder of half a clip or more is padded with zeros; a shorter one is dropped, unless it is all there is.

    Args:
      source: path of a file, or a seekable binary file.
      config: rate and length of the clips.

    Raises:
      AudioError: as `decode_clip`, at the first clip or where the file breaks.
    """
    with _opened(source) as file:
        rate, channels = file.samplerate, file.channels
        wanted = math.ceil(config.clip_seconds * rate)
        start = 0
        while len(mono := _read(file, wanted)) and (start == 0 or 2 * len(mono) >= wanted):
            yield _clip(mono, start / rate, len(mono) / rate, rate, channels, config)
            start += len(mono)
    if start == 0:
        raise AudioError("no samples in it")


def to_pcm16(samples: NDArray[np.floating]) -> NDArray[np.int16]:
    """Floats of -1 to 1 as 16-bit integers, rounded, beyond clipped. What was read from 16 bits comes back exactly."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def fit_to_length(samples: NDArray, length: int) -> NDArray:
    """`samples` [n] as [length]: the middle of what is longer; zeros after the end of what is shorter."""
    spare = len(samples) - length
    if spare >= 0:
        return samples[spare // 2 : spare // 2 + length]
    return np.pad(samples, (0, -spare))


# --- Reading -----------------------------------------------------------------------------------------------------


class _Stream(soundfile.SoundFile):
    """A file that is read block by block without a break.

    Where a file can seek, soundfile does so after every read, to where it is. An MP3 decoder starts afresh at each of
    these, without the earlier frames that a frame may lean on: low bit rates fall silent at the start of every block.
    """

    def seekable(self) -> bool:
        """Keeps soundfile from it; `seek` works all the same."""
        return False


@contextmanager
def _opened(source: Source) -> Iterator[_Stream]:
    """`source`, open; whatever libsndfile has to complain of inside the block becomes an AudioError."""
    if isinstance(source, str | Path):
        source = os.fsencode(source)
    elif not isinstance(source, bytes):
        source.seek(0)
    try:
        with _Stream(source) as file:
            if not SOURCE_RATES[0] <= file.samplerate <= SOURCE_RATES[1]:
                raise AudioError(f"its header claims a sample rate of {file.samplerate} Hz")
            yield file
    except soundfile.LibsndfileError as error:
        raise AudioError(_REASONS.get(error.code, error.error_string.rstrip("."))) from error
    except TypeError as error:  # soundfile wants to be told what is in a .raw
        raise AudioError("no header that says what is in it") from error


def _blocks(file: _Stream, frames: int) -> Iterator[NDArray[np.float32]]:
    """Up to `frames` frames from where `file` stands, in blocks [n, channels] of at most _BLOCK_VALUES values."""
    size = max(1, _BLOCK_VALUES // file.channels)
    while frames > 0 and len(block := file.read(min(size, frames), dtype="float32", always_2d=True)):
        frames -= len(block)
        yield block


def _read(file: _Stream, frames: int) -> NDArray[np.float32]:
    """Up to `frames` frames from where `file` stands, channels averaged, [n]."""
    # A buffer of `frames` samples, made beforehand, would let a header of 22 bytes decide how much memory to take.
    # Channel by channel: a mean over the axis of a few channels goes frame by frame, and takes as long as the decoder.
    blocks = [functools.reduce(np.add, block.T) / np.float32(file.channels) for block in _blocks(file, frames)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _skip(file: _Stream, frames: int) -> None:
    for _ in _blocks(file, frames):
        pass


def _reaches_its_end(file: _Stream) -> bool:
    """Whether there is audio within the last second that the header of `file` claims.

    Decoders are padded or lose a frame or two, so the very last sample proves nothing; an estimate from the bit rate of
    a first frame, or a file cut off in transit, is wrong by far more.
    """
    try:
        file.seek(max(0, file.frames - file.samplerate))
        return any(len(block) for block in _blocks(file, 1))
    except soundfile.LibsndfileError:
        return False


def _seek_and_read(file: _Stream, start: int, frames: int) -> NDArray[np.float32] | None:
    """`frames` frames from `start` on, [frames]; None if the file cannot be entered there or ends before."""
    # From a second before, because an MP3 decoder needs up to half of that until it has all that a frame leans on.
    lead = min(start, file.samplerate)
    try:
        file.seek(start - lead)
        _skip(file, lead)
        mono = _read(file, frames)
    except soundfile.LibsndfileError:
        return None
    return mono if len(mono) == frames else None


def _middle_of_all(source: Source, wanted: int) -> tuple[int, int, NDArray[np.float32]]:
    """First frame of the middle, number of frames, and the middle [<= wanted], trusting nothing but the decoder."""
    with _opened(source) as file:
        frames = sum(len(block) for block in _blocks(file, file.frames))
    start = max(0, frames - wanted) // 2
    with _opened(source) as file:
        _skip(file, start)
        return start, frames, _read(file, wanted)


# --- From samples to a clip --------------------------------------------------------------------------------------


def _clip(
    mono: NDArray[np.float32], start: float, duration: float, rate: int, channels: int, config: AudioConfig
) -> Clip:
    if not np.isfinite(mono).all():
        raise AudioError("samples that are not numbers")
    # Float formats may hold anything; a hundred times full scale is garbage, and far more would overflow in the filter.
    resampled = soxr.resample(np.clip(mono, -100.0, 100.0), rate, config.sample_rate, quality="HQ")
    heard = to_pcm16(resampled)
    heard = fit_to_length(heard, min(len(heard), config.clip_samples))
    return Clip(
        pcm=fit_to_length(heard, config.clip_samples),
        start_seconds=start,
        duration_seconds=duration,
        rms_dbfs=_dbfs(_rms(heard)),
        peak_dbfs=_dbfs(float(np.abs(heard.astype(np.int32)).max(initial=0)) / 32768.0),
        silence_ratio=_silence_ratio(heard, round(FRAME_SECONDS * config.sample_rate)),
        clipping_ratio=float(np.mean((heard == 32767) | (heard == -32768))) if len(heard) else 0.0,
        source_rate=rate,
        source_channels=channels,
    )


def _rms(pcm: NDArray[np.int16]) -> float:
    """Root mean square of int16 [n], full scale 1."""
    return math.sqrt(float(np.mean(np.square(pcm, dtype=np.float64)))) / 32768.0 if len(pcm) else 0.0


def _dbfs(level: float) -> float:
    return max(FLOOR_DBFS, 20.0 * math.log10(level)) if level > 0.0 else FLOOR_DBFS


def _silence_ratio(pcm: NDArray[np.int16], size: int) -> float:
    """Share of the frames of `size` samples that are silent; what is shorter than one frame is one frame."""
    whole = len(pcm) // size
    frames = pcm[: whole * size].reshape(whole, size) if whole else pcm.reshape(1, -1)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1) if frames.size else np.zeros(1)
    threshold = 32768.0 * 10 ** (SILENT_FRAME_DBFS / 20)
    return float(np.mean(power < threshold**2))
