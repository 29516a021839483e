"""Training as a user runs it, small: train, resume, export, use. And what it starts from."""

from __future__ import annotations

import io
import itertools
import json
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import make_rgb
from PIL import Image
from safetensors.torch import load_file
from typer.testing import CliRunner

from vitcodec.cli import app
from vitcodec.cli.train import parse_time
from vitcodec.codec import Codec
from vitcodec.context.arithmetic import FloatArithmetic
from vitcodec.context.config import ContextConfig
from vitcodec.context.density import RateEstimator, probability
from vitcodec.context.model import ContextModel
from vitcodec.distortion import TUNINGS
from vitcodec.errors import UsageError, WeightsError
from vitcodec.metrics import psnr
from vitcodec.models import build_autoencoder
from vitcodec.models.blocks import Depthwise
from vitcodec.picture import Picture
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.presets import PRESETS, Preset
from vitcodec.quality import round_tokens
from vitcodec.subbands import Subbands
from vitcodec.training import package, validation
from vitcodec.training.checkpoint import averaged_model
from vitcodec.training.config import CHECKPOINT, TRAINED_RATE, TrainingConfig
from vitcodec.training.curve import training_svg
from vitcodec.training.data import Crops
from vitcodec.training.engine import Engine
from vitcodec.training.integers import load_float
from vitcodec.training.model import Average, TrainingModel
from vitcodec.training.optimiser import Optimiser, orthogonalise
from vitcodec.training.step import TrainingStep

PSNR = TUNINGS["psnr"]
SIDE = 192  # of the image that is held out; MS-SSIM takes none that are smaller


def different(a: Subbands, b: Subbands) -> int:
    """How many values of two subbands differ."""
    return sum((x != y).sum().item() for x, y in a.zip(b))


def test_an_untrained_model_is_a_wavelet_codec():
    model = build_autoencoder("swin")
    image = torch.from_numpy(make_rgb(96, 64)).float()[None]
    with torch.no_grad():
        soft = model.encode(image, torch.tensor([8.0]))
        assert (model.decode(soft, torch.tensor([8.0])) - image).abs().max() < 0.01
        coarse = model.decode(soft.map(torch.round), torch.tensor([8.0]))
    assert 36 < psnr(image[0].numpy().astype(np.uint8), coarse[0].clamp(0, 255).round().numpy().astype(np.uint8)) < 48


def test_probabilities_of_all_integers_sum_to_one():
    q = torch.arange(-3000.0, 3001)
    for mean, log_scale, logit in ((0.0, -3.0, 0.0), (0.4, 0.0, -2.0), (-7.3, 3.0, 2.0), (100.2, 5.0, 0.0)):
        p = probability(q, torch.tensor(mean), torch.tensor(log_scale), torch.tensor(logit))
        assert p.sum().item() == pytest.approx(1, abs=1e-4)


def test_the_autoregressive_pass_codes_every_value_once():
    model, context = build_autoencoder("swin"), ContextModel()
    step = torch.tensor([20.0])
    soft = model.encode(torch.from_numpy(make_rgb(64, 32)).float()[None], step)
    estimator = RateEstimator(round_tokens(soft, 0).map(torch.Tensor.float), soft, context.base, step)
    coded = context.autoregressive_pass(FloatArithmetic(), context.step_features(step), 2, 4, estimator)
    assert sum(q.numel() for q, *_ in estimator.collected) == 64 * 32 * 3
    assert not different(coded, estimator.integers)
    estimator.bits().sum().backward()
    assert all(p.grad is not None for p in context.levels[0].parameters())


@pytest.mark.parametrize("half", [False, True])
def test_newton_schulz_makes_singular_values_about_one(half):
    torch.manual_seed(0)
    values = torch.linalg.svdvals(orthogonalise(torch.randn(2, 40, 24), half))
    assert values.min() > 0.5 and values.max() < 1.5


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90", 90), ("90m", 90), ("2h", 120), ("1h30m", 90), ("0.5m", 0.5), ("9m30s", 9.5), ("90s", 1.5), ("1h30", 90)],
)
def test_time_limits(text, minutes):
    assert parse_time(text) == minutes


@pytest.mark.parametrize("text", ["", "soon", "3d", "-5m"])
def test_time_limits_not_understood(text):
    with pytest.raises(UsageError, match="time limit"):
        parse_time(text)


