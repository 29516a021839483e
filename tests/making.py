"""Image files byte by byte, of kinds that Pillow cannot write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence

import numpy as np


def chunk(kind: bytes, payload: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(payload)) + kind + payload + struct.pack(">I", zlib.crc32(kind + payload))


def png_file(samples: np.ndarray, colour: int, *chunks: bytes, depth: int | None = None) -> bytes:
    """(H, W) or (H, W, C) uint8 or uint16 -> a PNG of this colour type, with further chunks behind IHDR.

    depth: bits of samples that are packed already, so that the width is that of the packed rows.
    """
    height, width = samples.shape[:2]
    bits = depth or 8 * samples.itemsize
    width = width if depth is None else width * 8 // depth
    rows = b"".join(b"\0" + row.astype(row.dtype.newbyteorder(">")).tobytes() for row in samples)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0))
    body = head + b"".join(chunks) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def iccp(icc: bytes) -> bytes:
    """A PNG chunk with a profile."""
    return chunk(b"iCCP", b"x\0\0" + zlib.compress(icc))


def segment(marker: int, payload: bytes) -> bytes:
    """A segment of a JPEG file."""
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def tiff_file(
    width: int,
    height: int,
    bits: int,
    photometric: int,
    samples: int,
    data: bytes,
    order: str = "<",
    **tags: Sequence[int],
) -> bytes:
    """A TIFF of one strip (or, with planar=[2], one for each sample). tags: compression, extra, format, planar, ..."""
    names = {"compression": 259, "orientation": 274, "planar": 284, "extra": 338, "format": 339}
    strips = samples if tags.get("planar") == [2] else 1
    size = len(data) // strips
    values = {256: [width], 257: [height], 258: [bits] * samples, 259: [1], 262: [photometric], 277: [samples]}
    values |= {273: [0] * strips, 278: [height], 279: [size] * strips}
    values |= {names[name]: list(value) for name, value in tags.items()}
    place = 8 + 2 + 12 * len(values) + 4
    long = {tag: len(v) * 4 for tag, v in values.items() if len(v) > 1}
    values[273] = [place + sum(long.values()) + i * size for i in range(strips)]
    entries, blob = b"", b""
    for tag in sorted(values):
        packed = struct.pack(f"{order}{len(values[tag])}I", *values[tag])
        if tag in long:
            blob, packed = blob + packed, struct.pack(order + "I", place + len(blob))
        entries += struct.pack(order + "HHI", tag, 4, len(values[tag])) + packed
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(values))
    return head + entries + bytes(4) + blob + data


def srgb_encoded(light: np.ndarray) -> np.ndarray:
    """Linear light 0..1 to sRGB's values of 8 bits."""
    return np.rint(255 * np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))
