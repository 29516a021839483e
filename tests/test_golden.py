"""Promise 6: files stay readable. Tokens exactly, pixels to a level."""

from __future__ import annotations

import json

import numpy as np
import pytest
from make_golden import DATA, digest


@pytest.mark.parametrize("version", ["draft", "0"])  # draft: what early versions wrote as 0
def test_golden_file(codec, version):
    data = (DATA / f"golden-{version}.vitc").read_bytes()
    known = json.loads((DATA / f"golden-{version}.json").read_text())
    assert digest(codec.tokens(data)) == known["tokens"]
    rgb = codec.decode(data).rgb
    assert rgb.shape == (known["height"], known["width"], 3)
    expected = np.load(DATA / f"golden-{version}.npz")["rgb"]
    assert np.abs(rgb.astype(int) - expected).max() <= 1
