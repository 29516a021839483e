"""Transparency: every form of it is kept, what lies under it costs nothing, and shrinking shows no fringes."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from conftest import make_rgb
from making import chunk, png_file, tiff_file
from PIL import Image
from test_images import stored

from vitcodec.bitstream.container import Contents
from vitcodec.bitstream.header import Header
from vitcodec.bitstream.metadata import ALPHA, pack_metadata, unpack_picture
from vitcodec.errors import FormatError
from vitcodec.imageio.transparency import fill_hidden, reduced
from vitcodec.images import Picture, read_image, resized
from vitcodec.tiles import Region


def read(data: bytes) -> Picture:
    return read_image(io.BytesIO(data))


# ---- tRNS


def trns(*values: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_transparent_gray_of_few_bits(bits: int) -> None:
    levels = np.arange(16 // bits) % (1 << bits)
    packed = np.packbits(np.unpackbits(levels.astype(np.uint8)[:, None], axis=1)[:, 8 - bits :]).reshape(1, -1)
    for level in range(min(1 << bits, 4)):
        picture = read(png_file(packed, 0, trns(level), depth=bits))
        assert picture.gray and picture.alpha is not None
        assert np.array_equal(picture.alpha[0] == 0, levels == level)
        assert np.array_equal(picture.rgb[0, :, 0], levels * 255 // ((1 << bits) - 1))


def test_transparent_gray_and_rgb_of_16_bits_count_every_bit() -> None:
    gray = np.array([[0, 300, 301, 65535]], np.uint16)
    picture = read(png_file(gray, 0, trns(300)))
    assert picture.alpha is not None and picture.alpha.tolist() == [[255, 0, 255, 255]] and picture.gray
    rgb = np.array([[[1000, 2000, 3000], [1001, 2000, 3000], [65535, 0, 0]]], np.uint16)
    picture = read(png_file(rgb, 2, trns(1000, 2000, 3000)))
    assert picture.alpha is not None and picture.alpha.tolist() == [[0, 255, 255]]


def test_transparent_palette() -> None:
    palette = chunk(b"PLTE", bytes(range(12)))
    picture = read(png_file(np.array([[0b00011011]], np.uint8), 3, palette, chunk(b"tRNS", bytes([0, 128])), depth=2))
    assert picture.alpha is not None and picture.alpha.tolist() == [[0, 128, 255, 255]]


def test_gray_with_alpha_of_16_bits_stays_gray() -> None:
    samples = np.array([[[1000, 65535], [257 * 7, 0], [65535, 32768]]], np.uint16)
    for data in (png_file(samples, 4), tiff_file(3, 1, 16, 1, 2, samples.tobytes(), extra=[2])):
        picture = read(data)
        assert picture.gray and picture.rgb[0, :, 0].tolist() == [4, 7, 255]
        assert picture.alpha is not None and picture.alpha.tolist() == [[255, 0, 128]]
        assert picture.notes == ["16-bit reduced to 8"]


def test_a_damaged_trns_chunk_does_not_refuse_a_picture() -> None:
    assert read(png_file(np.zeros((2, 2, 3), np.uint8), 2, chunk(b"tRNS", b"x"))).alpha is None


# ---- what is hidden


def disc(side: int = 128) -> np.ndarray:
    y, x = np.mgrid[:side, :side] - side / 2
    return np.where(x * x + y * y < (side * 0.4) ** 2, 255, 0).astype(np.uint8)


def test_hidden_colours_continue_the_visible_ones() -> None:
    alpha = disc()
    rgb = np.where(alpha[..., None] > 0, np.uint8([30, 90, 200]), np.uint8([255, 0, 255]))
    filled = fill_hidden(rgb, alpha)
    assert np.abs(filled.astype(int) - [30, 90, 200]).max() <= 1
    two = make_rgb(128, 128)
    filled = fill_hidden(two, alpha)
    assert np.array_equal(filled[alpha > 0], two[alpha > 0])
    steps = np.abs(np.diff(filled.astype(int), axis=0))[(alpha[1:] == 0) & (alpha[:-1] == 0)]
    assert steps.mean() < 3  # smooth


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (7, 3), (64, 64)])
def test_filling_and_reducing_take_any_size(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    for alpha in (np.zeros(shape, np.uint8), rng.integers(0, 2, shape, dtype=np.uint8), np.full(shape, 9, np.uint8)):
        filled = fill_hidden(rgb, alpha)
        assert filled.shape == rgb.shape and np.array_equal(filled[alpha > 0], rgb[alpha > 0])
        small, thin = reduced(filled, alpha, 2)
        assert small.shape[:2] == thin.shape == (-(-shape[0] // 4), -(-shape[1] // 4))
    assert len(np.unique(fill_hidden(rgb, np.zeros(shape, np.uint8)))) == 1


def test_gray_stays_gray_where_it_is_filled() -> None:
    gray = np.repeat(make_rgb(64, 64)[..., :1], 3, -1)
    filled = fill_hidden(gray, disc(64))
    assert (filled == filled[..., :1]).all()


def test_reducing_shows_no_fringes() -> None:
    alpha = disc()
    rgb = np.where(alpha[..., None] > 0, np.uint8(255), np.uint8([255, 0, 255]))
    small, thin = reduced(rgb, alpha, 2)
    assert (small[thin > 0] == 255).all()
    assert np.array_equal(thin, np.asarray(Image.fromarray(alpha).reduce(4)))


def test_resizing_shows_no_fringes() -> None:
    alpha = disc()
    rgb = np.where(alpha[..., None] > 0, np.uint8(255), np.uint8([255, 0, 255]))
    small = resized(Picture(rgb, alpha), 50, 50)
    assert small.alpha is not None and (small.rgb[small.alpha > 0] >= 254).all()
    assert small.alpha.max() == 255 and small.alpha[0, 0] == 0 and resized(small, 128, 128).alpha.shape == (128, 128)


# ---- alpha in a .vitc file


def through_a_file(alpha: np.ndarray, reduce: int = 0) -> tuple[np.ndarray, bytes]:
    height, width = alpha.shape
    picture = Picture(np.zeros((height, width, 3), np.uint8), alpha)
    packed = pack_metadata(picture, None)
    contents = Contents(Header(width, height, 50, False, "x", bytes(8), 128), packed)
    back = unpack_picture(contents, picture.rgb, Region(0, 0, width, height), reduce).alpha
    assert back is not None
    return back, packed[ALPHA]


@pytest.mark.parametrize("kind", ["disc", "soft", "noise", "empty"])
def test_alpha_is_stored_as_the_smaller_of_two(kind: str) -> None:
    alpha = {
        "disc": disc(),
        "soft": np.asarray(Image.fromarray(disc()).resize((300, 200))),
        "noise": np.random.default_rng(0).integers(0, 256, (40, 30), dtype=np.uint8),
        "empty": np.zeros((1, 1), np.uint8),
    }[kind]
    back, packed = through_a_file(alpha)
    assert np.array_equal(back, alpha)
    assert len(packed) <= len(stored(Image.fromarray(alpha), "PNG", optimize=True).getvalue())
    assert packed[:4] in (b"\x89PNG", b"RIFF")


def test_alpha_is_reduced() -> None:
    assert np.array_equal(through_a_file(disc(), 2)[0], np.asarray(Image.fromarray(disc()).reduce(4)))


def test_damaged_alpha_gives_one_error() -> None:
    rng = np.random.default_rng(0)
    header = Header(30, 40, 50, False, "x", bytes(8), 128)
    whole = Region(0, 0, 30, 40)
    rgb = np.zeros((40, 30, 3), np.uint8)
    image = Image.fromarray(rng.integers(0, 256, (40, 30), dtype=np.uint8))
    files = [stored(image, "PNG"), stored(image.convert("RGB"), "WEBP", lossless=True)]
    wrong = [stored(image.resize((5, 5)), "PNG"), stored(image, "GIF")]
    image.putalpha(7)
    wrong.append(stored(image.convert("RGBA"), "WEBP"))
    for file in wrong:
        with pytest.raises(FormatError):
            unpack_picture(Contents(header, {ALPHA: file.getvalue()}), rgb, whole, 0)
    for file in files:
        for _ in range(60):
            data = bytearray(file.getvalue())
            data[rng.integers(len(data))] ^= int(rng.integers(1, 256))
            try:
                unpack_picture(Contents(header, {ALPHA: bytes(data[: rng.integers(1, len(data))])}), rgb, whole, 0)
            except FormatError:
                continue
