"""Every family and preset: start as the wavelet, learning, tiles without a seam, saving and loading, layer tables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from safetensors.torch import load, load_file, save
from typer.testing import CliRunner

import vitcodec
from benchmarks import layers
from vitcodec.bitstream.header import TILE_UNIT
from vitcodec.cli import app
from vitcodec.context.config import CURRENT
from vitcodec.context.model import ContextModel
from vitcodec.errors import UsageError, WeightsError
from vitcodec.models import FAMILIES, backbone, build_autoencoder, summary, tokens, untrained
from vitcodec.models.autoencoder import parameter_count
from vitcodec.models.blocks import position_map
from vitcodec.models.summary import layer_table, table_of, totals
from vitcodec.picture import Picture
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.loading import own_name
from vitcodec.pretrained.presets import PRESETS, Preset
from vitcodec.quality import step_position
from vitcodec.subbands import Subbands
from vitcodec.training import package
from vitcodec.training.model import TrainingModel
from vitcodec.training.optimiser import Optimiser
from vitcodec.wavelet import COLOUR, forward, split

STEP = torch.tensor([16.0])


def difference(a: Subbands, b: Subbands) -> float:
    """The largest, over all bands."""
    return max((x - y).abs().max().item() for x, y in a.zip(b))


def picture(width: int, height: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(make_rgb(width, height, seed)).float()[None]


def stir(module: torch.nn.Module) -> None:
    """Small random weights in place of the zeros that everything starts with."""
    for p in module.parameters():
        if not p.any():
            torch.nn.init.normal_(p, std=0.02)


@pytest.mark.parametrize("name", [name for name in PRESETS if name != "vit-l16"])  # vit-b16 three times as large
def test_starts_as_the_wavelet_passes_gradients_is_saved_and_loaded(name):
    model, image = untrained(name), picture(64, 32)
    latents = model.encode(image, STEP)
    wavelet = forward(image).map(lambda t: t / STEP)
    assert difference(latents, wavelet) < 1e-3
    decoded = model.decode(latents, STEP)
    assert (decoded - image).abs().max() < 0.01
    (decoded - image.flip(1)).square().mean().backward()
    heads = [p for n, p in model.named_parameters() if ("leave" in n or "outputs" in n) and n.endswith("weight")]
    assert len(heads) >= 2 and all(p.grad.abs().sum() > 0 for p in heads)

    model.zero_grad()
    state = model.half().state_dict()
    with torch.device("meta"):
        copy = build_autoencoder(model.family, json.loads(json.dumps(model.settings)))
    copy.load_state_dict(load(save(state)), assign=True, strict=True)
    assert all((a == b).all() for a, b in zip(state.values(), copy.state_dict().values(), strict=True))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_few_steps_of_training_lower_the_loss(family):
    torch.manual_seed(0)
    widths = {"widths": (32, 48, 64)} if family in ("swin", "cnn") else {"width": 64, "decoder_width": 64}
    model, image = build_autoencoder(family, widths), picture(64, 64)
    # uniform noise in place of rounding, the same in every step: a loss that is smooth and comparable
    noise = model.encode(image, STEP).map(lambda t: torch.rand_like(t) - 0.5)
    losses = []
    optimiser = Optimiser(model.named_parameters(), torch.tensor(1.5e-3))
    for _ in range(5):
        latents = model.encode(image, STEP)
        loss = (model.decode(latents.combine(torch.add, noise), STEP) - image).square().mean()
        optimiser.zero()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.98 * losses[0]


@pytest.mark.parametrize("family", FAMILIES)
@torch.no_grad()
def test_parts_with_their_halo_are_as_the_whole(family):
    torch.manual_seed(0)
    model = untrained(family)
    stir(model)
    for part in (model.analysis, model.synthesis):
        # so that the tile has neighbours further than its halo on one side, and the image's edge on the other
        size = 2 * (part.grid + part.halo) + 64
        bands = forward(picture(size, 64)).map(lambda t: t / STEP)
        start, end = part.grid + part.halo, min(size, 2 * part.grid + part.halo)

        def cut(bands: Subbands, left: int, right: int, size: int = size) -> Subbands:
            return bands.map(lambda t: t[:, :, left * t.shape[2] // size : right * t.shape[2] // size])

        position = step_position(STEP)
        whole = cut(part(bands, position), start, end)
        left, right = start - part.halo, min(size, end + part.halo)
        tile = part(cut(bands, left, right), position)
        tile = cut(tile, start - left, end - left, right - left)
        tolerance = 0.05 if family == "swin" else 1e-3  # whose halo does not cover what hardly counts
        assert difference(whole, tile) < tolerance


def test_how_models_want_to_be_cut():
    for name in PRESETS:
        with torch.device("meta"):
            model = untrained(name)
        for part in (model.analysis, model.synthesis):
            assert part.grid % 32 == 0 and (part.halo is None or part.halo % part.grid == 0)
            assert model.grid % part.grid == 0 and model.halo >= (part.halo or 0)
        assert model.tile % model.grid == model.halo % model.grid == model.tile % TILE_UNIT == 0 < model.tile <= 1024


@pytest.mark.parametrize("family", ["vit", "beit"])
@torch.no_grad()
def test_tokens_attend_to_all_of_their_area_and_nothing_else(family):
    torch.manual_seed(0)
    model = build_autoencoder(family, {"window": 4})
    stir(model)
    bands = forward(picture(96, 64)).map(lambda t: t / STEP)
    before = tokens.tokens(model.analysis(bands, step_position(STEP)))
    bands[1][:, 0, 0] += 50
    change = (tokens.tokens(model.analysis(bands, step_position(STEP))) - before).abs().amax((0, 3))
    assert (change[:4, :4] > 0).all() and (change[:, 4:] == 0).all()


def test_tokens_there_and_back():
    bands = forward(picture(64, 32))
    x = tokens.tokens(bands)
    assert x.shape == (1, 2, 4, 768)
    assert difference(bands, tokens.subbands(x)) == 0


@pytest.mark.parametrize("name", PRESETS)
def test_the_table_holds_every_parameter(name):
    preset = PRESETS[name]
    rows = table_of(preset.family, preset.config, CURRENT, 256, 256)
    with torch.device("meta"):
        count = parameter_count(untrained(name)) + parameter_count(ContextModel(CURRENT))
    assert totals(rows)["parameters"] == count


def test_the_tables_in_the_documentation_are_those_of_the_models():
    assert layers.render(check=True) == []  # else: make docs


def test_presets_state_the_figures_of_their_tables():
    stated = {name: (preset.parameters, preset.kmac_per_pixel) for name, preset in PRESETS.items()}
    assert stated == {name: layers.figures(name) for name in PRESETS}  # else: copy them to pretrained/presets.py


def test_the_multiplications_of_an_area_at_the_edge_count_too():
    small, large = (
        totals(layer_table("beit-base", size))["encode_kmac_per_pixel"] for size in ((224, 224), (448, 224))
    )
    assert large == pytest.approx(small, rel=0.01)


# starting from other weights


@pytest.mark.parametrize("name", ["cnn", "swin"])
def test_a_new_family_starts_from_anothers_context_model(name):
    config = registry.find(name)
    cnn, vit = package.load_training_model(config), package.load_training_model(config, "vit")
    assert (
        vit.autoencoder.family == "vit"
        and (vit.autoencoder.gain == cnn.autoencoder.gain).all()
        and vit.autoencoder.gain.any()
    )
    ours, theirs = vit.context.state_dict(), cnn.context.state_dict()
    stored = {own_name(k) for k in load_file(config.folder / "context-float.safetensors")}
    assert len(stored) > 100 and all((ours[k] == theirs[k]).all() for k in stored)
    assert not vit.autoencoder.analysis.leave.weight.any()


def test_a_model_with_more_blocks_starts_as_the_one_that_it_grows_from():
    config = registry.find("swin")
    shipped, blocks = package.load_training_model(config), PRESETS["swin"].config["blocks"]
    wide = Preset(
        "swin",
        0,
        0,
        {
            "blocks": (blocks[0], blocks[1] + 1, blocks[2]),
            "convolutions": PRESETS["swin"].config["convolutions"] + 2,
            "integers": True,
        },
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "larger", wide)
        grown = package.load_training_model(config, "larger")
    image, step = picture(64, 64), torch.tensor([30.0])
    with torch.no_grad():
        (a, bits_a), (b, bits_b) = (model(image, step, 0.1) for model in (shipped, grown))
    assert torch.equal(a, b) and torch.equal(bits_a, bits_b)
    assert sum(p.numel() for p in grown.parameters()) > sum(p.numel() for p in shipped.parameters())


def test_a_models_own_config_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(package, "COUNTED_BATCHES", 1)
    monkeypatch.setattr(package, "CALIBRATION_BATCHES", 1)
    monkeypatch.setattr(package, "BATCH", 1)
    small = {"width": 64, "blocks": 1, "decoder_width": 64, "decoder_blocks": 1, "memory_blocks": 1, "window": 8}
    model = TrainingModel(build_autoencoder("beit", small), ContextModel())
    stir(model.autoencoder.synthesis)
    package.write_model(model, tmp_path, "small", [make_rgb(256, 256)], 0.1, {})
    config = PretrainedConfig.read(tmp_path)
    assert config.family == "beit" and small.items() <= config.transform.items()
    again = package.load_training_model(config)
    pairs = zip(again.autoencoder.state_dict().values(), model.autoencoder.state_dict().values(), strict=True)
    # transforms are in half precision
    assert all((a - b).abs().max() < 1e-3 * max(1, b.abs().max()) for a, b in pairs)
    codec = vitcodec.Codec.from_pretrained(f"local-dir:{tmp_path}", "cpu")
    rgb = make_rgb(70, 50)
    data = codec.encode(vitcodec.Picture(rgb), quality=80, effort=1)
    assert codec.decode(data).rgb.shape == rgb.shape


@torch.no_grad()
def test_pretrained_patch_embeddings_work_on_the_pixels():
    image = picture(64, 48)
    mean, deviation = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    for p, levels in ((16, 4), (4, 2)):
        projection = torch.nn.Conv2d(3, 24, p, p)
        wanted = projection(((image / 255 - mean) / deviation).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        embedding = tokens.PatchEmbedding(24, 3 * p * p)
        backbone.fill_embedding(embedding.enter, projection, mean.tolist(), deviation.tolist())
        low, details = image - 128, []
        low = low @ COLOUR.T
        for _ in range(levels):
            low, d = split(low)
            details.append(d)
        x = tokens.with_pixels(Subbands(low, tuple(details)).map(lambda t: t / STEP), step_position(STEP))
        found = embedding(x, position_map(step_position(STEP), x))
        assert found.shape == wanted.shape and (found - wanted).abs().max() < 1e-3


def test_timm_is_imported_for_presets_alone_and_works_without_a_network():
    script = """
