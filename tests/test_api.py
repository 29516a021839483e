"""The conveniences for one file, with the real model."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import vitcodec
from vitcodec.cli.encode import DEFAULT_EFFORT, DEFAULT_QUALITY
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


def test_the_command_line_has_the_same_defaults():
    from vitcodec import codec, rdo

    assert DEFAULT_QUALITY == codec.DEFAULT_QUALITY
    assert DEFAULT_EFFORT == rdo.DEFAULT_EFFORT
