"""Audio files to clips: mono PCM16 of the configured rate and length, with figures of their health.

A clip is made by one rule everywhere. All channels are averaged. Of a longer file the middle is kept. The audio is
resampled (soxr, HQ) and rounded to 16 bits. Where it is shorter than a clip, zeros follow at the end.

Memory is bounded by the length of a clip, not by that of the file or by what its header claims.
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
"""Level given to digital silence, in place of minus infinity, in dBFS."""
SILENT_FRAME_DBFS = -60.0
"""A frame with a lower RMS counts as silent, in dBFS."""
FRAME_SECONDS = 512 / 22050
"""Length of the frames that are silent or not: about 0.023 s."""
SOURCE_RATES = (1_000, 768_000)
"""Lowest and highest sample rate that is believed, in Hz. A header that claims another one is broken."""

_BLOCK_VALUES = 1 << 16
_REASONS = {  # by libsndfile's codes; its own messages for these are empty, or deny that the file exists
    1: "not one of the formats that are read (MP3, Ogg, FLAC, WAV, AIFF)",
    7: "no valid audio frame in it",
    29: "its audio data is broken",
}

Source = str | bytes | Path | BinaryIO


class AudioError(Exception):
    """A file cannot be decoded. The message is the reason, without the name of the file."""


@dataclass(frozen=True)
class Clip:
    """One clip and its health. Levels and ratios describe the audio before it was padded, as it is stored."""

    pcm: NDArray[np.int16]
    """Mono, [clip_samples]."""
    start_seconds: float
    """Start of the clip in the source, in seconds."""
    duration_seconds: float
    """Length of the whole source; from `consecutive_clips`, of this part of it."""
    rms_dbfs: float
    """Root mean square, FLOOR_DBFS to 0; 0 dBFS is a square wave of full scale."""
    peak_dbfs: float
    """Largest magnitude of a sample, FLOOR_DBFS to 0."""
    silence_ratio: float
    """Share of the frames of FRAME_SECONDS whose RMS is below SILENT_FRAME_DBFS, 0 to 1."""
    clipping_ratio: float
    """Share of the samples at either end of the scale, 0 to 1."""
    source_rate: int
    """Sample rate of the source, in Hz."""
    source_channels: int


def decode_clip(source: Source, config: AudioConfig) -> Clip:
    """Decodes the middle of a song as the one clip that stands for it.

    Of a song that is longer than a clip only the middle is decoded. If the header gives a wrong length, all of the
    song is decoded, block by block, to find the middle.

    Args:
      source: path of a file, or a seekable binary file.
      config: rate and length of the clip.

    Raises:
      AudioError: the format is not known, or the file is broken, is empty or holds samples that are not numbers.

    Example:
      >>> clip = decode_clip("song.mp3", AudioConfig())
      >>> clip.pcm.shape, clip.pcm.dtype
      ((661500,), dtype('int16'))
    """
    mono: NDArray[np.float32] | None
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


def consecutive_clips(source: Source, config: AudioConfig) -> Iterator[Clip]:
    """Decodes a song as consecutive clips from its beginning, each when it is asked for.

    A remainder of half a clip or more is padded with zeros. A shorter one is dropped, unless the song has no more.

    Args:
      source: path of a file, or a seekable binary file.
      config: rate and length of the clips.

    Raises:
      AudioError: see `decode_clip`; at the first clip, or at the broken place of the file.
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
    """Rounds floats in [-1, 1] to 16-bit integers and clips larger ones; samples that had 16 bits come back exactly."""
    return np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)


