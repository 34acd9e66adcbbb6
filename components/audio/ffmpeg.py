"""FFmpeg's decoders, through PyAV: for the files that libsndfile does not read, or reads only in part."""

import io
import itertools
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

import av
import numpy as np
from av import AudioStream
from av.audio.frame import AudioFrame
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from numpy.typing import NDArray

DEMUXERS = (
    *("aac", "ac3", "adx", "aiff", "amr", "ape", "asf", "au", "avi", "caf", "dsf", "dts", "dtshd", "eac3", "flac"),
    *("flv", "iff", "loas", "matroska", "mlp", "mov", "mp3", "mpc", "mpc8", "mpeg", "mpegts", "ogg", "oma", "qcp"),
    *("rm", "shn", "sox", "spdif", "tak", "truehd", "tta", "voc", "vqf", "w64", "wav", "wsd", "wv", "xwma"),
)
"""FFmpeg's formats that songs come in. The others stay shut: some, such as playlists, open other files or addresses."""
MAX_INVALID_SHARE = 0.5
"""Share of the audio data that may be in invalid packets. They are left out, as the ffmpeg program does."""

_OGG_MARK, _FLAC_MARK = re.compile(rb"OggS\0(.)", re.DOTALL), re.compile(rb"fLaC[\x00\x80]\0\0\x22")
"""What begins a page of Ogg, with its flags, of which 2 is for the first page of a stream; and a FLAC stream."""
_MARKS = (_OGG_MARK, _FLAC_MARK)
_LONGEST_MARK = 8
_CHUNK = 1 << 20
_ENCRYPTED = "it is encrypted (DRM)"
_ENCRYPTED_TAGS = ("drms", "enca", "aavd")
_ASF_ENCRYPTION = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")
"""The id of the content encryption object in the header of a WMA file."""


class FfmpegError(Exception):
    """FFmpeg cannot decode a file. The message is the reason, if it is more than that no format fits."""


