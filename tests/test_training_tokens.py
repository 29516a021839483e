"""Training on crops whose tokens were chosen before."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from vitcodec.cli import app
from vitcodec.errors import InputError
from vitcodec.pretrained import registry
from vitcodec.quality import round_tokens
from vitcodec.training import package
from vitcodec.training.config import CHECKPOINT, TrainingConfig
from vitcodec.training.samples import Samples
from vitcodec.training.token_cache import VALIDATION, Cached, read_shards, validation_samples, write_shard

SIDE = 64


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Six crops, and two for validation at two steps, with rounded tokens of `swin`."""
    out = tmp_path_factory.mktemp("tokens")
    autoencoder = package.load_training_model(registry.find("swin")).autoencoder
    for name, step in (("0000.npz", [9.0, 40, 15, 30, 5, 90]), (VALIDATION, [8.0, 8, 50, 50])):
        steps = torch.tensor(step)
        image = torch.from_numpy(np.stack([make_rgb(SIDE, SIDE, seed=k % 2) for k in range(len(step))]))
        with torch.no_grad():
            tokens = round_tokens(autoencoder.encode(image.float(), steps), 0.1)
        write_shard(out / name, Samples(image, steps, tokens))
    return out


@pytest.fixture(scope="module")
def shard(tmp_path_factory) -> Path:
    place = tmp_path_factory.mktemp("images")
    Image.fromarray(make_rgb(SIDE, SIDE)).save(place / "a.png")
    with tarfile.open(place / "a.tar", "w") as tar:
        tar.add(place / "a.png", "a.png")
    return place / "a.tar"


def train(*arguments: object):
    return CliRunner().invoke(app, ["train", *map(str, arguments)])


PARTS = {"--decoder-only": "autoencoder.synthesis.", "--entropy-only": "context."}


@pytest.mark.parametrize(("option", "part"), PARTS.items())
def test_a_part_learns_from_tokens_that_were_chosen_before(folder, shard, tmp_path, option, part):
    run = tmp_path / "run"
    options = "--crop", SIDE, "--batch", 2, "--steps", 2, "--val-crops", 2, "--time-limit", "10m"
    done = train(shard, "--val", shard, "-o", run, "--init", "swin", "--tokens", folder, option, *options)
    assert done.exit_code == 0, done.output
    before, after = package.load_training_model(registry.find("swin")).state_dict(), load_file(run / CHECKPOINT)
    changed = {k for k, v in before.items() if (v != after[f"model.{k}"]).any()}
    assert changed and all(k.startswith(part) for k in changed)
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    validations = [entry for entry in entries if "validation" in entry]
    assert len(validations) == 2 and all(e["tokens"] == "fixed" and len(e["validation"]) == 2 for e in validations)
    same = 1 if option == "--entropy-only" else 0  # of a point: bits per pixel, decibels
    (first, *_), (last, *_) = (e["validation"] for e in validations)
    assert first[same] == last[same]
    assert str(folder) not in (run / "average.json").read_text()


def test_a_batch_has_a_crop_of_each_stratum(folder):
    source = Cached(folder, 3, seed=0)
    for _ in range(5):
        image, step, tokens = source()
        assert image.shape == (3, SIDE, SIDE, 3) and image.dtype == torch.float32
        assert step[0] in (5, 9) and step[1] in (15, 30) and step[2] in (40, 90)
        known = read_shards([folder / "0000.npz"])
        place = (known.step == step[1]).nonzero().item()
        assert (image[1] == known.image[place]).all() and (tokens[1][1] == known.tokens[1][place]).all()


def test_validation_has_a_batch_for_each_step(folder):
    fine, coarse = validation_samples(folder, 1)
    assert fine.step.tolist() == [8] and coarse.step.tolist() == [50]
    assert (fine.image == coarse.image).all() and len(validation_samples(folder, 9)[0].step) == 2


def test_what_cannot_be_trained_on_is_said(folder, shard, tmp_path):
    with pytest.raises(InputError, match="no crops with tokens"):
        Cached(tmp_path, 1, 0)
    with pytest.raises(InputError, match=r"has no val\.npz"):
        validation_samples(tmp_path, 1)
    (tmp_path / "0000.npz").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"0000\.npz: cannot be read"):
        Cached(tmp_path, 1, 0)
    refused = train(shard, "-o", tmp_path / "run", "--tokens", folder)
    assert refused.exit_code == 2 and "--init" in refused.output
    refused = train(shard, "-o", tmp_path / "run", "--init", "swin", "--refined", "--tokens", folder)
    assert refused.exit_code == 2 and "--refined" in refused.output


def test_fixed_tokens_are_one_phase():
    assert [phase.name for phase in TrainingConfig(fixed_tokens=True, refined=0.5).phases] == ["fixed tokens"]
