"""The parts of a step of training: crops, optimiser, weights in half precision, rounding, searched samples, growth."""

from __future__ import annotations

import copy
import itertools
import json
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from conftest import make_rgb
from safetensors.torch import load_file
from small_context import FLAGGED, float_model
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from vitcodec import wavelet
from vitcodec.context import model as context_model
from vitcodec.distortion import TUNINGS
from vitcodec.errors import UsageError, VitcodecError, WeightsError
from vitcodec.layers import row_product
from vitcodec.models import build_autoencoder
from vitcodec.models.autoencoder import Autoencoder
from vitcodec.pretrained import registry
from vitcodec.quality import round_tokens, step_position
from vitcodec.subbands import Subbands
from vitcodec.training import package
from vitcodec.training import step as step_module
from vitcodec.training.augment import recoloured, resized
from vitcodec.training.checkpoint import averaged_model
from vitcodec.training.config import TrainingConfig
from vitcodec.training.data import Crops
from vitcodec.training.engine import Engine
from vitcodec.training.halves import halved, product_weights
from vitcodec.training.integers import QUANTILE, load_float
from vitcodec.training.loop import Run
from vitcodec.training.model import Average, TrainingModel
from vitcodec.training.optimiser import Optimiser
from vitcodec.training.parts import part_name, read_average, write_average
from vitcodec.training.prices import Prices
from vitcodec.training.rounding import Gauge, RoundedSynthesis
from vitcodec.training.samples import Fresh, Samples, Searched, searched_tokens
from vitcodec.training.start import grown, ready_to_round
from vitcodec.training.step import TrainingStep

SETTINGS = {"widths": (8, 12, 32), "blocks": (1, 1, 2), "convolutions": 1, "head": 16, "integers": True}
STEP = torch.tensor([12.0, 60.0])


def small_model(seed: int = 0) -> TrainingModel:
    """Few channels, random weights, block flags, a synthesis that integers can carry."""
    torch.manual_seed(seed)
    autoencoder = build_autoencoder("swin", SETTINGS)
    for p in autoencoder.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.02)
    return TrainingModel(autoencoder, copy.deepcopy(float_model()).requires_grad_(True))


def images() -> Tensor:
    return torch.from_numpy(np.stack([make_rgb(64, 64), make_rgb(64, 64, seed=1)])).float()


def crops(side: int = 64, **settings) -> Crops:
    return Crops([make_rgb(side + 40, side + 20, seed=k) for k in range(2)], 0, **settings)


def rounded(model: TrainingModel) -> RoundedSynthesis:
    net = RoundedSynthesis(model.autoencoder.synthesis, ready_to_round(model, Gauge(QUANTILE), crops(), 0.1))
    model.autoencoder.synthesis = net
    return net


def test_the_gradient_passes_the_rounding_of_inputs():
    """The analysis learns how the decoder will correct its latents: about what a decoder without rounding tells it."""
    model = package.load_training_model(registry.find("swin"))
    autoencoder, gauge = model.autoencoder, load_float(registry.find("swin"))[1]
    image, step = torch.from_numpy(make_rgb(64, 64)).float()[None], torch.tensor([40.0])
    position = step_position(step)
    tokens = round_tokens(autoencoder.encode(image, step), 0.1).map(Tensor.float)
    torch.manual_seed(0)
    weights, found = tokens.map(torch.randn_like), []
    for net in (autoencoder.synthesis, RoundedSynthesis(autoencoder.synthesis, gauge)):
        bands = tokens.map(lambda t: t.detach().clone().requires_grad_())
        corrections = net(bands, position).combine(torch.sub, bands)
        total = torch.stack([(c * w).sum() for c, w in corrections.zip(weights)]).sum()
        found.append([g.flatten() for g in torch.autograd.grad(total, list(bands))])
    for exact, own in zip(*found, strict=True):
        assert torch.corrcoef(torch.stack((exact, own)))[0, 1] > 0.8


# ---- crops


