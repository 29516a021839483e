"""The table of docs/images.md, row by row: a file of each kind there and back with the shipped model."""

from __future__ import annotations

import io
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import make_rgb
from making import chunk, png_file, tiff_file
from PIL import Image
from test_colour import avif, with_property
from test_images import exif_block, matrix_profile, png_16_bit, stored

from vitcodec.codec import Codec
from vitcodec.imageio.profiles import SRGB, make_profile
from vitcodec.images import Picture, read_image, write_image

SIDE = 48
RGB = make_rgb(SIDE, SIDE, seed=4)
GRAY = RGB[..., 0]
ALPHA = np.linspace(0, 255, SIDE * SIDE).astype(np.uint8).reshape(SIDE, SIDE)
DEEP_ALPHA = np.dstack([GRAY, ALPHA]).astype(np.uint16) * 257
COLOUR = tuple(int(v) for v in RGB[7, 9])
TWELVE_BITS = np.packbits(np.unpackbits(np.repeat(GRAY.reshape(-1, 1), 2, -1), axis=-1)[:, :12].ravel()).tobytes()
LINEAR = make_profile("linear", SRGB.matrix, (1.0,))
CLAP = struct.pack(">8i", 24, 1, 16, 1, 0, 1, 0, 1)
STRIPES = np.where(np.indices((SIDE, SIDE)).sum(0)[..., None] % 3, [250, 240, 20], [10, 0, 90]).astype(np.uint8)
GAMMA = chunk(b"gAMA", struct.pack(">I", 55556))


def with_alpha(array: np.ndarray) -> Image.Image:
    image = Image.fromarray(array)
    image.putalpha(Image.fromarray(ALPHA))
    return image


def lab() -> io.BytesIO:
    flat = np.dstack([GRAY, np.full_like(GRAY, 0), np.full_like(GRAY, 0)])
    return stored(Image.fromarray(flat, "LAB"), "TIFF")


def animated() -> io.BytesIO:
    return stored(Image.fromarray(RGB), "PNG", save_all=True, append_images=[Image.new("RGB", (SIDE, SIDE), "red")])


# row -> (its file, mode of the PNG that comes back, whether there is a note)
ROWS: dict[str, tuple[Callable[[], io.BytesIO], str, bool]] = {
    "gray": (lambda: stored(Image.fromarray(GRAY)), "L", False),
    "gray + alpha": (lambda: stored(with_alpha(GRAY)), "LA", False),
    "RGB": (lambda: stored(Image.fromarray(RGB)), "RGB", False),
    "RGBA": (lambda: stored(with_alpha(RGB)), "RGBA", False),
    "palette": (lambda: stored(Image.fromarray(RGB).quantize(64)), "RGB", False),
    "palette + transparent colour": (lambda: stored(Image.fromarray(RGB).quantize(64), transparency=3), "RGBA", False),
    "1 bit": (lambda: stored(Image.fromarray(GRAY > 127)), "L", False),
    "gray or RGB + transparent colour": (lambda: stored(Image.fromarray(RGB), transparency=COLOUR), "RGBA", False),
    "16-bit gray": (lambda: stored(Image.fromarray(GRAY.astype(np.uint16) * 257)), "L", True),
    "16-bit RGB": (lambda: io.BytesIO(png_16_bit(RGB.astype(np.uint16) * 257)), "RGB", True),
    "16-bit + alpha": (lambda: io.BytesIO(png_file(DEEP_ALPHA, 4)), "LA", True),
    "9 to 15 bits (TIFF, AVIF, JPEG 2000, PNM)": (
        lambda: io.BytesIO(tiff_file(SIDE, SIDE, 12, 1, 1, TWELVE_BITS)),
        "L",
        True,
    ),
    "further channel (TIFF)": (
        lambda: io.BytesIO(tiff_file(SIDE, SIDE, 8, 2, 4, np.dstack([RGB, GRAY]).tobytes(), extra=[0])),
        "RGB",
        True,
    ),
    "CMYK": (lambda: stored(Image.fromarray(RGB).convert("CMYK"), "TIFF"), "RGB", True),
    "YCbCr": (lambda: stored(Image.fromarray(RGB), "JPEG", quality=95, subsampling=0), "RGB", False),
    "Lab": (lab, "RGB", True),
    "animation": (animated, "RGB", True),
    "ICC profile": (lambda: stored(Image.fromarray(RGB), icc_profile=matrix_profile()), "RGB", False),
    "linear light": (lambda: stored(Image.fromarray(RGB), icc_profile=LINEAR), "RGB", True),
    "gAMA and cHRM (PNG)": (lambda: io.BytesIO(png_file(RGB, 2, GAMMA)), "RGB", True),
    "CICP": (lambda: io.BytesIO(png_file(RGB, 2, chunk(b"cICP", bytes([12, 13, 0, 1])))), "RGB", False),
    "HDR": (lambda: io.BytesIO(png_file(RGB, 2, chunk(b"cICP", bytes([9, 16, 0, 1])))), "RGB", True),
    "orientation": (lambda: stored(Image.fromarray(RGB[:, :32]), "JPEG", quality=95, exif=exif_block(6)), "RGB", False),
    "clean aperture (AVIF)": (lambda: io.BytesIO(with_property(avif(RGB), b"clap", CLAP)), "RGB", False),
    "fine patterns, text": (lambda: stored(Image.fromarray(STRIPES)), "RGB", False),
}


@pytest.mark.parametrize("row", ROWS)
def test_row(codec: Codec, row: str) -> None:
    make, mode, noted = ROWS[row]
    source = read_image(make())
    decoded = codec.decode(codec.encode(source, quality=85, effort=1))
    buffer = io.BytesIO()
    write_image(decoded, buffer, "png")
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        assert image.mode == mode
    back = read_image(io.BytesIO(buffer.getvalue()))
    assert back.rgb.shape == source.rgb.shape and np.abs(back.rgb.astype(int) - source.rgb).mean() < 3
    assert (back.alpha is None) == (source.alpha is None) and (
        source.alpha is None or (back.alpha == source.alpha).all()
    )
    assert bool(source.notes) == noted
    assert back.icc == source.icc and back.cicp == source.cicp
    if row == "orientation":
        assert source.rgb.shape == (32, SIDE, 3)
    if row.startswith("clean aperture"):
        assert source.rgb.shape == (16, 24, 3)


def test_every_row_of_the_table_has_a_test() -> None:
    text = (Path(__file__).parents[1] / "docs" / "images.md").read_text("utf-8")
    table = text.split("## What happens to each kind")[1].split("\n## ")[0]
    assert re.findall(r"^\| ([^|`-][^|]*?) \|", table, re.MULTILINE)[1:] == list(ROWS)


def test_exif_and_xmp_stay_and_strip_drops_them(codec: Codec) -> None:
    exif = exif_block(1).removeprefix(b"Exif\0\0")
    source = Picture(RGB, exif=exif, xmp=b"<x:xmpmeta xmlns:x='adobe:ns:meta/'/>")
    decoded = codec.decode(codec.encode(source, quality=30, effort=1))
    assert decoded.exif == exif and decoded.xmp
    buffer = io.BytesIO()
    write_image(decoded, buffer, "png", strip=True)
    assert read_image(io.BytesIO(buffer.getvalue())).exif is None
