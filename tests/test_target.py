"""--target-size, --target-bpp and --target-psnr: within 2 %, or it is said why not."""

from __future__ import annotations

import pytest
from conftest import make_rgb

from vitcodec import target
from vitcodec.bitstream.container import read_header
from vitcodec.codec import Codec
from vitcodec.errors import TargetError, UsageError
from vitcodec.metrics import psnr
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.target import Target


@pytest.fixture(scope="module")
def photo() -> Picture:
    return Picture(make_rgb(96, 64, seed=2))


@pytest.mark.parametrize(("quality", "effort"), [(25, 1), (70, 1), (40, 2)])
def test_a_size_between_two_qualities(codec: Codec, photo: Picture, quality: int, effort: int) -> None:
    size = (
        len(codec.encode(photo, quality=quality, effort=effort))
        + len(codec.encode(photo, quality=quality + 2, effort=effort))
    ) / 2
    hit = target.encode(codec, photo, Target(size=size), EncodeOptions(effort=effort))
    assert 0.98 * size <= len(hit.data) <= size and hit.note is None
    assert read_header(hit.data).quality == hit.quality and abs(hit.quality - quality) <= 2


def test_psnr(codec: Codec, photo: Picture) -> None:
    hit = target.encode(codec, photo, Target(psnr=36), EncodeOptions(effort=1))
    assert 36 <= psnr(photo.rgb, codec.decode(hit.data).rgb) <= 36 * 1.02 and hit.note is None
    assert psnr(photo.rgb, codec.decode(codec.encode(photo, quality=hit.quality - 1, effort=1)).rgb) < 36


def test_what_cannot_be_reached_is_refused(codec: Codec, photo: Picture) -> None:
    with pytest.raises(TargetError, match=r"20 bytes cannot be reached: quality 1 takes \d+, .*--strip.*; ask for"):
        target.encode(codec, Picture(photo.rgb, xmp=b"<x/>"), Target(size=20), EncodeOptions(effort=1))
    with pytest.raises(TargetError, match=r"90 dB cannot be reached: quality 100 gives \d\d\.\d\d dB; ask for no more"):
        target.encode(codec, photo, Target(psnr=90), EncodeOptions(effort=1))


def test_what_is_passed_by_far_is_said(codec: Codec, photo: Picture) -> None:
    large = target.encode(codec, photo, Target(size=1e6), EncodeOptions(effort=1))
    assert large.quality == 100 and "quality 100 takes no more" in large.note
    bad = target.encode(codec, photo, Target(psnr=3), EncodeOptions(effort=1))
    assert bad.quality == 1 and "lowest" in bad.note


@pytest.mark.parametrize(
    ("text", "size"),
    [("60000", 60000), ("60k", 60000), ("1.5M", 1_500_000), ("64KiB", 65536), ("2 kB", 2000), ("12b", 12)],
)
def test_sizes(text: str, size: int) -> None:
    assert target.parse_size(text) == size


@pytest.mark.parametrize("text", ["", "k", "-5", "6q", "0", "1e3"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(UsageError, match="60k"):
        target.parse_size(text)