@pytest.mark.parametrize("side", [64, 80, 103, 128])
def test_crops_are_scaled_as_by_antialiased_interpolation(side):
    torch.manual_seed(0)
    x = 255 * torch.rand(1, 128, 128, 3)
    expected = F.interpolate(x[:, :side, :side].permute(0, 3, 1, 2), (64, 64), mode="bicubic", antialias=True)
    found = resized(x, torch.tensor([side]), 64)
    assert (found - expected.permute(0, 2, 3, 1).clamp(0, 255)).abs().max() < 0.51  # rounded


def test_scales_never_read_beyond_a_small_image():
    image = np.full((70, 66, 3), 90, np.uint8)
    found = Crops([image, np.full((300, 300, 3), 200, np.uint8)], 0, scales=(1, 1.5, 3)).batch(16, 64)
    assert {int(v) for v in found.unique()} == {90, 200}


def test_a_share_of_crops_is_recoloured():
    torch.manual_seed(0)
    x = (255 * torch.rand(200, 2, 2, 3)).round()
    found = recoloured(x, 0.25, torch.rand)
    changed = (found != x).flatten(1).any(1).float().mean()
    assert 0.15 < changed < 0.35 and found.min() >= 0 and found.max() <= 255 and torch.equal(found, found.round())


def test_batches_have_fine_and_coarse_steps():
    image, step, tokens = Fresh(crops(), 4, 64)()
    assert image.shape == (4, 64, 64, 3) and tokens is None
    assert all(a < b for a, b in itertools.pairwise([3.0, *step.tolist(), 200.0]))


# ---- optimiser, weights


def trained(optimiser: Optimiser, layer: nn.Module, steps: int) -> None:
    for _ in range(steps):
        optimiser.zero()
        layer(torch.ones(3, 8)).square().sum().backward()
        optimiser.step()


def test_the_optimiser_goes_on_where_it_was():
    torch.manual_seed(0)
    layer = nn.Linear(8, 8)
    optimiser = Optimiser(layer.named_parameters(), torch.tensor(0.01))
    trained(optimiser, layer, 3)
    other = copy.deepcopy(layer)
    again = Optimiser(other.named_parameters(), torch.tensor(0.01))
    again.load(optimiser.state())
    assert set(again.state()) == {"count", "weight/momentum", "bias/first", "bias/second"}
    for o, l in ((optimiser, layer), (again, other)):
        trained(o, l, 2)
    assert torch.equal(layer.weight, other.weight) and torch.equal(layer.bias, other.bias)
    fresh = copy.deepcopy(layer)
    trained(Optimiser(fresh.named_parameters(), torch.tensor(0.01)), fresh, 1)
    trained(optimiser, layer, 1)
    assert not torch.equal(layer.bias, fresh.bias)


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_gradients_that_are_no_numbers_change_nothing(value):
    layer = nn.Linear(8, 8)
    optimiser, before = Optimiser(layer.named_parameters(), torch.tensor(0.01)), copy.deepcopy(layer.state_dict())
    trained(optimiser, copy.deepcopy(layer), 0)
    layer.weight.grad, layer.bias.grad = torch.ones(8, 8), torch.full((8,), value)
    optimiser.step()
    assert all(torch.equal(v, before[k]) for k, v in layer.state_dict().items())
    assert all(t.isfinite().all() for t in optimiser.state().values())


def test_products_of_rows_have_the_librarys_gradients():
    torch.manual_seed(0)
    x, weight, bias = (torch.randn(s, requires_grad=True) for s in ((2, 3, 4, 5), (6, 5), (6,)))
    gradient = torch.randn(2, 3, 4, 6)
    for own, known in zip(
        torch.autograd.grad(row_product(x, weight, bias), (x, weight, bias), gradient),
        torch.autograd.grad(F.linear(x, weight, bias), (x, weight, bias), gradient),
        strict=True,
    ):
        torch.testing.assert_close(own, known, rtol=1e-4, atol=1e-5)


