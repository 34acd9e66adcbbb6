"""Audio files to clips: mono PCM16 of the configured rate and length, with figures of their health.

A clip is made by one rule everywhere. All channels are averaged, or the loudest is taken where they cancel out. Of a
longer file the middle is kept. The audio is resampled (soxr, HQ) and rounded to 16 bits. Where it is shorter than a
clip, zeros follow at the end.

A song ends where its sound ends, whatever its header claims. libsndfile is fast, but it believes the header, so it
decodes what it can be trusted with: files of which it finds sound up to the claimed end, and nothing after that. FFmpeg
decodes all others, from beginning to end.

Memory is bounded by the length of a clip, not by that of the file or by what its header claims.
"""

import functools
import io
import itertools
import math
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from components.audio import ffmpeg
from components.audio.config import AudioConfig
from components.audio.samples import Samples

FLOOR_DBFS = -120.0
"""Level given to digital silence, in place of minus infinity, in dBFS."""
SILENCE_DBFS = -60.0
AUDIBLE = 10.0 ** (SILENCE_DBFS / 20.0)
"""SILENCE_DBFS as a magnitude, of which 1 is full scale."""
"""A clip whose peak is lower is silent, in dBFS."""
SILENT_FRAME_DBFS = -60.0
"""A frame with a lower RMS counts as silent, in dBFS."""
FRAME_SECONDS = 512 / 22050
"""Length of the frames that are silent or not: about 0.023 s."""
SOURCE_RATES = (1_000, 768_000)
"""Lowest and highest sample rate that is believed, in Hz. A header that claims another one is broken."""
CANCELLED = 0.01
"""Channels cancel out where their mean has less than this share of the power that the mean of unrelated ones has."""

