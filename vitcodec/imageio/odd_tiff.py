"""Plain TIFF files of kinds that Pillow does not know: any depth up to 16 bits, gray or RGB, with or without alpha.

Without compression or with Deflate, in strips or tiles. Numbers of tags as in TIFF 6.0.
"""

from __future__ import annotations

import zlib

import numpy as np

from .opening import too_large
from .samples import Samples, to_8_bits
from .tiff import Tiff

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, _SAMPLES = 256, 257, 258, 259, 262, 277
_ROWS, _PLANAR, _PREDICTOR, _EXTRA, _FORMAT, _FILL_ORDER = 278, 284, 317, 338, 339, 266
_STRIPS, _TILE_WIDTH, _TILE_HEIGHT, _TILES = (273, 279), 322, 323, (324, 325)
_RAW, _DEFLATE = 1, (8, 32946)
_TOP = 0xFFFF


def read_odd_tiff(data: bytes, found: Tiff, max_pixels: int, name: str) -> Samples | None:
    """The pixels of a file, scaled to 16 bits; None where it is of no kind that is read here.

    name: how messages call the file. Raises LimitError, ValueError where it is damaged.
    """
    width, height = _size(found)
    if width * height > max_pixels:
        raise too_large(name, f"{width}x{height} is", max_pixels)
    depths, kinds = found.numbers(_BITS) or (1,), found.numbers(_FORMAT) or (1,)
    bits, photometric, extra = depths[0], found.number(_PHOTOMETRIC, 0), found.numbers(_EXTRA)
    colours = {0: 1, 1: 1, 2: 3}.get(photometric, 0)
    count = found.number(_SAMPLES, 1)
    if len(set(depths)) > 1 or not 1 <= bits <= 16 or set(kinds) != {1} or found.number(_FILL_ORDER, 1) != 1:
        return None
    if not colours or not colours <= count <= colours + 4 or found.number(_COMPRESSION, 1) not in (_RAW, *_DEFLATE):
        return None
    if found.number(_PREDICTOR, 1) != 1 and (found.number(_PREDICTOR, 1) != 2 or bits not in (8, 16)):
        return None
    values = _planes(data, found, bits, count)
    top = (1 << bits) - 1
    scaled = ((values.astype(np.uint32) * _TOP + top // 2) // top).astype(np.uint16)
    if photometric == 0:
        scaled[..., 0] = _TOP - scaled[..., 0]
    kind = extra[0] if extra and count > colours else 0
    alpha = scaled[..., colours] if kind in (1, 2) else None
    shown = scaled[..., :colours]
    if kind == 1 and alpha is not None:  # colours were multiplied by it
        shown = np.minimum(shown * np.float32(_TOP) / np.maximum(alpha, 1)[..., None], _TOP).astype(np.uint16)
    notes = [f"{bits}-bit reduced to 8"] if bits > 8 else []
    mode, plain = ("L", shown[..., 0]) if colours == 1 else ("RGB", shown)
    return Samples(mode, plain, None if alpha is None else to_8_bits(alpha), notes)


def _size(found: Tiff) -> tuple[int, int]:
    return found.number(_WIDTH, 0), found.number(_HEIGHT, 0)


def _planes(data: bytes, found: Tiff, bits: int, count: int) -> np.ndarray:
    """(H, W, count) uint16, as stored."""
    width, height = _size(found)
    tiled = bool(found.numbers(_TILE_WIDTH))
    across = found.number(_TILE_WIDTH, 0) if tiled else width
    down = found.number(_TILE_HEIGHT, 0) if tiled else min(found.number(_ROWS, height), height)
    if min(width, height, across, down) < 1 or max(across, down) > 1 << 16:
        raise ValueError("its size makes no sense")
    offsets, sizes = (found.numbers(tag) for tag in (_TILES if tiled else _STRIPS))
    layers, together = (count, 1) if found.number(_PLANAR, 1) == 2 else (1, count)
    places = [(layer, y, x) for layer in range(layers) for y in range(0, height, down) for x in range(0, width, across)]
    if len(offsets) < len(places) or len(sizes) < len(places):
        raise ValueError("strips are missing")
    out = np.empty((height, width, count), np.uint16)
    row = -(-across * together * bits // 8)
    for (layer, y, x), offset, size in zip(places, offsets, sizes, strict=False):
        rows = down if tiled else min(down, height - y)
        part = data[offset : offset + size]
        if found.number(_COMPRESSION, 1) != _RAW:
            part = zlib.decompressobj().decompress(part, row * rows)
        if len(part) < row * rows:
            raise ValueError("it is cut off")
        values = _unpacked(np.frombuffer(part, np.uint8, row * rows).reshape(rows, row), bits, found.order)
        values = values[:, : across * together].reshape(rows, across, together)
        if found.number(_PREDICTOR, 1) == 2:
            values = np.cumsum(values, 1, dtype=np.uint64).astype(np.uint16) & ((1 << bits) - 1)
        target = out[y : y + rows, x : x + across, layer : layer + together]
        target[:] = values[: target.shape[0], : target.shape[1]]
    return out


def _unpacked(rows: np.ndarray, bits: int, order: str) -> np.ndarray:
    """(rows, bytes) -> (rows, samples) uint16. Whole bytes are in the file's order, else the highest bit is first."""
    if bits in (8, 16):
        return np.ascontiguousarray(rows).view(order + "u2" if bits == 16 else "u1").astype(np.uint16)
    count = rows.shape[1] * 8 // bits
    out = np.empty((rows.shape[0], count), np.uint16)
    for y in range(rows.shape[0]):  # row by row: single bits take eight times the memory
        single = np.unpackbits(rows[y])[: count * bits].reshape(count, bits)
        out[y] = single @ (1 << np.arange(bits - 1, -1, -1, dtype=np.uint16))
    return out