def test_weights_in_bfloat16_are_made_once_and_learn_in_float32():
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Conv2d(4, 4, 1))
    names = product_weights(model, model[2])
    assert names == ["0.weight", "0.bias"] and product_weights(model)[2:] == ["2.weight", "2.bias"]
    halves = halved(model, names)
    assert all(
        v.dtype == torch.bfloat16 and torch.equal(v, model.get_parameter(k).bfloat16()) for k, v in halves.items()
    )
    (halves["0.weight"].float() * torch.arange(4.0)).sum().backward()
    assert model[0].weight.grad.dtype == torch.float32 and torch.equal(model[0].weight.grad[1], torch.arange(4.0))
    assert halved(model, []) == {}


def test_averages_move_by_a_share_of_the_way():
    layer = nn.Linear(2, 2)
    average, before = Average(layer, 0.9), layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight += 1
    average.move(torch.tensor(0.25))
    torch.testing.assert_close(average.mean["weight"], before + 0.25)
    assert average.weight(0) == pytest.approx(0.9) and average.weight(10_000) == pytest.approx(0.1)


# ---- rounding


def test_a_rounded_synthesis_has_the_names_and_the_weights_of_its_network():
    model = small_model()
    names = set(model.state_dict())
    net = rounded(model)
    assert set(model.state_dict()) == names and net.outputs[0].weight is net.net.outputs[0].weight
    layers = net.layers()
    assert all(torch.equal(l.weight, l.weight.round()) and l.weight.abs().max() <= 64 for l in layers.values())
    before = net.export()["output4"]
    with torch.no_grad():
        net.outputs[0].weight.mul_(8)
    assert (net.export()["output4"].shift == before.shift).all()
    net.follow()
    after = net.export()["output4"]
    assert (after.shift == before.shift - 3).all() and (after.weight == before.weight).all()


def test_bfloat16_hardly_changes_a_rounded_synthesis():
    model = small_model()
    rounded(model)
    tokens = round_tokens(model.autoencoder.encode(images(), STEP), 0.1).map(Tensor.float)
    with torch.no_grad():
        exact = model.autoencoder.decode(tokens, STEP)
        with torch.autocast("cpu", torch.bfloat16):
            half = model.autoencoder.decode(tokens, STEP)
    correction = exact - Autoencoder().decode(tokens, STEP)
    assert (half - exact).square().mean() < 0.01 * correction.square().mean()


# ---- samples that are searched


def test_searched_samples_keep_their_places_and_the_oldest_give_way():
    def choose(image: Tensor, step: Tensor) -> Subbands:
        number = float(len(seen))
        seen.append(image)
        return Subbands(number + torch.zeros(2, 4, 4, 3), tuple(torch.zeros(2, 4 << k, 4 << k, 9) for k in range(4)))

    seen: list[Tensor] = []
    source = Searched(Fresh(crops(), 2, 64), choose, 6)
    for count in range(1, 6):
        source.search()
        drawn = [source() for _ in range(40)]
        found = {(int(s.tokens.low[place, 0, 0, 0]), place) for s in drawn for place in (0, 1)}
        assert found == {(n, place) for n in range(max(0, count - 3), count) for place in (0, 1)}
    for image, step, tokens in drawn:
        for place in (0, 1):
            assert torch.equal(image[place], seen[int(tokens.low[place, 0, 0, 0])][place])
        assert step[0] < step[1] and tokens.low.dtype == torch.float32
    assert source.searched == 5 and source.seconds > 0


@pytest.mark.parametrize("integers", [True, False])
def test_searched_tokens_lower_the_cost_and_leave_gradients_alone(integers):
    model = small_model() if integers else TrainingModel(Autoencoder(), copy.deepcopy(float_model()))
    if integers:
        rounded(model)
    flags = {name: p.requires_grad for name, p in model.named_parameters()}
    tokens = searched_tokens(model, 0.1)(images(), STEP)
    start = round_tokens(model.autoencoder.encode(images(), STEP), 0.1).map(Tensor.float)
    assert {name: p.requires_grad for name, p in model.named_parameters()} == flags

    def cost(own: Subbands) -> Tensor:
        decoded, bits = model(images(), STEP, 0.0, tokens=own)
        lagrangian = 0.8 * 6 / np.log(2) / STEP**2
        return bits + lagrangian * (decoded - images()).square().sum((1, 2, 3))

    assert (cost(tokens) < cost(start)).all() and not any(t.requires_grad for t in tokens)


