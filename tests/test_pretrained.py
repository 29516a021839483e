"""Weights in parts."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
import torch

from vitcodec.codec import Codec
from vitcodec.errors import WeightsError
from vitcodec.pretrained import registry
from vitcodec.pretrained.loading import read_parts, split_parts


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The default model in parts of at most 6 MB."""
    monkeypatch.setattr("vitcodec.pretrained.loading.PART", 6_000_000)
    card = registry.find()
    parts = split_parts(read_parts(card))
    assert len(parts) > 2 and all(len(part) < 6_100_000 for part in parts)
    config = card.config | {"parts": len(parts), "sha256": hashlib.sha256(b"".join(parts)).hexdigest()}
    (tmp_path / "config.json").write_text(json.dumps(config))
    for k, part in enumerate(parts, 1):
        (tmp_path / ("model.safetensors" if k == 1 else f"model-{k}.safetensors")).write_bytes(part)
    return tmp_path


def test_a_model_in_parts_is_the_same_model(folder, codec, picture):
    other = Codec.load(f"local-dir:{folder}", "cpu")
    a, b = (c.encoded_tokens(picture, 40, effort=1) for c in (codec, other))
    assert all(torch.equal(x, y) for x, y in zip((a.low, *a.details), (b.low, *b.details), strict=True))
    assert other.card.identity != codec.card.identity


def test_every_part_is_checked(folder):
    last = registry.read_card(folder).files[-1]
    data = bytearray(last.read_bytes())
    data[-1] ^= 1
    last.write_bytes(data)
    with pytest.raises(WeightsError, match="SHA-256"):
        registry.verify(registry.read_card(folder))
    last.unlink()
    with pytest.raises(WeightsError, match=f"{last.name} is missing"):
        registry.read_card(folder)


@pytest.mark.parametrize("count", [0, -1, "2", 10**9, None])
def test_impossible_numbers_of_parts_are_refused(folder, count):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"parts": count}))
    with pytest.raises(WeightsError, match="no number of parts"):
        registry.read_card(folder)
