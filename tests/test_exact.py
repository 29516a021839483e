"""Promise 1: tokens are exact everywhere. The integer networks give the same numbers however they are summed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from vitcodec import layers
from vitcodec.bitstream import container
from vitcodec.codec import Codec
from vitcodec.engines.reference import ReferenceEngine
from vitcodec.pipeline.loading import entropy_model
from vitcodec.pretrained.loading import load_floats
from vitcodec.subbands import Subbands


@pytest.fixture(scope="session")
def codec(floating):
    return floating


def same(a: Subbands, b: Subbands) -> bool:
    return all(np.array_equal(x, y) for x, y in a.zip(b))


@pytest.fixture(scope="module")
def encoded(codec: Codec, picture) -> tuple[bytes, Subbands]:
    """A file, and the tokens that the encoder itself coded."""
    data = codec.encode(picture, quality=45, effort=1)
    return data, codec.encode_tokens(picture, quality=45, effort=1).bands


def test_decoder_reads_what_the_encoder_coded(codec, encoded):
    data, coded = encoded
    assert same(codec.decompress(data).bands, coded)
    assert any((d != 0).any() for d in coded.details)


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads(codec, encoded, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert same(codec.decompress(encoded[0]).bands, encoded[1])
    finally:
        torch.set_num_threads(before)


def test_any_number_of_rows_at_once(codec, encoded, monkeypatch):
    """Networks that look at each site by itself take some rows at a time; the pixels are the same but for rounding."""
    pictures = []
    for sites in (1, 300, 10**9):
        monkeypatch.setattr(layers, "SITES_AT_ONCE", sites)
        assert same(codec.decompress(encoded[0]).bands, encoded[1])
        pictures.append(codec.decode(encoded[0]).rgb.astype(int))
    assert max(np.abs(p - pictures[-1]).max() for p in pictures) <= 1


def test_numpy_int64_reference(codec, encoded):
    """Plain int64, where nothing can be rounded."""
    model = load_floats(codec.config)[1]
    reference = entropy_model(model, ReferenceEngine(model.networks()))
    contents = container.unpack(encoded[0])
    grid = contents.header.grid
    payloads = {level: data for (level, _), data in contents.payloads.items()}
    assert same(reference.decode(payloads, reference.point(45), grid.whole.h, grid.whole.w), encoded[1])


def test_fresh_process(codec, encoded, tmp_path):
    data, coded = encoded
    (tmp_path / "a.vitc").write_bytes(data)
    program = (
        "import sys, torch; from vitcodec.codec import Codec; torch.set_num_threads(1);"
        "t = Codec.from_pretrained('cnn', 'cpu').decompress(sys.argv[1]).bands; "
        "import numpy as np; np.savez(sys.argv[2], *t)"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "a.vitc", tmp_path / "t.npz"], check=True, timeout=120)
    low, *details = np.load(tmp_path / "t.npz").values()
    assert same(Subbands(low, tuple(details)), coded)