# ---- the step


def step_of(model: TrainingModel, source, rate: float = 0.0, **settings) -> TrainingStep:
    config, engine = TrainingConfig(**settings), Engine(torch.device("cpu"))
    optimiser = Optimiser(model.named_parameters(), torch.zeros(()))
    step = TrainingStep(model, source, optimiser, Average(model, 0.9), config, engine)
    step.optimiser.rate.fill_(rate)
    return step


def test_steps_lower_the_loss():
    model, batch = small_model(), images()
    step, losses = step_of(model, lambda: Samples(batch, STEP), 1e-3), []
    for _ in range(6):
        step()
        losses.append(step.means()[0])
    assert losses[-1] < 0.97 * losses[0] and step.means() is None


def test_a_loss_that_is_no_number_is_left_out_and_ends_a_run(tmp_path):
    model, batch = small_model(), images()
    step = step_of(model, lambda: Samples(batch * torch.nan, STEP), 1e-3)
    before = copy.deepcopy(model.state_dict())
    step()
    assert step.means() is None and all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    run = Run(model, TrainingConfig(crop=64, batch=1), tmp_path)
    with torch.no_grad():
        model.autoencoder.gain.fill_(torch.nan)
    with pytest.raises(VitcodecError, match="no number any more after 1 steps"):
        run.train(crops(), None, print, lambda: run.steps == 1)


class Copies(TorchDispatchMode):
    """Operators that take a tensor with values on the CPU and one on a GPU: what a CUDA graph cannot hold."""

    def __init__(self):
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        tensors = [t for t in torch.utils._pytree.tree_leaves((args, kwargs, out)) if isinstance(t, Tensor)]
        kinds = {t.device.type for t in tensors if t.ndim or t.device.type != "cpu"}  # numbers go with the launch
        if kinds == {"cpu", "cuda"}:
            self.found.append(str(function))
        return out


