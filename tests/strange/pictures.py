"""What a strange picture is, and arrays of samples as bytes."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from random import Random

import numpy as np
from PIL import Image

from .metadata import Block

Array = np.ndarray
UNKNOWN = "nobody can say"  # of alpha: it may be there or not


@dataclass
class Strange:
    """An image file, and what its pixels are."""

    name: str
    data: bytes
    rgb: Array | None = None  # (H, W, 3) uint8 before it is turned; None where nobody can say
    alpha: Array | str | None = None  # (H, W) uint8
    blocks: list[Block] = field(default_factory=list)
    tolerance: int = 0
    seen: bool = False  # rgb is what is seen in sRGB, not the values of the file
    may_refuse: bool = False  # Pillow knows no such picture, or the picture itself is damaged
    says: str = ""  # what a note has to match

    @property
    def orientation(self) -> int | None:
        """Of the first block that turns the picture, None where one is in doubt."""
        found = [b.orientation for b in self.blocks]
        return None if None in found else next((o for o in found if o not in (0, 1)), 1)


def upright(array: Array, orientation: int) -> Array:
    if orientation >= 5:
        array = array.swapaxes(0, 1)
    flips = {1: (1, 1), 2: (1, -1), 3: (-1, -1), 4: (-1, 1), 5: (1, 1), 6: (1, -1), 7: (-1, -1), 8: (-1, 1)}
    rows, columns = flips[orientation]
    return array[::rows, ::columns]


def scaled(samples: Array, most: int) -> Array:
    """Samples of 0..most as 8 bits."""
    return np.rint(samples.astype(np.float64) * 255 / most).astype(np.uint8)


def as_rgb(gray: Array) -> Array:
    return np.repeat(gray[..., None], 3, -1)


def sizes(rng: Random) -> tuple[int, int]:
    """Height and width."""
    return rng.choice([1, 2, 7, 8, rng.randrange(3, 34)]), rng.choice([1, 3, 8, 16, rng.randrange(3, 34)])


def samples_of(rng: Random, channels: int, most: int) -> Array:
    """(H, W, channels) of 0..most: noise, or a few values in areas."""
    numpy, (height, width) = np.random.default_rng(rng.getrandbits(64)), sizes(rng)
    array = numpy.integers(0, most + 1, (height, width, channels))
    if rng.randrange(3) == 0:
        array[: height // 2] = array[0, 0]
    return array


def packed(samples: Array, bits: int, order: str = ">") -> list[bytes]:
    """Rows of samples as bytes. Below 8 bits and with 12, the highest bit first."""
    rows = samples.reshape(len(samples), -1)
    if bits in (8, 16, 32):
        return [row.astype(f"{order}u{bits // 8}").tobytes() for row in rows]
    spread = (rows[..., None] >> np.arange(bits - 1, -1, -1)) & 1
    return [row.tobytes() for row in np.packbits(spread.reshape(len(rows), -1).astype(np.uint8), axis=1)]


def stored(image: Image.Image, format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def values(data: bytes) -> Array:
    """What Pillow reads of a file without metadata."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
