"""The chunks of a .vitc file: how they are framed, read and checked.

A chunk is a type of four letters, the length of its payload as a varint, the payload, and a CRC-32 of all of it. The
layout follows PNG (W3C, "Portable Network Graphics Specification", section 5), with lengths as varints because a whole
file may be 2 KB. A type whose first letter is a capital is critical: a reader that does not know it has to refuse the
file.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import BinaryIO, NoReturn

from .. import __version__
from ..errors import FormatError, UnsupportedError

MAX_VARINT = 5  # bytes
ADVICE = "get a complete and undamaged copy, or decode what is intact with --salvage"
_CRC_SIZE = 4

Source = bytes | bytearray | memoryview | BinaryIO


class Truncated(FormatError):
    """The file ends too early."""


@dataclass(frozen=True)
class Chunk:
    """Where a chunk lies in the file."""

    type: str
    offset: int  # of the type's first letter, in bytes from the start of the file
    length: int  # bytes of payload
    size: int  # bytes of the whole chunk: type, length, payload and checksum


class Reader:
    """Reads exactly what is asked for, or says that the file is truncated before anything is allocated."""

    def __init__(self, source: Source, name: str):
        self.stream = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
        self.name, self.position, start = name, 0, self.stream.tell()
        self.remaining = max(self.stream.seek(0, io.SEEK_END) - start, 0)
        self.stream.seek(start)

    def damaged(self, what: str) -> FormatError:
        return damaged(self.name, what)

    def truncated(self) -> Truncated:
        return Truncated(
            f"{self.name}: truncated: it ends too early, after {self.position + self.remaining} bytes; {ADVICE}"
        )

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises FormatError where there are fewer."""
        if count > self.remaining:
            raise self.truncated()
        data = self.stream.read(count)
        while len(data) < count:  # an unbuffered stream may return less than asked for
            more = self.stream.read(count - len(data))
            if not more:
                raise self.truncated()
            data += more
        self.position += count
        self.remaining -= count
        return data

    def varint(self) -> int:
        """A canonical LEB128 number: no byte more than it needs."""
        value = 0
        for i in range(MAX_VARINT):
            byte = self.read(1)[0]
            value |= (byte & 127) << 7 * i
            if byte < 128:
                if i and not byte:
                    break
                return value
        raise self.damaged(f"no valid number before byte {self.position}")

    def skip(self, count: int) -> None:
        if count > self.remaining:
            raise self.truncated()
        self.stream.seek(count, io.SEEK_CUR)
        self.position += count
        self.remaining -= count

    def chunk(self) -> Chunk:
        """The type and length of the next chunk; its payload, which is there in full, comes next."""
        offset, type = self.position, self.read(4)
        if not type.isalpha():
            raise self.damaged(f"no chunk begins at byte {offset}")
        length = self.varint()
        if length + _CRC_SIZE > self.remaining:
            raise self.truncated()
        return Chunk(type.decode("ascii"), offset, length, self.position - offset + length + _CRC_SIZE)

    def payload(self, chunk: Chunk) -> bytes:
        """The payload of the chunk whose type and length were just read, its checksum checked. Raises FormatError."""
        payload = self.read(chunk.length)
        if self.read(_CRC_SIZE) != _crc(_start(chunk.type, chunk.length), payload):
            raise self.damaged(f"the checksum of chunk {chunk.type} at byte {chunk.offset} is wrong")
        return payload

    def refuse(self, chunk: Chunk, known: Collection[str]) -> NoReturn:
        """Raise the error that says why a chunk cannot stand here.

        The checksum first, as the type itself may be damaged. known: types that have a place elsewhere.
        """
        self.payload(chunk)
        if chunk.type in known or not is_critical(chunk.type):
            raise self.damaged(f"chunk {chunk.type} at byte {chunk.offset} is out of place")
        raise UnsupportedError(
            f"{self.name}: needs vitcodec > {__version__}: chunk {chunk.type} is unknown to this one; upgrade vitcodec"
        )


def damaged(name: str, what: str) -> FormatError:
    """The error for a file that breaks the specification; `name` is how messages call it."""
    return FormatError(f"{name}: damaged: {what}; {ADVICE}")


def is_critical(type: str) -> bool:
    return type[0].isupper()


def varint(value: int) -> bytes:
    """LEB128: seven bits a byte, lowest first, bit 7 set on all bytes but the last."""
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def chunk_size(length: int) -> int:
    """Bytes of a whole chunk with a payload of `length` bytes."""
    return 4 + len(varint(length)) + length + _CRC_SIZE


def _start(type: str, length: int) -> bytes:
    return type.encode("ascii") + varint(length)


def _crc(start: bytes, payload: bytes) -> bytes:
    return zlib.crc32(payload, zlib.crc32(start)).to_bytes(_CRC_SIZE, "little")


def pack_chunk(type: str, payload: bytes) -> bytes:
    """The bytes of a whole chunk."""
    start = _start(type, len(payload))
    return start + payload + _crc(start, payload)