def test_nothing_in_a_step_waits_for_a_gpu_or_copies_to_it(monkeypatch):
    """On a GPU that is only imagined: torch then refuses to read numbers, and shapes that depend on them."""
    model = small_model()
    rounded(model)
    monkeypatch.setattr(torch.cuda.amp.common, "amp_definitely_not_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda *_: True)
    monkeypatch.setattr(step_module, "captured", lambda function, before: function)
    cached = wavelet._axes, context_model._nearest, recoloured.__globals__["_orders"]
    device = torch.device("cuda")

    def imagined(t: Tensor) -> Tensor:
        return torch.empty(t.shape, dtype=t.dtype, device=device)

    known = crops(scales=(1.0, 1.2), colours=0.5)
    known.batch(2, 64)
    prices = Prices(model, TUNINGS["psnr"], 0.1, Engine(device, "bfloat16"))
    for function in cached:
        function.cache_clear()
    try:
        with FakeTensorMode(allow_non_fake_inputs=True):
            for module in (*model.modules(), *prices.model.modules()):
                for name, p in list(module._parameters.items()):
                    module._parameters[name] = None if p is None else nn.Parameter(imagined(p))
                for name, b in list(module._buffers.items()):
                    module._buffers[name] = None if b is None else imagined(b)
            for name, own in list(vars(known).items()):
                if isinstance(own, Tensor) and name != "shortest":
                    setattr(known, name, imagined(own))
            known.device, known.rng, known.eligible = device, None, {64: imagined(known.eligible[64])}
            source = Fresh(known, 2, 64)
            pool = Searched(source, lambda *_: None, 4)
            bands = [torch.empty(2, 4, 4, 3), *(torch.empty(2, 32 >> k, 32 >> k, 9) for k in range(4))]
            kept = [source()[0].byte(), source()[1], *(band.short() for band in bands)]
            pool.kept = [torch.empty(2, *t.shape, dtype=t.dtype, device=device) for t in kept]
            pool.filled = torch.empty((), device=device)
            rate = torch.zeros((), device=device)
            optimiser = Optimiser(model.named_parameters(), rate, half=True)
            average, config = Average(model, 0.9), TrainingConfig()
            step = TrainingStep(model, source, optimiser, average, config, prices.engine, prices)
            step._loss(step.source())  # what is made once, before a graph is recorded
            with Copies() as copies:
                loss, _ = step._loss(step.source())
                optimiser.step()
                step.average.move(step.weight)
                assert pool().tokens.low.shape == (2, 4, 4, 3)
        assert loss.device.type == "cuda" and loss.requires_grad and copies.found == []
    finally:
        for function in cached:
            function.cache_clear()


# ---- growth, parts, runs


def test_a_grown_model_computes_the_same():
    model = small_model()
    wide = grown(model, {"transform": {"synthesis": [1, 2, 2, 3]}, "context": {"extra_blocks": [1, 1, 2, 1]}})
    assert sum(p.numel() for p in wide.parameters()) > sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        (a, b), (c, d) = (m(images(), STEP, 0.1) for m in (model, wide))
        torch.testing.assert_close(a, c)
        torch.testing.assert_close(b, d)
        ready_to_round(wide, Gauge(QUANTILE), crops(), 0.1)
        assert all(p.any() for n, p in wide.autoencoder.synthesis.named_parameters() if n.endswith("down.weight"))
        torch.testing.assert_close(wide(images(), STEP, 0.1)[0], a, atol=2.0, rtol=0.05)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"transform": {"widths": [16, 24, 64]}}, "only blocks can be added"),
        ({"transform": {"synthesis": [1, 1, 3, 1]}}, "only blocks can be added"),
        ({"transform": {"width": 3}}, "no setting that fits"),
        ({"synthesis": {}}, "no setting that fits"),
        ({"context": {"heads": [16, 16, 16, 16]}}, "only blocks can be added"),
    ],
)
def test_what_cannot_grow_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        grown(small_model(), changes)


def test_averaged_weights_come_back_from_their_parts(tmp_path):
    model = small_model()
    config = {"dead_zone": 0.09}
    write_average(tmp_path, model.state_dict(), {"a.b": torch.ones(3)}, {"model": model.description, "config": config})
    again, metadata, gauge = read_average(tmp_path)
    assert metadata["config"] == config and metadata["parts"] == 1 and torch.equal(gauge["a.b"], torch.ones(3))
    assert all(torch.equal(v, again.state_dict()[k].to(v)) for k, v in model.state_dict().items() if "gain" in k)
    assert all((v - again.state_dict()[k]).abs().max() < 2e-3 for k, v in model.state_dict().items())
    assert averaged_model(tmp_path / "checkpoint.safetensors")[1]["parts"] == 1
    (tmp_path / part_name(1)).unlink()
    with pytest.raises(WeightsError, match="copy all parts again"):
        read_average(tmp_path)
    with pytest.raises(UsageError, match=r"holds no average\.json"):
        read_average(tmp_path / "nothing")


