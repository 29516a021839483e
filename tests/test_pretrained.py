"""Weights: config.json, parts, tensor names."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vitcodec.codec import Codec
from vitcodec.errors import WeightsError
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.loading import load_floats, own_name, stored_name
from vitcodec.training.floats import write_folder


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A family in floating point in parts of at most 4 MB."""
    monkeypatch.setattr("vitcodec.pretrained.loading.PART", 4_000_000)
    config = registry.find("cnn")
    written = write_folder(replace(config, folder=tmp_path), *load_floats(config))
    assert written.parts > 2 and all(file.stat().st_size < 4_300_000 for file in written.files)
    return tmp_path


def test_a_model_in_parts_is_the_same_model(folder, floating, picture):
    other = Codec.from_pretrained(f"local-dir:{folder}", "cpu")
    a, b = (c.encode_tokens(picture, quality=40, effort=1).bands for c in (floating, other))
    assert all(np.array_equal(x, y) for x, y in a.zip(b))
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


def test_models_tuned_for_an_unknown_measure_are_refused(folder):
    config = replace(PretrainedConfig.read(folder), tune="beauty")
    (folder / "config.json").write_text(config.to_json())
    with pytest.raises(WeightsError, match="beauty"):
        Codec.from_pretrained(f"local-dir:{folder}", "cpu")


def test_the_training_images_sources_are_those_of_the_model(folder):
    shared = registry.sources(registry.find("swin"))
    assert shared is not None and "CC BY" in shared.read_text("utf-8")
    assert registry.sources(registry.find("beit")) == shared
    config = PretrainedConfig.read(folder)
    assert registry.sources(config) is None
    (folder / "SOURCES.md").write_text("mine")
    assert registry.sources(config) == folder / "SOURCES.md"


# tensor names


def test_tensors_keep_the_names_that_they_have_in_files():
    pairs = {
        "step_embedding.weight": "rate.weight",
        "levels.3.chroma.conditionals.0.bias": "levels.3.chroma.links.0.bias",
        "levels.1.luma.heads.0.extra.0.reduce.bias": "levels.1.luma.heads.0.deeper.0.reduce.bias",
    }
    assert {name: stored_name(name) for name in pairs} == pairs
    assert all(own_name(stored) == name for name, stored in pairs.items())


def test_weights_of_a_draft_before_format_1_are_refused(folder):
    values = json.loads((folder / "config.json").read_text())
    del values["format"]
    (folder / "config.json").write_text(json.dumps(values))
    with pytest.raises(WeightsError, match="not of format 1"):
        PretrainedConfig.read(folder)
