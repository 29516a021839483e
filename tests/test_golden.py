"""Promise 6: files stay readable, tokens and pixels exactly. Of version 0 lossless files alone."""

from __future__ import annotations

import json

import numpy as np
from make_golden import DATA, digest

from vitcodec.lossless import LosslessCodec


def test_golden_file(codec):
    data = (DATA / "golden-1.vitc").read_bytes()
    known = json.loads((DATA / "golden-1.json").read_text())
    assert digest(codec.tokens(data)) == known["tokens"]
    np.testing.assert_array_equal(codec.decode(data).rgb, np.load(DATA / "golden-1.npz")["rgb"])


def test_lossless_golden_file_of_version_0():
    picture = LosslessCodec().decode((DATA / "lossless-0.vitc").read_bytes())
    y, x = np.mgrid[:40, :150]
    np.testing.assert_array_equal(picture.rgb, np.stack((x + y, 2 * y, 255 - x), -1))
    np.testing.assert_array_equal(picture.alpha, x * y % 256)
    assert picture.exif == b"II*\0exif"
