"""Promise 6: files stay readable, tokens exactly, and so do the pixels of models of integers and of lossless files."""

from __future__ import annotations

import json

import numpy as np
import pytest
from make_golden import CASES, DATA, KNOWN, digest, pixels_digest
from PIL import Image

from vitcodec.codec import Codec
from vitcodec.lossless import LosslessCodec
from vitcodec.pretrained import registry

GOLDEN = json.loads(KNOWN.read_text())


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_file(name):
    data, known = (DATA / f"{name}.vitc").read_bytes(), GOLDEN[name]
    header = Codec.info(data).header
    codec = Codec.from_pretrained(header.model or "swin", "cpu")
    picture = codec.decode(data)
    if not header.lossless:
        assert digest(codec.decompress(data).bands) == known["tokens"]
    if "pixels" in known:
        assert pixels_digest(picture) == known["pixels"]
    else:  # of a model in floating point
        kept = np.asarray(Image.open(DATA / f"{name}.png")).astype(int)
        assert np.abs(kept - picture.rgb).max() <= 1


def test_every_case_has_its_file():
    assert GOLDEN.keys() >= CASES.keys()


def test_released_weights_never_change():
    """A better set of weights gets another name: files name the hash of theirs."""
    released = json.loads((DATA.parent / "released.json").read_text())
    for name, sha256 in released.items():
        assert registry.find(name).sha256 == sha256


def test_released_enhancements_never_change():
    """A better one gets the next number: files name that of theirs."""
    released = json.loads((DATA.parent / "released-enhancements.json").read_text())
    for name, hashes in released.items():
        assert list(registry.find(name).enhancements[: len(hashes)]) == hashes


def test_lossless_golden_file_of_version_0():
    picture = LosslessCodec().decode((DATA.parent / "lossless-0.vitc").read_bytes())
    y, x = np.mgrid[:40, :150]
    np.testing.assert_array_equal(picture.rgb, np.stack((x + y, 2 * y, 255 - x), -1))
    np.testing.assert_array_equal(picture.alpha, x * y % 256)
    assert picture.exif == b"II*\0exif"