class Sound:
    """The best audio stream of a file; of a chain, those of all links, one after the other."""

    def __init__(self, file: BinaryIO) -> None:
        """Looks into `file`.

        Raises:
          FfmpegError: there is no sound in it that can be decoded.
        """
        self._parts = [_Part(file, start, stop) for start, stop in itertools.pairwise(_links(file))]
        with _stream(self._parts[0]) as stream:
            self.samplerate: int = stream.codec_context.sample_rate
            """Hz, of the beginning; where the rate changes, the rest is resampled to it."""
            self.channels: int = stream.codec_context.channels
            """Number of channels, of the beginning; where it changes, the rest is averaged, the same in each."""
            if not (self.samplerate and self.channels):
                raise FfmpegError(f"no valid {stream.codec_context.name} audio in it")

    def seconds(self) -> float:
        """Returns the length by the packets that are there, whatever a header claims. Decodes nothing.

        Raises:
          FfmpegError: a link of the chain has no sound that can be decoded.
        """
        total = 0.0
        for part in self._parts:
            with _stream(part) as stream:
                total += float(_ticks(stream) * (stream.time_base or 0))
        return total

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yields the samples from the beginning to the end, in blocks [n, channels].

        Raises:
          FfmpegError: more than MAX_INVALID_SHARE of the bytes are in packets that are invalid.
        """
        for _, frames in itertools.groupby(self._frames(), lambda it: (it.format.name, it.layout.name, it.rate)):
            # Packed: where a broken packet changes the number of channels, PyAV looks for planes that are not there.
            resampler = av.AudioResampler("flt", rate=self.samplerate)
            for frame in itertools.chain(frames, [None]):
                if frame:
                    frame.pts = None  # in a chain, times begin again
                for part in resampler.resample(frame):
                    block = np.asarray(part.to_ndarray(), np.float32).reshape(part.samples, -1)
                    if block.shape[1] != self.channels:
                        block = block.mean(axis=1, keepdims=True).repeat(self.channels, axis=1)
                    yield block

    def _frames(self) -> Iterator[AudioFrame]:
        seen = invalid = 0
        for part in self._parts:
            try:
                with _stream(part) as stream:
                    for packet in _packets(stream):
                        size = packet.size if packet else 0
                        seen += size
                        try:
                            yield from stream.decode(packet)
                        except av.FFmpegError:
                            invalid += size
            except FfmpegError:
                seen += part.size
                invalid += part.size
        if invalid > MAX_INVALID_SHARE * seen:
            raise FfmpegError(f"{invalid / seen:.0%} of its audio data is invalid")


class _Part:
    """The bytes from `start` to `stop` of a file, as PyAV reads it. Without a name, so that only the content counts."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file, self._start, self.size, self._place = file, start, stop - start, 0

    def read(self, size: int) -> bytes:
        """Reads up to `size` bytes."""
        self._file.seek(self._start + self._place)
        data = self._file.read(max(0, min(size, self.size - self._place)))
        self._place += len(data)
        return data

    def tell(self) -> int:
        """Returns the place."""
        return self._place

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Moves to a place; returns -1 if there is none: FFmpeg asks for places before the beginning."""
        place = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self.size}[whence]
        if place < 0:
            return -1
        self._place = place
        return place


def _links(file: BinaryIO) -> list[int]:
    """Returns where the links of a chain of Ogg or FLAC begin, and where the last one ends. All else is one link.

    FFmpeg itself reads a chain only while the codec and the form of its samples stay the same.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(_LONGEST_MARK)
    mark = next((mark for mark in _MARKS if mark.match(head)), None)
    starts, place, rest, beginning = [0], len(head), head, True
    while mark and (data := file.read(_CHUNK)):
        window = rest + data
        for found in mark.finditer(window):
            # In Ogg, a link begins with one such page for each of its streams.
            begins = mark is _FLAC_MARK or bool(found[1][0] & 2)
            if begins and not beginning:
                starts.append(place - len(rest) + found.start())
            beginning = begins and mark is _OGG_MARK
        place += len(data)
        rest = window[-_LONGEST_MARK + 1 :]
    return [*starts, size]


@contextmanager
def _stream(part: _Part) -> Iterator[AudioStream]:
    """Opens the best audio stream of `part`.

    Raises:
      FfmpegError: there is none that can be decoded.
    """
    part.seek(0)
    if _ASF_ENCRYPTION in part.read(1 << 16):
        raise FfmpegError(_ENCRYPTED)
    part.seek(0)
    # A WAV file is read to its end, because its length is among what may be wrong.
    options = {"format_whitelist": ",".join(DEMUXERS), "ignore_length": "1"}
    try:
        container = av.open(part, "r", options=options, metadata_errors="replace")
    except av.FFmpegError as error:
        raise FfmpegError("") from error
    with container:
        stream = container.streams.best("audio")
        if not isinstance(stream, AudioStream):
            moving = [video for video in container.streams.video if not video.disposition & Disposition.attached_pic]
            raise FfmpegError("a video without sound" if moving else "no audio stream in it")
        if stream.codec_context is None:
            raise FfmpegError("its codec is not known")
        if stream.codec_context.codec_tag in _ENCRYPTED_TAGS:
            raise FfmpegError(_ENCRYPTED)
        yield stream


def _ticks(stream: AudioStream) -> int:
    """Returns the length by the packets, in units of `stream.time_base`."""
    durations, first, last = 0, None, 0
    for packet in _packets(stream):
        if packet and packet.pts is not None:
            durations += packet.duration or 0
            first = packet.pts if first is None else first
            last = max(last, packet.pts + (packet.duration or 0))
    # In Ogg some packets have no duration. Where files were joined, times begin again.
    return max(durations, last - (first or 0))


def _packets(stream: AudioStream) -> Iterator[Packet | None]:
    """Yields the packets up to the end or to a place after which none are found, and one that ends the decoding."""
    try:
        yield from cast(InputContainer, stream.container).demux(stream)
    except av.FFmpegError:
        yield None