def fit_to_length(samples: NDArray, length: int) -> NDArray:
    """Brings samples [n] to [length]: keeps the middle of more, puts zeros after the end of fewer."""
    spare = len(samples) - length
    if spare >= 0:
        return samples[spare // 2 : spare // 2 + length]
    return np.pad(samples, (0, -spare))


# --- Reading -----------------------------------------------------------------------------------------------------


class _Stream(soundfile.SoundFile):
    """A file that is read block by block without a break.

    soundfile seeks to the current position after every read of a file that can seek. An MP3 decoder then starts
    afresh, without the earlier frames that a frame may refer to: at low bit rates every block would begin silent.
    """

    def seekable(self) -> bool:
        """Returns False, so that soundfile does not seek by itself; `seek` still works."""
        return False


@contextmanager
def _opened(source: Source) -> Iterator[_Stream]:
    """Opens `source`; an error of libsndfile inside the block becomes an AudioError."""
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
    except TypeError as error:  # a .raw file, whose format soundfile cannot know
        raise AudioError("no header that says what is in it") from error


def _blocks(file: _Stream, frames: int) -> Iterator[NDArray[np.float32]]:
    """Reads up to `frames` frames from the current place, in blocks [n, channels] of _BLOCK_VALUES values or less."""
    size = max(1, _BLOCK_VALUES // file.channels)
    while frames > 0 and len(block := file.read(min(size, frames), dtype="float32", always_2d=True)):
        frames -= len(block)
        yield block


def _read(file: _Stream, frames: int) -> NDArray[np.float32]:
    """Reads up to `frames` frames from the current position and averages the channels: [n]."""
    # Blocks are collected, because a buffer of `frames` samples would let a broken header take any memory.
    # Channels are added one by one: `mean` over an axis of a few channels takes as long as the decoder.
    blocks = [functools.reduce(np.add, block.T) / np.float32(file.channels) for block in _blocks(file, frames)]
    return np.concatenate(blocks) if blocks else np.empty(0, np.float32)


def _skip(file: _Stream, frames: int) -> None:
    for _ in _blocks(file, frames):
        pass


def _reaches_its_end(file: _Stream) -> bool:
    """Returns True if there is audio within the last second that the header of `file` claims.

    Decoders pad or lose a frame or two, so the very last sample proves nothing. A length that was estimated from the
    bit rate of the first frame, or a file that was cut off, is wrong by far more than a second.
    """
    try:
        file.seek(max(0, file.frames - file.samplerate))
        return any(len(block) for block in _blocks(file, 1))
    except soundfile.LibsndfileError:
        return False


def _seek_and_read(file: _Stream, start: int, frames: int) -> NDArray[np.float32] | None:
    """Reads `frames` frames from `start` on, [frames]; None if the file cannot be entered there, or ends earlier."""
    # From a second before: an MP3 decoder needs up to half of that until it has all that a frame refers to.
    lead = min(start, file.samplerate)
    try:
        file.seek(start - lead)
        _skip(file, lead)
        mono = _read(file, frames)
    except soundfile.LibsndfileError:
        return None
    return mono if len(mono) == frames else None


def _middle_of_all(source: Source, wanted: int) -> tuple[int, int, NDArray[np.float32]]:
    """Decodes everything; returns the first frame of the middle, the number of frames, and the middle [<= wanted]."""
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
    # Float formats may hold any value. 100 times full scale is garbage, and far more would overflow in the filter.
    resampled = soxr.resample(np.clip(mono, -100.0, 100.0), rate, config.sample_rate, quality="HQ")
    kept = to_pcm16(resampled)
    kept = fit_to_length(kept, min(len(kept), config.clip_samples))
    return Clip(
        pcm=fit_to_length(kept, config.clip_samples),
        start_seconds=start,
        duration_seconds=duration,
        rms_dbfs=_dbfs(_rms(kept)),
        peak_dbfs=_dbfs(float(np.abs(kept.astype(np.int32)).max(initial=0)) / 32768.0),
        silence_ratio=_silence_ratio(kept, round(FRAME_SECONDS * config.sample_rate)),
        clipping_ratio=float(np.mean((kept == 32767) | (kept == -32768))) if len(kept) else 0.0,
        source_rate=rate,
        source_channels=channels,
    )


def _rms(pcm: NDArray[np.int16]) -> float:
    """Computes the root mean square of int16 [n]; full scale is 1."""
    return math.sqrt(float(np.mean(np.square(pcm, dtype=np.float64)))) / 32768.0 if len(pcm) else 0.0


def _dbfs(level: float) -> float:
    return max(FLOOR_DBFS, 20.0 * math.log10(level)) if level > 0.0 else FLOOR_DBFS


def _silence_ratio(pcm: NDArray[np.int16], size: int) -> float:
    """Computes the share of frames of `size` samples that are silent; less than one frame counts as one."""
    whole = len(pcm) // size
    frames = pcm[: whole * size].reshape(whole, size) if whole else pcm.reshape(1, -1)
    power = np.mean(np.square(frames, dtype=np.float64), axis=1) if frames.size else np.zeros(1)
    threshold = 32768.0 * 10 ** (SILENT_FRAME_DBFS / 20)
    return float(np.mean(power < threshold**2))
