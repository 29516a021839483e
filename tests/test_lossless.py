"""Lossless files: exact, in tiles, without a model; and chosen where they are smaller than tokens."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from conftest import make_rgb
from PIL import Image, ImageDraw
from storing import call, install, lines, one_line

from vitcodec.bitstream import container, salvage
from vitcodec.bitstream.container import PIXELS
from vitcodec.errors import FormatError, LimitError, UsageError
from vitcodec.lossless import LosslessCodec, may_be_smaller, pack
from vitcodec.metrics import psnr
from vitcodec.options import DecodeOptions, EncodeOptions
from vitcodec.picture import Picture
from vitcodec.tiles import Region


def screen(width: int = 300, height: int = 200) -> np.ndarray:
    """A window with text, (height, width, 3) uint8."""
    image = Image.new("RGB", (width, height), (240, 240, 244))
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, 0, width, 18), fill=(30, 60, 120))
    for row in range(24, height - 12, 14):
        draw.text((8, row), "File Edit View: the quick brown fox, 0123456789"[row % 7 :], fill=(20, 20, 20))
    return np.asarray(image)


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (300, 1), (257, 129), (300, 200)])
@pytest.mark.parametrize("tile", [None, 128])
def test_every_pixel_comes_back(size, tile):
    rgb = make_rgb(*size)
    data = LosslessCodec().encode(Picture(rgb), tile=tile)
    assert np.array_equal(LosslessCodec().decode(data).rgb, rgb)
    header = container.read_header(data)
    assert header.lossless and header.model == "" and (header.width, header.height) == size


def test_gray_alpha_and_metadata_come_back():
    gray = np.repeat(make_rgb(150, 140)[..., :1], 3, -1)
    alpha = make_rgb(150, 140, 1)[..., 0]
    alpha[:20] = 0
    picture = Picture(gray, alpha, True, None, b"II*\0exif", b"<xmp/>")
    back = LosslessCodec().decode(LosslessCodec().encode(picture, tile=128))
    assert back.gray and back.exif == picture.exif and back.xmp == picture.xmp
    assert np.array_equal(back.rgb, gray)  # also where it is transparent
    assert np.array_equal(back.alpha, alpha)


@pytest.mark.parametrize("region", [(0, 0, 10, 10), (100, 50, 180, 120), (250, 190, 500, 500), (130, 130, 1, 1)])
def test_a_region_is_exact_and_reads_its_tiles_alone(region):
    rgb = make_rgb(400, 300)
    data = LosslessCodec().encode(Picture(rgb), tile=128)
    x, y, w, h = region
    contents = LosslessCodec().read(data, DecodeOptions(region=Region(*region)))
    assert len(contents.payloads) < container.read_header(data).grid.count
    back = LosslessCodec().decode(contents, region=Region(*region))
    assert np.array_equal(back.rgb, rgb[y : y + h, x : x + w])


@pytest.mark.parametrize("reduce", [1, 2, 3, 4])
@pytest.mark.parametrize("tile", [None, 128])
def test_reduced_by_averages(reduce, tile):
    rgb = make_rgb(301, 203)
    data = LosslessCodec().encode(Picture(rgb), tile=tile)
    expected = np.asarray(Image.fromarray(rgb).reduce(1 << reduce)).astype(int)
    whole = LosslessCodec().decode(data, reduce=reduce).rgb
    assert np.abs(whole - expected).max() <= 1
    n = 1 << reduce
    part = LosslessCodec().decode(data, reduce=reduce, region=Region(130, 60, 100, 90)).rgb
    assert np.array_equal(part, whole[60 // n : -(-150 // n), 130 // n : -(-230 // n)])


def test_damage_is_seen_and_salvage_leaves_gray_tiles():
    rgb = make_rgb(300, 140)
    data = bytearray(LosslessCodec().encode(Picture(rgb), tile=128))
    chunk = [c for c in container.describe(bytes(data)).chunks if c.type == "PIXL"][1]
    data[chunk.offset + 30] ^= 1
    with pytest.raises(FormatError, match="checksum"):
        LosslessCodec().decode(bytes(data))
    found = salvage.unpack(bytes(data))
    assert found.contents.erased == {(PIXELS, 1)} and "pixels in 1 of" in found.damage[0]
    back = LosslessCodec().decode(found.contents).rgb
    assert np.array_equal(back[:128, :128], rgb[:128, :128]) and (back[:128, 128:256] == 128).all()


def test_info_sees_that_a_file_is_cut(tmp_path):
    data = LosslessCodec().encode(Picture(make_rgb(300, 140), None, False, None, b"II*\0exif"), tile=128)
    starts = [c.offset for c in container.describe(data).chunks]
    assert salvage.is_whole(data)
    for end in (starts[2], starts[3] - 1, starts[-1], len(data) - 1):
        assert not salvage.is_whole(data[:end])
    (tmp_path / "cut.vitc").write_bytes(data[: len(data) // 2])
    result = call("info", tmp_path / "cut.vitc")
    assert result.exit_code == 0 and "cut off" in result.stdout
    assert lines(call("info", tmp_path / "cut.vitc", "--json"))[0]["whole"] is False


@pytest.mark.parametrize("payload", [b"", b"\0" * 50, b"RIFF\x20\0\0\0WEBPVP8L" + bytes(20)])
def test_any_payload_gives_an_error_of_one_line(payload):
    contents = pack(Picture(make_rgb(20, 20)))
    contents.payloads[PIXELS, 0] = payload
    with pytest.raises(FormatError, match="pixels are damaged"):
        LosslessCodec().decode(container.pack(contents))


def test_a_tile_of_another_size_is_refused():
    contents, other = pack(Picture(make_rgb(20, 20))), pack(Picture(make_rgb(21, 20)))
    contents.payloads[PIXELS, 0] = other.payloads[PIXELS, 0]
    with pytest.raises(FormatError, match="21x20"):
        LosslessCodec().decode(container.pack(contents))


def test_limits_hold():
    with pytest.raises(LimitError):
        LosslessCodec().encode(Picture(np.zeros((1, 70_000, 3), np.uint8)))


def test_photographs_are_told_from_screens_at_once():
    photograph = np.random.default_rng(0).normal(128, 20, (256, 256, 3)).clip(0, 255).astype(np.uint8)
    assert not may_be_smaller(photograph, 256 * 256 // 8)
    assert may_be_smaller(screen(), 300 * 200 // 8)


def test_options_that_contradict_are_refused():
    with pytest.raises(UsageError, match="no tokens to erase"):
        EncodeOptions(coding="lossless", keep_tokens=0.5)
    with pytest.raises(UsageError, match="unknown coding"):
        EncodeOptions(coding="both")


# with the model


def test_a_screen_is_never_larger_than_lossless(codec):
    picture = Picture(screen())
    stored = LosslessCodec().encode(picture)
    for quality in (60, 100):
        data = codec.encode(picture, quality=quality)
        assert len(data) <= len(stored)
    assert np.array_equal(codec.decode(data).rgb, picture.rgb)  # 100: as tokens it takes several times as much
    assert codec.info(data).header.lossless


def test_tokens_are_had_where_they_are_asked_for(codec):
    picture = Picture(screen(64, 64))
    data = codec.encode(picture, quality=100, effort=1, coding="tokens")
    assert not codec.info(data).header.lossless
    assert codec.decompress(data).bands.grid == (4, 4)
    assert psnr(picture.rgb, codec.decode(data).rgb) > 40
    with pytest.raises(UsageError, match="coding='tokens'"):
        codec.decompress(codec.encode(picture, coding="lossless"))


def test_a_photograph_has_tokens(codec):
    assert not codec.info(codec.encode(Picture(make_rgb(64, 64)), quality=90, effort=1)).header.lossless


# the command line


@pytest.fixture
def folder(tmp_path, monkeypatch):
    install(monkeypatch)
    monkeypatch.chdir(tmp_path)
    Image.fromarray(screen()).save("screen.png")
    return tmp_path


def test_encode_lossless_and_everything_that_reads_it(folder):
    result = call("encode", "screen.png", "--lossless", "--tile", 128, "--json")
    record, _ = lines(result)
    assert record["lossless"] and record["quality"] is None and record["model"] is None
    assert "lossless" in call("info", "screen.vitc").stdout
    assert lines(call("info", "screen.vitc", "--json", "-v"))[0]["lossless"]
    assert call("decode", "screen.vitc", "-o", "back.png").exit_code == 0
    assert np.array_equal(np.asarray(Image.open("back.png")), screen())
    assert call("decode", "screen.vitc", "-o", "part.png", "--region", "100,90,60,50").exit_code == 0
    assert np.array_equal(np.asarray(Image.open("part.png")), screen()[90:140, 100:160])
    assert call("decode", "screen.vitc", "-o", "half.png", "--reduce", 1).exit_code == 0
    assert Image.open("half.png").size == (150, 100)
    assert call("decode", "screen.vitc", "-o", "fit.png", "--fit", "75x75").exit_code == 0
    assert Image.open("fit.png").size == (75, 50)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lossless", "--tokens"], "--lossless and --tokens"),
        (["--lossless", "-q", "40"], "--quality and --lossless"),
        (["--lossless", "--target-size", "9k"], "--target-size and --lossless"),
        (["--lossless", "--keep-tokens", "0.5"], "no tokens to erase"),
    ],
)
def test_contradictions_are_refused_before_any_work(folder, arguments, message):
    one_line(call("encode", "screen.png", *arguments), 2, message)


def test_no_torch_is_loaded_for_lossless_files(tmp_path):
    Image.fromarray(screen(40, 40)).save(tmp_path / "a.png")
    program = (
        "import sys; from vitcodec.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    for arguments in (["encode", "a.png", "--lossless"], ["decode", "a.vitc", "-o", "b.png"]):
        subprocess.run([sys.executable, "-c", program, *arguments], cwd=tmp_path, check=True)
    with Image.open(tmp_path / "b.png") as image:
        assert np.array_equal(np.asarray(image), screen(40, 40))
