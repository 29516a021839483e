"""The light installation: models of integers on CPUs without torch.

`make light` runs this in an environment of its own. So do the other tests, so that both get the same numbers: those of
data/small-1.json.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import make_rgb
from PIL import Image

from vitcodec.codec import Codec
from vitcodec.picture import Picture
from vitcodec.subbands import CODING_ORDER, Subbands

DATA = Path(__file__).parent / "data"
ARCHIVE, FILE, KNOWN = DATA / "small-1.tar.xz", DATA / "small-1.vitc", DATA / "small-1.json"
LIGHT = os.environ.get("VITCODEC_LIGHT") == "1"
without_torch = pytest.mark.skipif(not LIGHT, reason="for the light installation: make light")


def digest(tokens: Subbands) -> str:
    """SHA-256 of all tokens as little-endian int32, the low band first, then levels 4 to 1, channels last."""
    return hashlib.sha256(b"".join(tokens[level].astype("<i4").tobytes() for level in CODING_ORDER)).hexdigest()


def pixel_digest(codec: Codec, data: bytes) -> str:
    return hashlib.sha256(codec.decode(data).rgb.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> str:
    folder = tmp_path_factory.mktemp("models")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return f"local-dir:{folder / 'small'}"


def call(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("VITCODEC_")}
    command = [sys.executable, "-m", "vitcodec", *arguments]
    if not LIGHT:
        environment["PYTHONPATH"] = str(Path(__file__).parent.parent)
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, env=environment, timeout=120)


@without_torch
def test_nothing_heavy_is_there():
    assert [name for name in ("torch", "scipy", "timm", "huggingface_hub") if importlib.util.find_spec(name)] == []


@pytest.mark.parametrize("threads", [1, 2])
def test_tokens_and_pixels_are_those_that_are_known(model, threads):
    codec, data, known = Codec.from_pretrained(model, "cpu", threads), FILE.read_bytes(), json.loads(KNOWN.read_text())
    assert codec.engine == "onnxruntime"
    assert digest(codec.decompress(data).bands) == known["tokens"]
    assert pixel_digest(codec, data) == known["pixels"]


@pytest.mark.parametrize("effort", [1, 3])
def test_what_was_encoded_comes_back(model, effort):
    codec, picture = Codec.from_pretrained(model, "cpu", 1), Picture(make_rgb(70, 50))
    options = {"quality": 70, "effort": effort, "coding": "tokens"}
    data = codec.encode(picture, **options)
    for a, b in codec.encode_tokens(picture, **options).bands.zip(codec.decompress(data).bands):
        np.testing.assert_array_equal(a, b)
    assert np.corrcoef(codec.decode(data).rgb.ravel(), picture.rgb.ravel())[0, 1] > 0.9


def test_the_command_line(model, tmp_path):
    Image.fromarray(make_rgb(70, 50)).save(tmp_path / "a.png")
    result = call(tmp_path, "encode", "a.png", "-m", model, "--tokens", "-v", "--device", "cpu")
    assert result.returncode == 0 and "networks run on onnxruntime\n" in result.stderr, result.stderr
    assert "model small" in call(tmp_path, "info", "a.vitc").stdout
    result = call(tmp_path, "decode", "a.vitc", "-o", "b.png", "-m", model)
    assert result.returncode == 0, result.stderr
    decoded = Codec.from_pretrained(model, "cpu").decode((tmp_path / "a.vitc").read_bytes()).rgb
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "b.png")), decoded)


@without_torch
@pytest.mark.parametrize(
    "arguments, said",
    [
        (["-m", "vit"], "model 'vit' computes in floating point on PyTorch, which is not installed; pip install torch"),
        (["-m", "MODEL", "--effort", "9"], "effort 9 needs PyTorch"),
        (["-m", "MODEL", "--device", "cuda"], "device cuda needs PyTorch, which is not installed; pip install torch"),
        (["-m", "hf-hub:a/b"], "pip install huggingface-hub"),
    ],
)
def test_what_is_left_out_is_named(model, tmp_path, arguments, said):
    Image.fromarray(make_rgb(70, 50)).save(tmp_path / "a.png")
    result = call(tmp_path, "encode", "a.png", *(model if a == "MODEL" else a for a in arguments))
    assert result.returncode == 1 and said in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert not (tmp_path / "a.vitc").exists()


def test_lossless_files_need_no_model(tmp_path):
    Image.fromarray(make_rgb(70, 50)).save(tmp_path / "a.png")
    for arguments in (["encode", "a.png", "--lossless"], ["decode", "a.vitc", "-o", "b.png"]):
        assert call(tmp_path, *arguments).returncode == 0
    assert np.array_equal(np.asarray(Image.open(tmp_path / "b.png")), make_rgb(70, 50))