import sys
import vitcodec.codec
from vitcodec.errors import WeightsError
from vitcodec.models import build_autoencoder, untrained
for family in ("vit", "beit", "swin", "cnn"):
    untrained(family)
assert "timm" not in sys.modules
from vitcodec.models.backbone import load_pretrained
model = build_autoencoder("vit", {"width": 192, "decoder_blocks": 1, "backbone": "vit_tiny_patch16_224"})
try:
    load_pretrained(model.analysis, "vit_tiny_patch16_224.augreg_in21k_ft_in1k")
except WeightsError as error:
    print(error)
"""
    environment = os.environ | {
        "PYTHONPATH": str(Path(vitcodec.__file__).parent.parent),
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": "/nonexistent",
    }
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, timeout=120
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("\n") == 1 and "HF_HUB_OFFLINE" in result.stdout and "--init wavelet" in result.stdout


def test_only_presets_start_from_timm():
    with pytest.raises(UsageError, match="vit-b16"):
        package.load_pretrained_encoder(package.new_model("vit"), "vit")
    with pytest.raises(WeightsError, match="unknown family or preset"):
        package.new_model("resnet")
    with pytest.raises(WeightsError, match="has no model 'no_such_model'"):
        build_autoencoder("vit", {"backbone": "no_such_model"})


# the command line


def test_models_list_and_show():
    result = CliRunner().invoke(app, ["models", "list", "--json"])
    *rows, summary = (json.loads(line) for line in result.stdout.splitlines())
    by_name = {row["name"]: row for row in rows}
    assert result.exit_code == 0 and summary["models"] == len(rows) and set(PRESETS) <= set(by_name)
    assert by_name["swin"]["status"] == "trained" and by_name["swin"]["bd_rate_jpeg_percent"] < 0
    assert by_name["vit-b16"]["status"] == "preset" and by_name["swin-s"]["licence"] == "MIT"
    result = CliRunner().invoke(app, ["models", "show", "vit-b16", "--image-size", "256x256", "--json"])
    *rows, summary = (json.loads(line) for line in result.stdout.splitlines())
    assert result.exit_code == 0 and summary["sha256"] is None and summary["image_size"] == [256, 256]
    blocks = [row for row in rows if row["kind"] == "attention" and row["layer"].startswith("analysis")]
    assert len(blocks) == 12 and all(row["output"] == [257, 768] and row["heads"] == 12 for row in blocks)
    for size in ("256", "0x10", "axb"):
        assert CliRunner().invoke(app, ["models", "show", "vit", "--image-size", size]).exit_code == 2


def test_a_preset_has_no_weights_to_encode_with(tmp_path):
    vitcodec.write_image(vitcodec.Picture(make_rgb(20, 20)), tmp_path / "a.png")
    result = CliRunner().invoke(app, ["encode", str(tmp_path / "a.png"), "-m", "vit-b16"])
    assert result.exit_code == 1 and "has no weights yet" in result.stderr and result.stderr.count("\n") == 1


@pytest.mark.parametrize("name", ["vit", "swin", "beit", "cnn"])
def test_an_untrained_preset_codes_as_the_wavelet_does(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "start"
    made = CliRunner().invoke(app, ["models", "init", name, "-o", str(folder)])
    assert made.exit_code == 0 and "start (" in made.stderr
    codec = vitcodec.Codec.from_pretrained(folder, "cpu", threads=1)
    picture = Picture(make_rgb(64, 48))
    found = codec.encode_tokens(picture, quality=60, effort=1)
    wavelet = vitcodec.Codec.from_pretrained(folder, "cpu", threads=1)
    wavelet.autoencoder.analysis = wavelet.autoencoder.synthesis = None
    assert np.array_equal(found.to_grid(), wavelet.encode_tokens(picture, quality=60, effort=1).to_grid())
    assert codec.decode(found) == wavelet.decode(found)
    again = CliRunner().invoke(app, ["models", "init", name, "-o", str(folder)])
    assert again.exit_code == 2 and "holds a model already" in again.stderr


def test_rows_of_layers_are_added_up() -> None:
    rows = summary.layer_table("cnn")
    short = summary.up_to_depth(rows, 2)
    assert len(short) < 30 < len(rows) and summary.up_to_depth(rows, 99) == rows
    assert sum(r.parameters for r in short) == sum(r.parameters for r in rows)
    assert sum(r.macs_per_pixel for r in short) == pytest.approx(sum(r.macs_per_pixel for r in rows))
    assert "analysis.encoder" in {r.layer for r in short}
