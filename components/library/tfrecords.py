"""Writes and reads `tf.train.Example`s and TFRecord files without TensorFlow.

Both formats are simple and will not change. Importing TensorFlow takes about 10 s and 0.3 GB in each of Beam's worker
processes. The tests read what is written here back with TensorFlow.
"""

import gzip
import hashlib
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO, Literal

import google_crc32c

from components.base.section import Section

_LENGTH = struct.Struct("<Q")
_CRC = struct.Struct("<I")


def compression_of(files: Sequence[str]) -> Literal["", "GZIP"]:
    """Returns the compression of TFRecord files by their names, as Beam and TFX tell it: all have the same."""
    return "GZIP" if any(file.endswith(".gz") for file in files) else ""


class StoredFile(Section):
    """The content of a file of a span, by which a reader knows it."""

    sha256: str
    bytes: int | None = None
    """Size of the file; null in a span of an earlier version."""
    records: int | None = None
    """Number of examples, or of rows below the header of a table; null in a span of an earlier version."""

    def difference(self, sha256: str, size: int) -> str:
        """Describes in what a file of this SHA-256 and `size` bytes is another one; empty: in nothing."""
        if sha256 == self.sha256:
            return ""
        if self.bytes is not None and size != self.bytes:
            return f"damaged: it has {size} bytes, and {self.bytes} in the manifest"
        return "damaged: its SHA-256 is not the manifest's"


def encode_example(features: Mapping[str, bytes | float | int]) -> bytes:
    """Serializes a `tf.train.Example` of single values: bytes, float (as float32) or int (as int64).

    The same features give the same bytes, whatever their order.

    Raises:
      TypeError: a value is of another type.
    """
    return _field(1, b"".join(_field(1, _entry(name, features[name])) for name in sorted(features)))


def write_record(file: BinaryIO, data: bytes) -> bytes:
    """Appends one record to a TFRecord file; returns the bytes that were written: `data` in its frame."""
    length = _LENGTH.pack(len(data))
    framed = length + _masked_crc(length) + data + _masked_crc(data)
    file.write(framed)
    return framed


class RecordWriter:
    """Appends records to a TFRecord file, and keeps account of what is in it."""

    def __init__(self, file: BinaryIO) -> None:
        """`file` is empty, and written by nobody else."""
        self._file, self._digest, self._bytes, self._records = file, hashlib.sha256(), 0, 0

    def write(self, data: bytes) -> None:
        """Appends one record."""
        framed = write_record(self._file, data)
        self._digest.update(framed)
        self._bytes += len(framed)
        self._records += 1

    def written(self) -> StoredFile:
        """Returns what the file holds."""
        return StoredFile(sha256=self._digest.hexdigest(), bytes=self._bytes, records=self._records)


def read_records(file: BinaryIO) -> Iterator[bytes]:
    """Yields the records of an uncompressed TFRecord file.

    Raises:
      ValueError: the file is cut off or damaged.
    """
    return (data for _, data, _ in _frames(file))


def read_expected_records(file: BinaryIO, expected: StoredFile) -> Iterator[bytes]:
    """Yields the records of an uncompressed TFRecord file, and compares them with what should be in it at the end.

    Raises:
      ValueError: the file is cut off or damaged, or is not the `expected` one.
    """
    digest, size, records = hashlib.sha256(), 0, 0
    for frame in _frames(file):
        for part in frame:
            digest.update(part)
            size += len(part)
        records += 1
        yield frame[1]
    if problem := expected.difference(digest.hexdigest(), size):
        raise ValueError(problem)
    if expected.records not in (None, records):
        raise ValueError(f"damaged: it has {records} records, and {expected.records} in the manifest")


def count_records(file: BinaryIO | gzip.GzipFile) -> int:
    """Counts the records of a TFRecord file without looking into them. `file` may be one that decompresses.

    Raises:
      ValueError: the file is cut off, or no TFRecord file.
    """
    count = 0
    try:
        while head := file.read(_LENGTH.size + _CRC.size):
            if len(head) < _LENGTH.size + _CRC.size or head[_LENGTH.size :] != _masked_crc(head[: _LENGTH.size]):
                raise ValueError("not a TFRecord file, or a damaged one")
            place = file.tell() + _LENGTH.unpack(head[: _LENGTH.size])[0] + _CRC.size
            if file.seek(place - 1) != place - 1 or len(file.read(1)) != 1:
                raise ValueError("a record is cut off")
            count += 1
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"its compressed data is cut off or damaged: {error}") from error
    return count


def _frames(file: BinaryIO) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yields head, data and end of every record of an uncompressed TFRecord file."""
    while head := file.read(_LENGTH.size + _CRC.size):
        length = head[: _LENGTH.size]
        if len(head) < _LENGTH.size + _CRC.size or head[_LENGTH.size :] != _masked_crc(length):
            raise ValueError("not a TFRecord file, or a damaged one")
        data = file.read(_LENGTH.unpack(length)[0])
        end = file.read(_CRC.size)
        if end != _masked_crc(data):
            raise ValueError("a record is cut off or damaged")
        yield head, data, end


def _masked_crc(data: bytes) -> bytes:
    crc = google_crc32c.value(data)
    return _CRC.pack(((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def _entry(name: str, value: bytes | float | int) -> bytes:
    """Encodes an entry of the map `Features.feature`: the key, and a Feature with the list for the value's type."""
    match value:
        case bytes():
            feature = _field(1, _field(1, value))
        case float():
            feature = _field(2, _field(1, struct.pack("<f", value)))
        case int():
            feature = _field(3, _field(1, _varint(value & 0xFFFFFFFFFFFFFFFF)))
        case _:
            raise TypeError(f"{name}: a feature cannot be a {type(value).__name__}")
    return _field(1, name.encode()) + _field(2, feature)


def _field(number: int, payload: bytes) -> bytes:
    """Encodes a length-delimited protobuf field."""
    return bytes([number << 3 | 2]) + _varint(len(payload)) + payload


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
