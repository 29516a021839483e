"""Promise 6: files stay readable. Tokens exactly; pixels exactly in format 1, to a level in format 0."""

from __future__ import annotations

import json

import numpy as np
import pytest
from make_golden import DATA, digest

from vitcodec.bitstream import container


@pytest.mark.parametrize(("version", "fixture", "tolerance"), [(0, "floating", 1), (1, "codec", 0)])
def test_golden_file(request, version, fixture, tolerance):
    codec = request.getfixturevalue(fixture)
    data = (DATA / f"golden-{version}.vitc").read_bytes()
    assert container.unpack(data).header.version == version
    known = json.loads((DATA / f"golden-{version}.json").read_text())
    assert digest(codec.tokens(data)) == known["tokens"]
    rgb = codec.decode(data).rgb
    assert rgb.shape == (known["height"], known["width"], 3)
    expected = np.load(DATA / f"golden-{version}.npz")["rgb"]
    assert np.abs(rgb.astype(int) - expected).max() <= tolerance
