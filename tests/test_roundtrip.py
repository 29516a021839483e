"""The main job with the shipped model: any size, gray, alpha, tiles, reduced sizes, damage, wrong weights."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from PIL import Image

from vitcodec import codec as codec_module
from vitcodec import wavelet
from vitcodec.bitstream import container
from vitcodec.errors import FormatError, UsageError, VitcodecError, WeightsError
from vitcodec.metrics import psnr
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture

DEFAULT = EncodeOptions.effort


def make_picture(width: int, height: int, **fields: object) -> Picture:
    plain = Picture(make_rgb(width, height))
    return dataclasses.replace(plain, **fields)


@pytest.mark.parametrize(
    ("width", "height", "effort"),
    [(1, 1, DEFAULT), (1100, 1, 1), (1, 700, 1), (17, 33, 1), (32, 32, 1), (33, 97, DEFAULT)],
)
def test_any_size_comes_back(codec, width, height, effort):
    picture = make_picture(width, height)
    out = codec.decode(codec.encode(picture, quality=90, effort=effort))
    assert out.rgb.shape == (height, width, 3)
    assert out.rgb.dtype == np.uint8
    assert psnr(picture.rgb, out.rgb) > 30


def test_rate_and_quality_rise(codec, picture):
    sizes, values = [], []
    for quality in (1, 20, 40, 60, 80, 100):
        data = codec.encode(picture, quality=quality, effort=1)
        sizes.append(len(data))
        values.append(psnr(picture.rgb, codec.decode(data).rgb))
    assert sizes == sorted(set(sizes))
    assert values == sorted(set(values))
    assert values[-1] > 44


@pytest.mark.parametrize("effort", [1, DEFAULT])
def test_a_line_that_nothing_announces_is_not_lost(codec, effort):
    rgb = np.random.default_rng(0).normal((154, 52, 26), 2, (256, 128, 3))
    rgb[-3], rgb[-2], rgb[-1] = (119, 69, 56), 100, 0  # a dark edge along a flat surface, as scanned slides have
    picture = Picture(rgb.clip(0, 255).round().astype(np.uint8), None, False, None, None, None, [])
    decoded = codec.decode(codec.encode(picture, quality=40, effort=effort)).rgb
    assert decoded[-1].mean() < 20 and decoded[-8, :, 0].mean() > 140


def test_encoding_is_repeatable(codec):
    picture = make_picture(96, 64)
    assert codec.encode(picture, quality=50) == codec.encode(picture, quality=50)


def test_gray_comes_back_gray(codec):
    gray = make_picture(64, 48).rgb[..., :1].repeat(3, -1)
    out = codec.decode(codec.encode(make_picture(64, 48, rgb=gray, gray=True), quality=70, effort=1))
    assert out.gray
    assert (out.rgb[..., 0] == out.rgb[..., 1]).all() and (out.rgb[..., 0] == out.rgb[..., 2]).all()


def test_alpha_is_lossless_and_metadata_kept(codec):
    alpha = np.random.default_rng(0).integers(0, 256, (48, 64), np.uint8)
    picture = make_picture(64, 48, alpha=alpha, exif=b"II*\0exif", xmp=b"<xmp/>")
    out = codec.decode(codec.encode(picture, quality=20, effort=1))
    assert out.alpha is not None and (out.alpha == alpha).all()
    assert (out.exif, out.xmp, out.icc) == (b"II*\0exif", b"<xmp/>", None)


@pytest.fixture(scope="module")
def encoded(codec, picture):
    return codec.encode(picture, quality=80, effort=1)


@pytest.mark.parametrize("reduce", [1, 2, 3, 4])
def test_reduced_sizes(codec, picture, encoded, reduce):
    """--reduce N gives the picture halved N times, near the low band of the original, from the coarser levels' bytes
    alone.
    """
    out = codec.decode(encoded, reduce=reduce)
    n = 1 << reduce
    assert out.rgb.shape == (-(-136 // n), -(-200 // n), 3)
    bands = wavelet.forward(
        torch.from_numpy(np.pad(picture.rgb, ((0, 24), (0, 24), (0, 0)), mode="edge")).float()[None]
    )
    smaller = wavelet.inverse(bands, reduce)[0, : out.rgb.shape[0], : out.rgb.shape[1]]
    assert np.abs(out.rgb - smaller.numpy()).mean() < 4
    contents = container.unpack(encoded, reduce + 1)
    assert (codec.decode(contents, reduce=reduce).rgb == out.rgb).all()
    assert not any(level and level <= reduce for level, _ in contents.payloads)


def test_tiles_decode_on_their_own(codec):
    picture = make_picture(150, 70)
    options = EncodeOptions(quality=60, effort=2, tile=128)
    data = codec.encode(picture, options)
    contents = container.unpack(data)
    assert contents.header.grid.count == 2
    whole = codec.decompress(data).bands
    coded = codec.encode_tokens(picture, options).bands
    assert all((a == b).all() for a, b in whole.zip(coded))
    assert psnr(picture.rgb, codec.decode(data).rgb) > 30


def test_every_flipped_bit_and_every_truncation_is_an_error(codec):
    data = codec.encode(make_picture(17, 33), quality=30, effort=1)
    for position in range(len(data)):
        damaged = bytearray(data)
        damaged[position] ^= 1 << (position % 8)
        with pytest.raises(VitcodecError):
            codec.decode(bytes(damaged))
        with pytest.raises(FormatError):
            codec.decode(data[:position])


@pytest.mark.parametrize("level", [0, 4, 3, 2, 1])
def test_damaged_tokens_behind_a_right_checksum(codec, level):
    """A hostile file has right checksums: any payload gives an image or a VitcodecError."""
    rng = np.random.default_rng(level)
    contents = container.unpack(codec.encode(make_picture(64, 64), quality=50, effort=1))
    good = contents.payloads[level, 0]
    for payload in (b"", b"\xff" * 40, good[: len(good) // 2], good + b"\x01\x02\x03\x04\x05", rng.bytes(200)):
        contents.payloads[level, 0] = payload
        with contextlib.suppress(VitcodecError):
            assert codec.decode(container.pack(contents)).rgb.shape == (64, 64, 3)


def test_a_pipe_of_real_processes(tmp_path):
    """cat x.png | vitcodec encode - -o - | vitcodec decode - -o out.png"""
    rgb = make_rgb(60, 40)
    Image.fromarray(rgb).save(tmp_path / "x.png")
    vitcodec = [sys.executable, "-m", "vitcodec"]
    environment = os.environ | {"PYTHONPATH": str(Path(codec_module.__file__).parent.parent)}
    with open(tmp_path / "x.png", "rb") as source:
        first = subprocess.Popen(
            [*vitcodec, "encode", "-", "-o", "-", "-q", "90", "--effort", "1"],
            stdin=source,
            stdout=subprocess.PIPE,
            env=environment,
        )
    second = subprocess.run(
        [*vitcodec, "decode", "-", "-o", str(tmp_path / "out.png")], stdin=first.stdout, env=environment, timeout=300
    )
    assert first.wait(300) == second.returncode == 0
    assert psnr(rgb, np.asarray(Image.open(tmp_path / "out.png"))) > 35


def test_wrong_weights_are_refused(codec):
    contents = container.unpack(codec.encode(make_picture(32, 32), quality=50, effort=1))
    contents.header = dataclasses.replace(contents.header, weights=b"01234567")
    with pytest.raises(WeightsError, match="other weights"):
        codec.decode(container.pack(contents))


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_quality_out_of_range(codec, picture, quality):
    with pytest.raises(UsageError, match="1 to 100"):
        codec.encode(picture, quality=quality)
