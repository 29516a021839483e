"""Tiles leave no seams, regions and reductions are parts of the whole, and only what is needed is read."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from conftest import make_rgb

from vitcodec import wavelet
from vitcodec.analysis import pixels
from vitcodec.bitstream import container, header, salvage
from vitcodec.codec import Codec
from vitcodec.errors import LimitError, UsageError
from vitcodec.metrics import psnr
from vitcodec.options import DecodeOptions
from vitcodec.picture import Picture
from vitcodec.subbands import Subbands
from vitcodec.tiles import Area, Region, TileGrid, assemble, crop

WIDTH, HEIGHT = 330, 270  # 3 x 3 tiles of 128
MODEL = "swin-ms-ssim"  # in floating point, with a halo of a whole tile


@pytest.fixture(scope="module")
def codec() -> Codec:
    return Codec.from_pretrained(MODEL, "cpu")


@pytest.fixture(scope="module")
def tiny() -> Codec:
    """A codec with small tiles."""
    codec = Codec.from_pretrained(MODEL, "cpu")
    codec.autoencoder.tile = 128
    return codec


@pytest.fixture(scope="module")
def rgb() -> np.ndarray:
    return make_rgb(WIDTH, HEIGHT, seed=7)


@pytest.fixture(scope="module")
def data(tiny: Codec, rgb: np.ndarray) -> bytes:
    return tiny.encode(Picture(rgb, alpha=rgb[..., 0].copy()), quality=50, effort=1)


@pytest.fixture(scope="module")
def whole(tiny: Codec, data: bytes) -> list[np.ndarray]:
    """The picture at every reduction."""
    return [tiny.decode(data, reduce=reduce).rgb for reduce in range(4)]


@pytest.fixture(scope="module")
def fine(tiny: Codec, rgb: np.ndarray) -> tuple[bytes, np.ndarray]:
    """A file without alpha, and its picture."""
    data = tiny.encode(Picture(rgb), quality=60, effort=1)
    return data, tiny.decode(data).rgb


# ---- geometry


def test_blocks_cover_an_area_once() -> None:
    for area in (Area(0, 0, 9, 17), Area(3, 5, 13, 6), Area(8, 8, 8, 8)):
        seen = np.zeros((40, 40), int)
        for block in area.blocks(8):
            assert block.h > 0 and block.w > 0 and block.y // 8 == (block.y + block.h - 1) // 8
            seen[block.y : block.y + block.h, block.x : block.x + block.w] += 1
        assert (
            seen[area.y : area.y + area.h, area.x : area.x + area.w].min() == seen.max() == 1
            and seen.sum() == area.h * area.w
        )


def test_tiles_are_those_of_the_specification() -> None:
    grid = TileGrid(WIDTH, HEIGHT, 128)
    areas = [grid.area(n) for n in range(grid.count)]
    assert areas[0] == (0, 0, 8, 8) and areas[2] == (0, 16, 8, 6) and areas[8] == (16, 16, 2, 6)
    assert grid.under(Area(7, 7, 2, 2)) == [0, 1, 3, 4] and grid.under(Area(0, 0, 8, 8)) == [0]
    assert grid.touched(Region(15, 16, 2, 1)) == (1, 0, 1, 2)


def test_pixels_beyond_the_end_repeat_the_last() -> None:
    rgb = make_rgb(20, 40)
    part = pixels(rgb, Area(2, 0, 2, 2))
    assert part.shape == (32, 32, 3) and (part[:8, :20] == rgb[32:]).all() and (part[8:] == part[7]).all()
    assert (part[:, 20:] == part[:, 19:20]).all()


def test_what_is_cut_out_is_put_together_again() -> None:
    grid = TileGrid(WIDTH, HEIGHT, 128)
    whole = wavelet.forward(torch.from_numpy(pixels(make_rgb(WIDTH, HEIGHT), grid.whole))[None].float())
    parts = {n: crop(whole, grid.area(n)) for n in range(grid.count)}
    wanted = Area(3, 5, 12, 14)
    assert all(torch.equal(a, b) for a, b in assemble(parts, grid, wanted).zip(crop(whole, wanted)))


# ---- no seam


def test_a_tiled_picture_equals_the_whole(
    tiny: Codec, codec: Codec, data: bytes, rgb: np.ndarray, whole: list[np.ndarray]
) -> None:
    """Synthesis in tiles and at once differ by a level at most; analysis in tiles gives latents that mean the same
    picture to a level.
    """
    untiled = codec.decode(data).rgb
    assert np.abs(whole[0].astype(int) - untiled).max() <= 1
    grid = container.read_header(data).grid
    small, large = tiny._coder.encoder.analysis, codec._coder.encoder.analysis
    parts = {n: small.latents(rgb, grid.area(n), grid.whole, 50) for n in range(grid.count)}
    tiled, at_once = assemble(parts, grid, grid.whole), large.latents(rgb, grid.whole, grid.whole, 50)
    transform = codec._coder.decoder.transform

    def picture(latents: Subbands) -> torch.Tensor:
        with torch.no_grad():
            return transform.autoencoder.decode(transform.tensors(latents), transform._steps(50))

    one, other = (picture(latents).round().clamp(0, 255) for latents in (tiled, at_once))
    assert (one - other).abs().max() <= 1


def test_without_a_halo_there_would_be_a_seam(
    tiny: Codec, data: bytes, whole: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiny.autoencoder, "halo", 0)
    assert np.abs(tiny.decode(data).rgb.astype(int) - whole[0]).max() > 1


def test_tiles_in_parallel_give_the_same(tiny: Codec, data: bytes, rgb: np.ndarray, whole: list[np.ndarray]) -> None:
    before, threads = torch.get_num_threads(), 3
    torch.set_num_threads(threads)
    try:
        tokens = tiny.decompress(data).bands
        assert np.array_equal(tokens.low, tiny.encode_tokens(Picture(rgb), quality=50, effort=1).bands.low)
        assert np.abs(tiny.decode(data).rgb.astype(int) - whole[0]).max() <= 1
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)


# ---- regions and reductions


@pytest.mark.parametrize("reduce", [0, 3])
@pytest.mark.parametrize("region", [(130, 70, 40, 50), (WIDTH - 1, HEIGHT - 1, 1, 1), (250, 150, 999, 999)])
def test_a_region_is_a_part_of_the_whole(
    tiny: Codec, data: bytes, whole: list[np.ndarray], region: tuple[int, ...], reduce: int
) -> None:
    part = tiny.decode(data, reduce=reduce, region=Region(*region))
    shown = Region(*region).clipped(WIDTH, HEIGHT).reduced(reduce)
    expected = whole[reduce][shown.y : shown.y + shown.height, shown.x : shown.x + shown.width]
    assert part.rgb.shape == expected.shape == (*part.alpha.shape, 3)
    assert np.abs(part.rgb.astype(int) - expected).max() <= 1


def test_alpha_of_a_region(tiny: Codec, data: bytes, rgb: np.ndarray) -> None:
    assert (tiny.decode(data, reduce=0, region=Region(10, 20, 30, 40)).alpha == rgb[20:60, 10:40, 0]).all()


class Counting(io.BytesIO):
    total = 0

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self.total += len(data)
        return data


@pytest.mark.parametrize(("name", "size"), [("vit", (560, 96)), ("beit", (96, 560)), ("cnn", (300, 300))])
def test_no_family_leaves_seams(name: str, size: tuple[int, int]) -> None:
    codec, picture = Codec.from_pretrained(name, "cpu"), Picture(make_rgb(*size, seed=3))
    data = codec.encode(picture, quality=50, effort=1)
    untiled = codec.decode(data).rgb.astype(int)
    codec.autoencoder.tile = 256
    assert np.abs(codec.decode(data).rgb - untiled).max() <= 1


def test_a_region_reads_only_the_tiles_it_needs(tiny: Codec, rgb: np.ndarray) -> None:
    data = tiny.encode(
        Picture(np.tile(rgb[:128, :128], (3, 4, 1))), quality=80, effort=1, coding="tokens"
    )  # 4 x 3 tiles
    stream = Counting(data)
    contents = tiny.read(stream, DecodeOptions(region=Region(0, 0, 100, 100)))
    assert {tile for _, tile in contents.payloads} == {0, 1, 4, 5}
    wanted = sum(len(payload) for payload in contents.payloads.values())
    assert wanted < stream.total < wanted + 600 < len(data) / 2
    # what lies elsewhere may be damaged
    layout = [c for c in container.describe(data).chunks if c.type == "TOKA"]
    broken = bytearray(data)
    broken[layout[-1].offset + 9] ^= 1
    assert (
        tiny.decode(bytes(broken), reduce=0, region=Region(0, 0, 100, 100)).rgb
        == tiny.decode(data, reduce=0, region=Region(0, 0, 100, 100)).rgb
    ).all()
    coarse = Counting(data)
    tiny.read(coarse, DecodeOptions(reduce=3))
    assert coarse.total < len(data) / 2


def test_regions_outside_are_refused(tiny: Codec, data: bytes) -> None:
    with pytest.raises(UsageError, match="outside"):
        tiny.decode(data, reduce=0, region=Region(WIDTH, 0, 5, 5))


# ---- salvage


def test_half_a_file_gives_the_whole_picture_in_less_detail(
    tiny: Codec, codec: Codec, fine: tuple[bytes, np.ndarray], rgb: np.ndarray
) -> None:
    untiled = codec.encode(Picture(rgb), quality=60, effort=1)
    for model, cut, good in ((tiny, *fine), (codec, untiled, codec.decode(untiled).rgb)):
        found = salvage.unpack(cut[: len(cut) // 2])
        assert found.damage and not any(level in (0, 4) for level, _ in found.contents.erased)
        out = model.decode(found.contents).rgb
        assert out.shape == rgb.shape and 22 < psnr(rgb, out) < psnr(rgb, good)


@pytest.mark.parametrize("level", [0, 4])
def test_a_lost_tile_stays_local(tiny: Codec, fine: tuple[bytes, np.ndarray], level: int) -> None:
    data, good = fine
    lost = next(
        c
        for n, c in enumerate(c for c in container.describe(data).chunks if c.type == container.TOKENS[level])
        if n == 8
    )
    broken = bytearray(data)
    broken[lost.offset + 8] ^= 1
    found = salvage.unpack(bytes(broken))
    assert found.contents.erased == {(level, 8)}
    out = tiny.decode(found.contents).rgb.astype(int)
    assert np.abs(out - good)[256:, 256:].max() > 1
    assert np.abs(out - good)[:128, :128].max() == 0
    if level == 0:  # the colour of what is around it
        assert np.abs(out[256:, 256:].mean((0, 1)) - good[128:].mean((0, 1))).max() < 60
        assert found.contents.payloads.keys() & {(1, 8)}  # there, and of no use without the coarser ones


def test_the_limits_of_a_tile_are_checked_before_encoding(codec: Codec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(header, "MAX_TILES", 1)
    with pytest.raises(LimitError):
        codec.encode(Picture(np.zeros((8, 1100, 3), np.uint8)), quality=50)