_BLOCK_VALUES = 1 << 16
_SMALL_BYTES = 1 << 18
"""In a smaller file, what a decoder reads ahead may be a large part of the sound."""
_TOLERANCE, _TOLERANCE_SECONDS = 0.01, 0.25
"""Share and time by which a length may be wrong and is still believed. Decoders pad or lose a frame or two."""
_NUMBERED = ("FLAC", "OGG")
"""Formats whose packets have the number of their samples, by which libsndfile seeks."""
_QUARTER_TOLERANCE = 0.1
"""Share of the file by which the bytes of a quarter of the song may differ from a quarter of them."""
_BEGINNINGS = (b"ID3", b"RIFF", b"OggS", b"fLaC", b"FORM")
"""How files of audio begin that are readable as text up to there."""
_CONTROL_BYTES = bytes(set(range(32)) - set(b"\t\n\f\r\x1b"))
_UNKNOWN_FORMAT, _SYSTEM_ERROR, _NO_FRAME = 1, 2, 7  # of libsndfile's codes
_REASONS = {  # by libsndfile's codes; its own messages for these are empty, or deny that the file exists
    _UNKNOWN_FORMAT: "not one of the formats that are read (MP3, AAC, Ogg, Opus, FLAC, WMA, WAV, AIFF and others)",
    _NO_FRAME: "no valid audio frame in it",
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
    """Length of the whole source; from `clips_at` and `consecutive_clips`, of this part of it."""
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

    @property
    def silent(self) -> bool:
        """True if the peak is below SILENCE_DBFS."""
        return self.peak_dbfs < SILENCE_DBFS

    def stands_alone(self, config: AudioConfig) -> bool:
        """Returns whether this part of a song answers for it: the first, or one of half a clip or more."""
        return self.start_seconds == 0.0 or 2.0 * self.duration_seconds >= config.clip_seconds


def decode_clip(source: Source, config: AudioConfig) -> Clip:
    """Decodes the middle of a song as the one clip that stands for it.

    Of a song that is longer than a clip only the middle is decoded. If the header gives a wrong length, all of the
    song is decoded, block by block, to find the middle.

    Args:
      source: path of a file, or a seekable binary file.
      config: rate and length of the clip.

    Raises:
      AudioError: the format is not known, or the file is broken, is empty or holds samples that are not numbers.
      OSError: the file cannot be read.

    Example:
      >>> clip = decode_clip("song.mp3", AudioConfig())
      >>> clip.pcm.shape, clip.pcm.dtype
      ((661500,), dtype('int16'))
    """
    with _binary(source) as file:
        unread = None
        try:
            stretch = _claimed_middle(file, config.clip_seconds)
        except AudioError as error:
            stretch, unread = None, error
        stretch = stretch or _true_middle(file, _thorough(file, unread), config.clip_seconds)
    if not stretch.frames:
        raise AudioError("no samples in it")
    return _clip(stretch, config)


def consecutive_clips(source: Source | Samples, config: AudioConfig) -> Iterator[Clip]:
    """Decodes a song as consecutive clips from its beginning, each when it is asked for.

    A remainder of half a clip or more is padded with zeros. A shorter one is dropped, unless the song has no more.
    Arguments and errors are those of `clips_at`.
    """
    starts = (number * config.clip_seconds for number in itertools.count())
    return (clip for clip in clips_at(source, config, starts) if clip.stands_alone(config))


def clips_at(source: Source | Samples, config: AudioConfig, starts: Iterable[float]) -> Iterator[Clip]:
    """Decodes the clips of a song that begin at `starts`, each when it is asked for; they may overlap.

    Args:
      source: path of a file, a seekable binary file, or samples.
      config: rate and length of the clips.
      starts: in seconds, ascending; those after the end of the song are passed over. They may be endless.

    Yields:
      The clip at each start. Where the song ends within one, zeros follow.

    Raises:
      AudioError, OSError: see `decode_clip`; at the first clip, or at the broken place of the file.
    """
    empty = True
    with _from_the_beginning(source) as (sound, blocks):
        rate, wanted = sound.samplerate, math.ceil(config.clip_seconds * sound.samplerate)
        for start, piece in _pieces(blocks, wanted, (round(start * rate) for start in starts)):
            mono = _mono(piece)
            yield _clip(_Stretch(mono, start, len(mono), rate, sound.channels), config)
            empty = False
    if empty:
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


class _Sound(Protocol):
    """An open file, as either decoder reads it."""

    samplerate: int
    channels: int

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yields the samples from the beginning to the end, in blocks [n, channels]."""
        ...


_Decoder = Callable[[BinaryIO], AbstractContextManager[_Sound]]


@dataclass(frozen=True)
class _Stretch:
    """A part of a file, decoded."""

    mono: NDArray[np.float32]
    start: int
    """The first frame."""
    frames: int
    """Number of frames of that for which it stands: the whole file, or itself."""
    rate: int
    channels: int


class _SndfileSound(soundfile.SoundFile):
    """A file that libsndfile reads block by block without a break.

    soundfile seeks to the current position after every read of a file that can seek. An MP3 decoder then starts
    afresh, without the earlier frames that a frame may refer to: at low bit rates every block would begin silent.
    """

    def seekable(self) -> bool:
        """Returns False, so that soundfile does not seek by itself; `seek` still works."""
        return False

    def blocks(self, frames: int | None = None) -> Iterator[NDArray[np.float32]]:
        """Yields up to `frames` frames from the current place on, in blocks [n, channels] of _BLOCK_VALUES or less."""
        size = max(1, _BLOCK_VALUES // self.channels)
        left = self.frames if frames is None else frames
        # A buffer of `frames` samples would let a broken header take any memory.
        while left > 0 and len(block := self.read(min(size, left), dtype="float32", always_2d=True)):
            left -= len(block)
            yield block


class _SampleSound:
    """Samples in memory, as a sound."""

    def __init__(self, samples: Samples) -> None:
        self._samples = samples
        self.samplerate = samples.rate
        self.channels = samples.values.shape[1] if samples.values.ndim == 2 else 1

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yields the samples."""
        return self._samples.blocks()


@contextmanager
def _from_the_beginning(source: Source | Samples) -> Iterator[tuple[_Sound, Iterator[NDArray[np.float32]]]]:
    """Opens a sound to be read in one go; yields it, and its blocks [n, channels]."""
    if isinstance(source, Samples):
        if problem := source.problem():
            raise AudioError(problem)
        held = _SampleSound(source)
        _check_rate(held)
        yield held, held.blocks()
        return
    with _binary(source) as file, (decoder := _decoder(file))(file) as sound:
        yield sound, _unbroken(file, decoder, sound)


@contextmanager
def _binary(source: Source) -> Iterator[BinaryIO]:
    if not isinstance(source, str | bytes | Path):
        yield source
        return
    with open(source, "rb", buffering=0) as file:
        yield file


@contextmanager
def _sndfile(file: BinaryIO) -> Iterator[_SndfileSound]:
    """Opens `file` with libsndfile, whose errors inside the block become AudioErrors, or OSErrors if they are."""
    file.seek(0)
    try:
        # The descriptor itself, so that samples need not pass through Python. It shares its position with `file`.
        with _SndfileSound(file.fileno() if isinstance(file, io.FileIO) else file, closefd=False) as sound:
            _check_rate(sound)
            yield sound
    except soundfile.LibsndfileError as error:
        if error.code == _SYSTEM_ERROR:
            raise OSError(error.error_string) from error
        raise AudioError(_REASONS.get(error.code, error.error_string.rstrip("."))) from error
    except TypeError as error:  # a .raw file, whose format soundfile cannot know
        raise AudioError("no header that says what is in it") from error


@contextmanager
def _ffmpeg(file: BinaryIO) -> Iterator[ffmpeg.Sound]:
    """Opens `file` with FFmpeg, whose errors inside the block become AudioErrors."""
    try:
        sound = ffmpeg.Sound(file)
        _check_rate(sound)
        yield sound
    except ffmpeg.FfmpegError as error:
        raise AudioError(str(error)) from error


def _check_rate(sound: _Sound) -> None:
    if not SOURCE_RATES[0] <= sound.samplerate <= SOURCE_RATES[1]:
        raise AudioError(f"its header claims a sample rate of {sound.samplerate} Hz")


def _decoder(file: BinaryIO) -> _Decoder:
    """Chooses libsndfile where it finds all of the sound, and elsewhere what reads from beginning to end.

    Raises:
      AudioError: nothing can read `file`.
    """
    try:
        with _sndfile(file) as sound:
            if _ends_as_claimed(sound, file):
                return _sndfile
    except AudioError as error:
        return _thorough(file, error)
    return _thorough(file)


def _thorough(file: BinaryIO, unread: AudioError | None = None) -> _Decoder:
    """Chooses FFmpeg, or libsndfile for the rare format that only it knows. `unread`: why libsndfile cannot read it."""
    try:
        ffmpeg.Sound(file)
    except ffmpeg.FfmpegError as error:
        if unread is None:
            return _sndfile
        raise AudioError(_reason(file, str(error) or str(unread))) from error
    return _ffmpeg


def _reason(file: BinaryIO, reason: str) -> str:
    """Returns why nothing reads `file`: what its first bytes show, or else `reason`."""
    file.seek(0)
    head = file.read(1024)
    if not head:
        return "an empty file"
    if not head.strip(b"\0"):
        return "zeros in place of a header"
    if head[4:8] == b"ftyp" and reason == _REASONS[_UNKNOWN_FORMAT]:
        return "an MP4 file without its index: it was cut off"
    if head.startswith(_BEGINNINGS):
        return _REASONS[_NO_FRAME] if reason == _REASONS[_UNKNOWN_FORMAT] else reason
    if len(head) == len(head.translate(None, _CONTROL_BYTES)):
        return "not one of the formats that are read (it is text)"
    return reason


def _ends_as_claimed(sound: _SndfileSound, file: BinaryIO, at_end: bool = False) -> bool:
    """Returns True if there is sound in the last second that the header claims, and none after it.

    A length that was estimated from the bit rate of the first frame, or that is of the first of several streams in a
    row, or of a file that was cut off, is wrong by far more than a second. What a decoder has not read when it is at
    the end may be tags: then FFmpeg counts the packets.

    Args:
      at_end: `sound` has been read up to the claimed end.
    """
    claimed, rate = sound.frames, sound.samplerate
    end = file.tell() if at_end else _place_after(sound, file, max(0, claimed - rate), rate)
    size = file.seek(0, io.SEEK_END)
    if end is None:
        return False
    if sound.format in ("WAV", "WAVEX") and _chunk_follows(file, end, size):
        return True
    if size - end <= _TOLERANCE * size and size >= _SMALL_BYTES and _a_quarter_is_a_quarter(sound, file, size):
        return True
    try:
        wrong_by = abs(ffmpeg.Sound(file).seconds() - claimed / rate)
    except ffmpeg.FfmpegError:
        return True
    return wrong_by <= max(_TOLERANCE_SECONDS, _TOLERANCE * claimed / rate)


def _a_quarter_is_a_quarter(sound: _SndfileSound, file: BinaryIO, size: int) -> bool:
    """Returns False if the first quarter of the song takes much less or more than a quarter of the bytes.

    libsndfile may enter any of several streams in a row whose packets are numbered alike, so that it finds the end.
    """
    if sound.format not in _NUMBERED:
        return True
    place = _place_after(sound, file, sound.frames // 4)
    return place is not None and abs(place / size - 0.25) < _QUARTER_TOLERANCE


def _place_after(sound: _SndfileSound, file: BinaryIO, start: int, frames: int = 1) -> int | None:
    """Returns the place in `file` up to which it is read for `frames` frames from `start` on; None: none are there."""
    sound.seek(start)
    heard = sum(len(block) for block in sound.blocks(frames))
    return file.tell() if heard else None


def _chunk_follows(file: BinaryIO, end: int, size: int) -> bool:
    """Returns True if a chunk of RIFF, such as one of tags, begins at `end`, the end of a WAV file's samples."""
    file.seek(end + end % 2)
    name, length = struct.unpack("<4sI", file.read(8).ljust(8, b"\0"))
    return name.isascii() and name.decode("ascii").isprintable() and file.tell() + length <= size + 1


def _claimed_middle(file: BinaryIO, seconds: float) -> _Stretch | None:
    """Decodes the middle by the length in the header; None if that is wrong.

    Raises:
      AudioError: libsndfile cannot read `file`, or finds it broken.
    """
    with _sndfile(file) as sound:
        claimed, rate = sound.frames, sound.samplerate
        wanted = math.ceil(seconds * rate)
        start = max(0, claimed - wanted) // 2
        if claimed > wanted:
            # Entered near the end and then in the middle, always in this order: MP3 decoders round by what came before.
            if _place_after(sound, file, max(0, claimed - rate)) is None:
                return None
            # From a second before: an MP3 decoder needs up to half of that until it has all that a frame refers to.
            lead = min(start, rate)
            sound.seek(start - lead)
            for _ in sound.blocks(lead):
                pass
        mono = _mono(list(sound.blocks(wanted)))
        whole = claimed if claimed > wanted else len(mono)
        if len(mono) < min(claimed, wanted) or not _ends_as_claimed(sound, file, at_end=claimed <= wanted):
            return None
        return _Stretch(mono, start, whole, rate, sound.channels)


def _true_middle(file: BinaryIO, decoder: _Decoder, seconds: float) -> _Stretch:
    """Decodes all of `file` to find its middle, and then again up to the end of the middle."""
    with decoder(file) as sound:
        frames = sum(len(block) for block in sound.blocks())
        rate, channels = sound.samplerate, sound.channels
    wanted = math.ceil(seconds * rate)
    start = max(0, frames - wanted) // 2
    with decoder(file) as sound:
        middle = list(_between(sound.blocks(), start, min(frames, start + wanted)))
    return _Stretch(_mono(middle), start, frames, rate, channels)


def _unbroken(file: BinaryIO, decoder: _Decoder, sound: _Sound) -> Iterator[NDArray[np.float32]]:
    """Yields the blocks of `sound`, and FFmpeg's from where libsndfile finds it broken."""
    done = 0
    try:
        for block in sound.blocks():
            done += len(block)
            yield block
    except soundfile.LibsndfileError:
        with _thorough(file)(file) as again:
            yield from _between(again.blocks(), done)


def _between(blocks: Iterator[NDArray], start: int, stop: int | None = None) -> Iterator[NDArray]:
    """Yields the frames of `blocks` from `start` to `stop`, which is not included; None: to the end."""
    at = 0
    for block in blocks:
        part = block[max(0, start - at) : None if stop is None else stop - at]
        at += len(block)
        if len(part):
            yield part
        if stop is not None and at >= stop:
            return


def _pieces(blocks: Iterator[NDArray], frames: int, starts: Iterable[int]) -> Iterator[tuple[int, list[NDArray]]]:
    """Yields the frames from each of `starts`, which ascend, to `frames` later or to the end, as blocks."""
    held: list[NDArray] = []
    first = end = 0  # of what is held
    for start in starts:
        while True:
            while held and first + len(held[0]) <= start:
                first += len(held.pop(0))
            if end >= start + frames or (block := next(blocks, None)) is None:
                break
            held.append(block)
            end += len(block)
        if start >= end:
            return
        yield start, list(_between(iter(held), start - first, start - first + frames))


# --- From samples to a clip --------------------------------------------------------------------------------------


def _mono(blocks: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Averages the channels of blocks [n, channels]; where they cancel out, takes the one of the most power.

    They cancel out if their mean is far weaker than that of unrelated channels, or if it is silent and one is not.
    """
    if not blocks:
        return np.empty(0, np.float32)
    channels = blocks[0].shape[1]
    # Channels are added one by one: `mean` over an axis of a few channels takes as long as the decoder.
    mean = np.concatenate([functools.reduce(np.add, block.T) / np.float32(channels) for block in blocks])
    if channels == 1:
        return mean
    with np.errstate(all="ignore"):  # samples that are huge, or no numbers, are found out later
        power = float(np.dot(mean, mean))
        all_power = sum(float(np.dot(block.ravel(), block.ravel())) for block in blocks)
    cancelled = power < CANCELLED * all_power / channels**2
    if not cancelled and (power >= AUDIBLE**2 * len(mean) or np.abs(mean).max() >= AUDIBLE):
        return mean
    powers = np.sum([np.square(block).sum(axis=0) for block in blocks], axis=0)
    loudest = np.concatenate([block[:, np.argmax(powers)] for block in blocks])
    return loudest if cancelled or np.abs(loudest).max() >= AUDIBLE else mean


def _clip(stretch: _Stretch, config: AudioConfig) -> Clip:
    mono, rate = stretch.mono, stretch.rate
    if not np.isfinite(mono).all():
        raise AudioError("samples that are not numbers")
    # Float formats may hold any value. 100 times full scale is garbage, and far more would overflow in the filter.
    resampled = soxr.resample(np.clip(mono, -100.0, 100.0), rate, config.sample_rate, quality="HQ")
    kept = to_pcm16(resampled)
    kept = fit_to_length(kept, min(len(kept), config.clip_samples))
    return Clip(
        pcm=fit_to_length(kept, config.clip_samples),
        start_seconds=stretch.start / rate,
        duration_seconds=stretch.frames / rate,
        rms_dbfs=_dbfs(_rms(kept)),
        peak_dbfs=_dbfs(float(np.abs(kept.astype(np.int32)).max(initial=0)) / 32768.0),
        silence_ratio=_silence_ratio(kept, round(FRAME_SECONDS * config.sample_rate)),
        clipping_ratio=float(np.mean((kept == 32767) | (kept == -32768))) if len(kept) else 0.0,
        source_rate=rate,
        source_channels=stretch.channels,
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
