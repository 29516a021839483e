"""Weights: config.json, parts, tensor names."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from vitcodec.codec import Codec
from vitcodec.errors import WeightsError
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.loading import own_name, read_parts, split_parts, stored_name


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model of format 0 in parts of at most 4 MB."""
    monkeypatch.setattr("vitcodec.pretrained.loading.PART", 4_000_000)
    config = registry.find("cnn")
    parts = split_parts(read_parts(config))
    assert len(parts) > 2 and all(len(part) < 4_100_000 for part in parts)
    config = replace(config, parts=len(parts), sha256=hashlib.sha256(b"".join(parts)).hexdigest())
    (tmp_path / "config.json").write_text(config.to_json())
    for k, part in enumerate(parts, 1):
        (tmp_path / ("model.safetensors" if k == 1 else f"model-{k}.safetensors")).write_bytes(part)
    return tmp_path


def test_a_model_in_parts_is_the_same_model(folder, floating, picture):
    other = Codec.load(f"local-dir:{folder}", "cpu")
    a, b = (c.encoded_tokens(picture, quality=40, effort=1) for c in (floating, other))
    assert all(torch.equal(x, y) for x, y in a.zip(b))
    assert other.config.identity != floating.config.identity


def test_every_part_is_checked(folder):
    last = PretrainedConfig.read(folder).files[-1]
    data = bytearray(last.read_bytes())
    data[-1] ^= 1
    last.write_bytes(data)
    with pytest.raises(WeightsError, match="SHA-256"):
        registry.verify(PretrainedConfig.read(folder))
    last.unlink()
    with pytest.raises(WeightsError, match=f"{last.name} is missing"):
        PretrainedConfig.read(folder)


@pytest.mark.parametrize("count", [0, -1, "2", 10**9, None])
def test_impossible_numbers_of_parts_are_refused(folder, count):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"parts": count}))
    with pytest.raises(WeightsError, match="no number of parts"):
        PretrainedConfig.read(folder)


# config.json


@pytest.mark.parametrize("config", registry.available(), ids=lambda config: config.name)
def test_shipped_configs_are_written_as_they_are_read(config):
    assert (config.folder / "config.json").read_text("utf-8") == config.to_json()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", None),
        ("family", 3),
        ("sha256", "abc"),
        ("sha256", None),
        ("transform", []),
        ("context", {"unheard_of": 1}),
        ("dead_zone", "0.1"),
        ("dead_zone", True),
        ("tune", 1),
        ("parameters", "many"),
        ("metrics", []),
    ],
)
def test_configs_with_a_field_of_another_type_are_refused(folder, key, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {key: value}))
    with pytest.raises(WeightsError, match="no usable model"):
        PretrainedConfig.read(folder)


def test_configs_of_earlier_versions_are_read(folder):
    config = json.loads((folder / "config.json").read_text())
    context = config["context"]
    context["link"], context["deeper"] = context.pop("conditional"), context.pop("extra_blocks")
    (folder / "config.json").write_text(json.dumps(config | {"context": context}))
    assert PretrainedConfig.read(folder).context == registry.find("cnn").context


def test_models_tuned_for_an_unknown_measure_are_refused(folder):
    config = replace(PretrainedConfig.read(folder), tune="beauty")
    (folder / "config.json").write_text(config.to_json())
    with pytest.raises(WeightsError, match="beauty"):
        Codec.load(f"local-dir:{folder}", "cpu")


def test_the_training_images_sources_are_those_of_the_model(folder):
    shared = registry.sources(registry.find("swin"))
    assert shared is not None and "CC BY" in shared.read_text("utf-8")
    assert registry.sources(registry.find("beit")) == shared
    config = PretrainedConfig.read(folder)
    assert registry.sources(config) is None
    (folder / "SOURCES.md").write_text("mine")
    assert registry.sources(config) == folder / "SOURCES.md"


# tensor names


def test_tensors_keep_the_names_that_they_have_in_weight_files():
    config = registry.find("cnn")
    for name in read_parts(config):
        assert own_name(stored_name(name)) == name
    pairs = {
        "autoencoder.inverse_gain": "autoencoder.ungain",
        "entropy.features": "entropy.rates",
        "entropy.base_scales": "entropy.bases",
        "step_embedding.weight": "rate.weight",
        "entropy.context.levels.3.chroma.conditionals.0.bias": "entropy.context.levels.3.chroma.links.0.bias",
        "levels.1.luma.heads.0.extra.0.reduce.bias": "levels.1.luma.heads.0.deeper.0.reduce.bias",
    }
    assert {name: stored_name(name) for name in pairs} == pairs