def logged(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_a_run_in_phases_trains_what_it_should_and_goes_on(tmp_path, monkeypatch):
    """Rounded tokens with the encoder, then searched ones without; stopped, resumed, and read again from its parts."""
    clock = itertools.count(step=0.25)  # seconds
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    model = small_model()
    gauge = ready_to_round(model, Gauge(QUANTILE), crops(), 0.1)
    settings = {"batch": 2, "crop": 64, "rounded": True, "refined": 0.5, "pool": 4, "warmup": 1, "searching": 0.0}
    config = TrainingConfig(**settings, minutes=0.2, checkpoint_seconds=0.0, learning_rate=1e-3)
    run = Run(model, config, tmp_path, gauge=gauge)
    first, encoders = model.autoencoder.gain.detach().clone(), []

    def note(_: float) -> None:
        encoders.append(run.model.autoencoder.gain.detach().clone())

    run.train(crops(), None, print, advance=note)
    phases = [e["phase"] for e in logged(tmp_path) if "phase" in e]
    assert phases == ["rounded tokens", "searched tokens"] and run.seconds >= 12
    assert not torch.equal(encoders[0], first) and torch.equal(encoders[-1], encoders[-2])
    assert any("searched" in e for e in logged(tmp_path))
    assert (tmp_path / "average.json").exists() and not any(tmp_path.glob("*.partial"))

    longer = TrainingConfig(**settings, minutes=10, learning_rate=1e-3)
    again = Run(small_model(), longer, tmp_path, gauge=Gauge(QUANTILE, {k: 2 * v for k, v in gauge.largest.items()}))
    again.resume()
    assert again.steps == run.steps and again.seconds >= run.before + 12
    assert all(torch.equal(v, run.model.state_dict()[k]) for k, v in again.model.state_dict().items())
    run.model.autoencoder.synthesis.follow()
    exported = (r.model.autoencoder.synthesis.export() for r in (run, again))
    assert all((a.weight == b.weight).all() for a, b in zip(*(e.values() for e in exported), strict=True))
    again.train(crops(), None, print, lambda: again.steps >= run.steps + 2)
    assert logged(tmp_path)[-1]["step"] > run.steps
    stored, metadata, largest = read_average(tmp_path)
    assert metadata["steps"] == again.steps and largest.keys() == gauge.largest.keys()
    tensors = load_file(tmp_path / "checkpoint.safetensors")
    assert any(k.startswith("optimiser.context") for k in tensors) and "gauge.stream4" in tensors
    assert stored.context.config == FLAGGED


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA card")
def test_a_captured_step_does_what_its_operators_do():
    found = []
    for capture in (True, False):
        model, batch = small_model().cuda(), images().cuda()
        config, engine = TrainingConfig(fixed_encoder=True), Engine(torch.device("cuda"))
        model.autoencoder.requires_grad_(False)
        optimiser = Optimiser(model.named_parameters(), torch.zeros((), device="cuda"))
        source = Samples(batch, STEP.cuda())
        step = TrainingStep(model, lambda source=source: source, optimiser, Average(model, 0.9), config, engine)
        for p in optimiser.state().values():
            p.zero_()
        optimiser.rate.fill_(1e-3)
        for _ in range(3):
            step() if capture else step.once()
        found.append(copy.deepcopy(model.state_dict()))
    for name, v in found[0].items():
        torch.testing.assert_close(v, found[1][name], rtol=1e-3, atol=1e-4)


# ---- the gradient at tokens of 0


def test_latents_that_are_rounded_to_zero_are_held_back():
    """By as much as `bend` says, for the gradient alone."""
    torch.manual_seed(0)
    model, image = small_model(), images()
    gains = model.autoencoder.error_gains(STEP)
    found = []
    for bend in (0.0, 3.0):
        latents = model.autoencoder.encode(image, STEP).map(lambda t: t.detach().clone().requires_grad_())
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(model.autoencoder, "encode", lambda *_, y=latents: y)
            torch.manual_seed(1)
            _, bits = model(image, STEP, 0.1, bend=bend)
        bits.sum().backward()
        found.append((bits.detach(), latents))
    (bits, plain), (same, held) = found
    assert torch.allclose(bits, same)
    for level, (a, b) in enumerate(plain.zip(held)):
        expected = 3 * gains[:, level, : b.shape[-1]].square()[:, None, None] * b.detach().sign()
        difference = b.grad - a.grad
        changed = difference.abs() > 1e-6
        assert changed.any()
        assert torch.allclose(difference[changed], expected.expand_as(b)[changed], rtol=1e-3, atol=1e-4)
        assert (b.detach()[changed].abs() < 0.6 + 1e-6).all()
