"""The conveniences for one file, with the real model."""

from __future__ import annotations

import inspect
import typing

import numpy as np
import pytest
from PIL import Image

import vitcodec
from vitcodec.cli import compare, decode, encode, eval
from vitcodec.errors import OutputError, UsageError, WeightsError


def test_one_file_there_and_back(tmp_path):
    y, x = np.mgrid[:40, :56]
    rgb = np.stack((4 * x, 6 * y, 255 - 4 * x), -1).astype(np.uint8)
    source, middle, target = (tmp_path / name for name in ("a.png", "a.vitc", "b.png"))
    Image.fromarray(rgb).save(source)
    vitcodec.encode(source, middle, quality=90, device="cpu")
    vitcodec.decode(str(middle), str(target), device="cpu")
    back = vitcodec.read_image(target).rgb
    assert back.shape == rgb.shape and np.abs(back.astype(int) - rgb).mean() < 4
    with pytest.raises(OutputError, match="exists already"):
        vitcodec.encode(source, middle, device="cpu")
    with pytest.raises(OutputError, match="exists already"):
        vitcodec.decode(middle, target, device="cpu")
    with pytest.raises(UsageError, match="suffix"):
        vitcodec.decode(middle, tmp_path / "b.xyz", device="cpu")
    with pytest.raises(WeightsError, match="unknown model 'nope'"):
        vitcodec.encode(source, tmp_path / "c.vitc", model="nope")


def test_options_object_and_keywords_are_one(tmp_path):
    source = tmp_path / "a.png"
    Image.fromarray(np.zeros((32, 32, 3), np.uint8)).save(source)
    one, other = tmp_path / "a.vitc", tmp_path / "b.vitc"
    vitcodec.encode(source, one, vitcodec.EncodeOptions(quality=20, effort=2), device="cpu", effort=1)
    vitcodec.encode(source, other, quality=20, effort=1, device="cpu")
    assert one.read_bytes() == other.read_bytes()
    with pytest.raises(TypeError, match="speed"):
        vitcodec.encode(source, tmp_path / "c.vitc", speed=3)


def test_the_command_line_has_the_same_defaults():
    for command in (encode.encode_command, eval.eval_command, compare.compare_command):
        assert inspect.signature(command).parameters["effort"].default == vitcodec.EncodeOptions().effort
    defaults = inspect.signature(encode.encode_command).parameters
    assert defaults["tile"].default == vitcodec.EncodeOptions().tile
    assert defaults["keep_tokens"].default == vitcodec.EncodeOptions().keep_tokens
    assert inspect.signature(decode.decode_command).parameters["reduce"].default == vitcodec.DecodeOptions().reduce
    _, option = typing.get_args(encode.options.Quality)
    assert option.help.endswith(f"[default: {vitcodec.EncodeOptions().quality}]")