@pytest.fixture(scope="module")
def shard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.tar"
    with tarfile.open(path, "w") as tar:
        for k in range(3):
            buffer = io.BytesIO()
            Image.fromarray(make_rgb(280, 260, seed=k)).save(buffer, "PNG")
            member = tarfile.TarInfo(f"{k}.png")
            member.size = buffer.tell()
            buffer.seek(0)
            tar.addfile(member, buffer)
    return path


@pytest.fixture(scope="module")
def held_out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one image."""
    folder = tmp_path_factory.mktemp("held-out")
    Image.fromarray(make_rgb(SIDE, SIDE, seed=3)).save(folder / "one.png")
    return folder


def training_step(model: TrainingModel, source=None, **settings) -> TrainingStep:
    """A step of a model on the CPU, with a learning rate of zero."""
    config, engine = TrainingConfig(**settings), Engine(torch.device("cpu"))
    optimiser = Optimiser(model.named_parameters(), torch.zeros(()))
    return TrainingStep(model, source, optimiser, Average(model, config.average), config, engine)


def invoke(*arguments: object) -> None:
    result = CliRunner().invoke(app, list(map(str, arguments)))
    assert result.exit_code == 0, result.output


@pytest.fixture(autouse=True)
def little_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(validation, "STEPS", (64.0, 8.0))
    monkeypatch.setattr(validation, "CROP", SIDE // 2)
    monkeypatch.setattr(package, "BATCH", 1)
    monkeypatch.setattr(package, "CROP", SIDE)
    monkeypatch.setattr(validation, "CODED_QUALITIES", (30, 70))


def test_train_resume_export_use(shard, held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(package, "COUNTED_BATCHES", 3)
    monkeypatch.setattr(package, "CALIBRATION_BATCHES", 2)
    run = tmp_path / "run"
    common = ("train", shard, "--val", held_out, "-o", run, "--batch", 1, "--crop", 64)
    invoke(*common, "--steps", 1)
    first = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    refused = CliRunner().invoke(app, [*map(str, common)])
    assert refused.exit_code == 2 and "--resume" in refused.output
    invoke(*common, "--steps", 2, "--resume")
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert (first[-1]["step"], log[-1]["step"]) == (1, 2)
    assert all(bpp > 0 for bpp, _ in log[-1]["validation"])

    invoke("export", run, shard, "-o", tmp_path / "model", "--val", held_out)
    other = CliRunner().invoke(app, ["export", str(run), str(shard), "-o", str(tmp_path / "x"), "--with", "vit"])
    assert other.exit_code == 1 and "not of the same shape" in other.output
    measured = json.loads((tmp_path / "model" / "config.json").read_text())["metrics"]["validation"]
    assert measured["images"] == 1 and [p["quality"] for p in measured["curve"]] == list(validation.CODED_QUALITIES)
    codec = Codec.from_pretrained(f"local-dir:{tmp_path / 'model'}", "cpu")
    picture = Picture(make_rgb(150, 130, seed=9), None, False, None, None, None, [])
    data = codec.encode(picture, quality=70, effort=1)
    assert not different(codec.decompress(data).bands, codec.encode_tokens(picture, quality=70, effort=1).bands)
    assert psnr(picture.rgb, codec.decode(data).rgb) > 32
    assert len(data) < picture.rgb.size / 3


@pytest.mark.parametrize("family", [("swin",), ("cnn",), ("swin", "-m", "beit")])
def test_training_starts_from_pretrained_weights(shard, held_out, tmp_path, family):
    """A new family takes the entropy model of the old one."""
    run = tmp_path / "run"
    small = ("--batch", 1, "--crop", 64, "--steps", 1)
    invoke("train", shard, "--val", held_out, "-o", run, *small, "--init", *family)
    assert (run / "checkpoint.safetensors").exists()


def test_a_family_that_supports_erasure_trains_with_erased_tokens():
    torch.manual_seed(0)
    beit, swin = (training_step(package.new_model(family)) for family in ("beit", "swin"))
    image = torch.from_numpy(make_rgb(64, 64)).float().expand(2, -1, -1, -1)
    drawn = [erased for _ in range(40) if (erased := beit.draw_erasure(image)) is not None]
    assert all(erased.shape == (2, 4, 4) for erased in drawn) and 10 < len(drawn) < 30
    assert 0.05 < np.mean([erased.float().mean().item() for erased in drawn]) < 0.3
    erased = next(erased for erased in drawn if erased.any())
    with torch.no_grad():
        torch.nn.init.normal_(beit.model.autoencoder.analysis.leave.weight, std=0.02)
        step = torch.tensor([20.0, 20.0])
        whole, partial = (beit.model.autoencoder.encode(image, step, e)[4] for e in (None, erased))
    assert (whole != partial).any()
    assert swin.draw_erasure(image) is None


def changed_weights(shard: Path, held_out: Path, run: Path, *arguments: object) -> set[str]:
    """The weights that two steps of training from `swin` change."""
    invoke("train", shard, "--val", held_out, "-o", run, "--crop", 64, "--steps", 2, "--init", "swin", *arguments)
    before, after = package.load_training_model(registry.find("swin")).state_dict(), load_file(run / CHECKPOINT)
    weights = {k.removeprefix("model."): v for k, v in after.items() if k.startswith("model.")}
    return {k for k in weights if (before[k] != weights[k]).any()}


def test_training_the_decoder_alone_leaves_tokens_as_they_are(shard, held_out, tmp_path):
    changed = changed_weights(shard, held_out, tmp_path / "run", "--batch", 1, "--decoder-only")
    assert changed and all(k.startswith("autoencoder.synthesis.") for k in changed)
    refused = CliRunner().invoke(
        app, ["train", str(shard), "-o", str(tmp_path / "x"), "--decoder-only", "--entropy-only"]
    )
    assert refused.exit_code == 2 and "contradict" in refused.output


def test_refined_tokens_train_decoder_and_context_model_alone(shard, held_out, tmp_path):
    changed = changed_weights(shard, held_out, tmp_path / "run", "--batch", 2, "--refined", "--searching", 0)
    trained = ("autoencoder.synthesis.", "context.")
    assert all(k.startswith(trained) for k in changed)
    assert all(any(k.startswith(part) for k in changed) for part in trained)
    refused = CliRunner().invoke(app, ["train", str(shard), "-o", str(tmp_path / "x"), "--refined"])
    assert refused.exit_code == 2 and "--init" in refused.output


INTEGERS = {"widths": (16, 24, 32), "blocks": (1, 1, 2), "convolutions": 1, "head": 16, "integers": True}


def test_a_decoder_of_integers_is_trained_and_exported(shard, held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(package, "COUNTED_BATCHES", 2)
    monkeypatch.setattr(package, "CALIBRATION_BATCHES", 2)
    monkeypatch.setitem(PRESETS, "small-integers", Preset("swin", 0, 0, INTEGERS))
    run, folder = tmp_path / "run", tmp_path / "model"
    small = ("--batch", 1, "--crop", 64, "--steps", 2)
    invoke("train", shard, "--val", held_out, "-o", run, *small, "-m", "small-integers")
    invoke("export", run, shard, "-o", folder)
    config = PretrainedConfig.read(folder)
    codec = Codec(config, "cpu", 1)
    assert config.integers and codec.engine == "onnxruntime"
    picture = Picture(make_rgb(150, 130, seed=9))
    data = codec.encode(picture, quality=70, coding="tokens")
    assert psnr(picture.rgb, codec.decode(data).rgb) > 32 and len(data) < picture.rgb.size / 3

    model, gauge = load_float(config)  # and training goes on from there
    again = averaged_model(run / CHECKPOINT)[0].state_dict()
    assert gauge.largest and all((v - again[k]).abs().max() < 0.02 for k, v in model.state_dict().items())
    following, grow = tmp_path / "next", '{"transform": {"synthesis": [1, 1, 2, 2]}}'
    ways = ("--grow", grow, "--scales", "1,1.5", "--colours", 0.5, "--fixed-encoder")
    invoke("train", shard, "--val", held_out, "-o", following, *small, "--init", f"local-dir:{folder}", *ways)
    (following / CHECKPOINT).unlink()  # the averaged weights are left, with the scales that were trained with
    trained = package.load_run(following)
    kept = {k: v for k, v in trained.gauge.largest.items() if k in gauge.largest}
    assert kept.keys() == gauge.largest.keys() < trained.gauge.largest.keys()
    assert all(torch.equal(v, gauge.largest[k]) for k, v in kept.items())
    assert trained.dead_zone == config.dead_zone
    settings = json.loads((following / "average.json").read_text())["config"]
    assert settings["rounded"] and settings["learning_rate"] == TRAINED_RATE and settings["scales"] == [1, 1.5]
    invoke("train", shard, "--val", held_out, "-o", tmp_path / "third", *small, "--init", f"run:{following}", "--float")
    invoke("export", following, shard, "-o", tmp_path / "grown")
    grown = Codec(PretrainedConfig.read(tmp_path / "grown"), "cpu", 1)
    assert psnr(picture.rgb, grown.decode(grown.encode(picture, quality=70, coding="tokens")).rgb) > 32
    (folder / "synthesis-float.safetensors").unlink()
    with pytest.raises(WeightsError, match="source repository"):
        load_float(config)


def test_interpolation_is_between_two_models():
    model, other = package.new_model("swin"), package.new_model("swin")
    with torch.no_grad():
        for p, q in zip(model.parameters(), other.parameters(), strict=True):
            p.fill_(1.0)
            q.fill_(3.0)
    package.interpolate(model, other, 0.25)
    assert all((p == 2.5).all() for p in model.parameters()) and all((q == 3).all() for q in other.parameters())


SMALL = ContextConfig(features=(8, 8, 8, 8), heads=(8, 8, 8, 8), low_head=8, conditional=8, extra_blocks=(0, 1, 2, 1))


def randomised(context: ContextModel) -> ContextModel:
    """The model with random weights in every layer, also in those that start as zero."""
    torch.manual_seed(0)
    for p in context.parameters():
        torch.nn.init.normal_(p, std=0.2)
    return context


@pytest.mark.parametrize(
    ("fewer", "part"), [({"conditional": 0}, ".conditionals."), ({"extra_blocks": (0, 0, 0, 0)}, ".extra.")]
)
def test_layers_added_to_a_context_model_change_nothing_before_they_are_trained(fewer, part):
    plain = randomised(ContextModel(replace(SMALL, **fewer)))
    grown = ContextModel(SMALL)
    assert all(part in k for k in grown.load_state_dict(plain.state_dict(), strict=False).missing_keys)
    soft = build_autoencoder("swin").encode(
        torch.from_numpy(make_rgb(96, 64)).float()[None], step := torch.tensor([9.0])
    )
    hard = soft.map(torch.round)

    def bits(model: ContextModel) -> float:
        estimator = RateEstimator(hard, hard, model.base, step)
        with torch.no_grad():
            model.autoregressive_pass(FloatArithmetic(), model.step_features(step), 4, 6, estimator)
            return estimator.bits().item()

    before = bits(plain)
    assert bits(grown) == pytest.approx(before, rel=1e-5)
    for name, p in grown.named_parameters():
        if part in name:
            torch.nn.init.normal_(p, std=0.2)
    assert bits(grown) != pytest.approx(before, rel=1e-3)


def test_bfloat16_leaves_fine_steps_as_they_are():
    """Colours and wavelet stay in full precision: 8 bits of a pixel would be an error of half a level."""
    model = package.load_training_model(registry.find("swin"))
    images = torch.from_numpy(make_rgb(128, 128)).float()[None]
    (full,), (half,) = (curve(model, images, enabled) for enabled in (False, True))
    assert half[1] == pytest.approx(full[1], abs=0.03) and half[0] == pytest.approx(full[0], rel=0.01)


def curve(model, images, enabled):
    with pytest.MonkeyPatch.context() as patch, torch.autocast("cpu", torch.bfloat16, enabled=enabled):
        patch.setattr(validation, "STEPS", (4.0,))
        return validation.mean_curve(validation.estimated_curves(model, images, 0.1, PSNR))


def test_depthwise_convolutions_have_the_librarys_gradients():
    torch.manual_seed(0)
    layer, x, gradient = Depthwise(8, 5), torch.randn(2, 8, 7, 9, requires_grad=True), torch.randn(2, 8, 7, 9)
    inputs = (x, layer.weight, layer.bias)
    own = torch.autograd.grad(layer(x), inputs, gradient)
    library = torch.autograd.grad(torch.nn.Conv2d.forward(layer, x), inputs, gradient)
    assert all(torch.allclose(a, b, atol=1e-4) for a, b in zip(own, library, strict=True))


def test_training_for_ms_ssim(shard, held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "CROP", SIDE)
    monkeypatch.setattr(package, "COUNTED_BATCHES", 1)
    monkeypatch.setattr(package, "CALIBRATION_BATCHES", 1)
    run, model = tmp_path / "run", tmp_path / "tuned"
    small = ("--batch", 1, "--crop", SIDE, "--steps", 1)
    invoke("train", shard, "--val", held_out, "-o", run, *small, "--init", "swin", "--tune", "ms-ssim")
    invoke("export", run, shard, "-o", model, "--val", held_out)
    config = json.loads((model / "config.json").read_text())
    assert config["tune"] == "ms-ssim" and all(
        5 < p["ms_ssim_db"] < 40 for p in config["metrics"]["validation"]["curve"]
    )
    for arguments, message in (
        (["--tune", "vmaf"], "psnr, ms-ssim or ssimulacra2"),
        (["--tune", "ms-ssim", "--crop", "128"], "--crop 192"),
    ):
        refused = CliRunner().invoke(app, ["train", str(shard), "-o", str(tmp_path / "x"), *arguments])
        assert refused.exit_code == 2 and message in " ".join(refused.output.split())


def test_training_in_bfloat16(shard, held_out, tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "CROP", 64)  # a processor without bfloat16 is slow at it
    small = ("--batch", 1, "--crop", 32, "--steps", 1)
    invoke(
        "train", shard, "--val", held_out, "-o", tmp_path / "run", *small, "--precision", "bfloat16", "--device", "cpu"
    )
    entries = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert all(-90 < e["bd_rate"] < 300 for e in entries if "bd_rate" in e)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--precision", "float8"], "unknown precision"),
        (["--crop", "100"], "no multiple of 32"),
        (["--device", "tpu"], "unknown device"),
        (["--scales", "0.5"], "numbers from 1 to 4"),
        (["--grow", "[1]"], "no JSON object"),
        (["--fixed-encoder"], "needs a trained model"),
        (["--init", "swin", "--refined", "--tune", "ms-ssim"], "squared error alone"),
        (["--init", "run:nowhere"], "holds no average.json"),
        (["-m", "cnn", "--rounded"], "leave --rounded out"),
        (["--init", "swin", "--grow", '{"transform": {"widths": [128, 160, 256]}}'], "only blocks can be added"),
    ],
)
def test_wrong_usage(shard, tmp_path, arguments, message):
    result = CliRunner().invoke(app, ["train", str(shard), "-o", str(tmp_path / "run"), *arguments])
    assert result.exit_code in (1, 2) and message in " ".join(result.output.split())


def test_two_processes_train_one_model(shard, held_out, tmp_path):
    """torchrun with accelerate: gradients are averaged, one process writes."""
    run, program = tmp_path / "run", tmp_path / "little_is_measured.py"
    program.write_text(
        "from vitcodec.cli import main\n"
        "from vitcodec.training import validation\n"
        "validation.STEPS, validation.CROP = (64.0, 8.0), 64\n"
        "main()\n"
    )
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]  # on a free port
    train = [str(program), "train", str(shard), "--val", str(held_out), "-o", str(run), "--device", "cpu"]
    sizes = ["--batch", "1", "--crop", "64", "--steps", "1", "--threads", "1"]
    command = [sys.executable, *launch, *train, *sizes]
    for more in ([], ["--steps", "2", "--resume"]):
        done = subprocess.run(command + more, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        assert done.stderr.count("for validation, on cpu") == 1, "one process speaks for both"
    entries = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    # one start and an end each: the other process logs nothing
    assert [e["step"] for e in entries if "validation" in e] == [0, 1, 2] and len(entries) == 7


def test_crops_are_cut_from_the_images():
    """Every crop is somewhere in its image, perhaps mirrored or transposed; small images are not used."""
    image = np.arange(40 * 50 * 3, dtype=np.uint32).reshape(40, 50, 3).astype(np.uint8)
    small = np.full((20, 60, 3), 255, np.uint8)
    windows = {image[y : y + 32, x : x + 32].tobytes() for y in range(9) for x in range(19)}
    for crop in Crops([small, image], 3).batch(20, 32).byte().numpy():
        forms = [
            np.ascontiguousarray(f)
            for either in (crop, crop.transpose(1, 0, 2))
            for f in (either, either[:, ::-1], either[::-1])
        ]
        assert any(f.tobytes() in windows for f in forms)


def test_the_reference_curve_rises():
    curve = validation.reference_curve(make_rgb(128, 128), PSNR)
    assert all(a < b and p < q for (a, p), (b, q) in itertools.pairwise(curve))


def test_the_training_curve_is_drawn_from_the_log(tmp_path):
    log = tmp_path / "log.jsonl"
    log.write_text('{"step": 0, "minutes": 0, "bd_rate": -3.0}\n{"step": 100, "minutes": 5, "loss": 1.5}\n')
    training_svg(log, tmp_path / "curve.svg")
    assert not (tmp_path / "curve.svg").exists()  # nothing has two points yet
    with log.open("a") as file:
        file.write('{"step": 200, "minutes": 10, "loss": 1.25, "bd_rate": -4.5}\n')
    training_svg(log, tmp_path / "curve.svg")
    svg = (tmp_path / "curve.svg").read_text()
    assert svg.count("<polyline") == 2 and "-4.5" in svg and "-3" in svg
