"""Pictures made by a program, a small codec to measure, and the default model loaded once."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
from PIL import Image

from vitcodec.errors import FormatError
from vitcodec.picture import Picture


def make_rgb(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth picture with edges and texture, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = sum(
        np.sin(x[..., None] * rng.normal(0, 0.08, 3) + y[..., None] * rng.normal(0, 0.08, 3) + rng.uniform(0, 6, 3))
        for _ in range(4)
    )
    rgb = 128 + 25 * waves
    for _ in range(6):
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(4, max(5, min(width, height) / 3))
        rgb[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.uniform(0, 255, 3)
    return np.clip(rgb + rng.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def codec():
    from vitcodec.codec import Codec

    return Codec.from_pretrained(device="cpu")


@pytest.fixture(scope="session")
def floating():
    """A family in floating point, which runs on torch."""
    from vitcodec.codec import Codec

    return Codec.from_pretrained("cnn", "cpu")


@pytest.fixture(scope="session")
def picture():
    return Picture(make_rgb(200, 136))


def picture_of(rgb):
    return Picture(rgb=rgb, alpha=None, gray=False, icc=None, exif=None, xmp=None, notes=[])


class Rounding:
    """A small codec: pixels rounded to multiples of a step, then zlib. Quality 100 is lossless."""

    name = "rounding"

    def __init__(self, refuse=()):
        self.refuse, self.calls = refuse, []

    def encode(self, picture, quality):
        self.calls.append(("encode", quality))
        if quality in self.refuse:
            raise FormatError(f"quality {quality} is broken")
        step = 101 - quality
        rounded = np.minimum(np.round(picture.rgb / step) * step, 255).astype(np.uint8)
        return bytes([len(rounded.shape)]) + np.array(rounded.shape, ">u4").tobytes() + zlib.compress(rounded.tobytes())

    def decode(self, data):
        self.calls.append(("decode", len(data)))
        shape = np.frombuffer(data[1:13], ">u4")
        return picture_of(np.frombuffer(zlib.decompress(data[13:]), np.uint8).reshape(shape))


def smooth(height, width):
    return (np.add.outer(np.arange(height), np.arange(width))[..., None] // 2 + np.array([0, 10, 20])).astype(np.uint8)


@pytest.fixture
def photos(tmp_path):
    """Two images of different size and difficulty, too small for MS-SSIM."""
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), np.uint8)
    files = [tmp_path / "photos" / "ramp.png", tmp_path / "photos" / "noise.png"]
    files[0].parent.mkdir()
    for file, pixels in zip(files, (smooth(40, 50), noise), strict=True):
        Image.fromarray(pixels).save(file)
    return files
