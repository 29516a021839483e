"""Training by what a crop's distortion costs in its own bits, and validation that counts each picture alike."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
import torch
from conftest import make_rgb

from vitcodec.cli.train import parse_rates
from vitcodec.distortion import TUNINGS
from vitcodec.errors import UsageError
from vitcodec.pretrained import registry
from vitcodec.training import package, validation
from vitcodec.training.config import TrainingConfig
from vitcodec.training.data import Crops
from vitcodec.training.engine import Engine
from vitcodec.training.loop import Run
from vitcodec.training.optimiser import Optimiser
from vitcodec.training.prices import LIMITS, RATIO, Prices
from vitcodec.training.samples import Fresh

PSNR, EYE = TUNINGS["psnr"], TUNINGS["ssimulacra2"]
CPU, HALF = (Engine(torch.device("cpu"), precision) for precision in ("float32", "bfloat16"))


@pytest.fixture(scope="module")
def swin():
    return package.load_training_model(registry.find("swin"))


def ramp() -> np.ndarray:
    """A picture that needs few bits."""
    rows, columns = np.mgrid[:64, :64]
    return np.stack((rows * 2, columns * 2, rows + columns), -1).astype(np.uint8)


def test_squared_error_costs_the_same_everywhere(swin):
    """The tuning's own price is the slope that the model was trained at."""
    image = torch.from_numpy(make_rgb(128, 128)).float()[None]
    price, unit = Prices(swin, PSNR, 0.1, CPU)(image, torch.tensor([30.0]))
    assert 0.6 < price.item() < 1.6
    _, bits = swin(image, torch.tensor([30.0]), 0.1)
    assert unit.item() == pytest.approx(bits.item() / 128**2, rel=0.15)


def test_along_its_own_curve_a_crop_costs_the_same(swin):
    image, step = torch.from_numpy(make_rgb(128, 128)).float()[None], torch.tensor([40.0])
    price, _ = Prices(swin, EYE, 0.1, CPU)(image, step)
    assert LIMITS[0] < price.item() < LIMITS[1]
    costs = []
    for own in (step / RATIO, step * RATIO):
        decoded, bits = swin(image, own, 0.1)
        costs.append((bits / 128**2 + price * EYE.bits_per_pixel(image, decoded, step)).item())
    assert costs[0] == pytest.approx(costs[1], rel=1e-4)


def test_distortions_are_measured_in_full_precision(swin):
    """8 bits of a mean would leave nothing of a difference between two decoded crops."""
    image, step = torch.from_numpy(make_rgb(192, 192)).float()[None], torch.tensor([20.0])
    exact, half = (Prices(swin, TUNINGS["ms-ssim"], 0.1, engine)(image, step)[0].item() for engine in (CPU, HALF))
    assert half == pytest.approx(exact, rel=0.2)


def test_a_flat_crop_has_a_price_too(swin):
    price, unit = Prices(swin, EYE, 0.1, CPU)(torch.full((1, 128, 128, 3), 99.0), torch.tensor([3.0]))
    assert LIMITS[0] <= price.item() <= LIMITS[1] and 0 < unit.item() < 0.1


def test_prices_are_those_of_the_start(tmp_path):
    """What crops cost is asked of the start; steps change the model alone."""
    torch.manual_seed(0)
    config = TrainingConfig(crop=64, batch=2, relative=True, learning_rate=0.01, warmup=0)
    run = Run(package.load_training_model(registry.find("cnn")), config, tmp_path, CPU)
    before = {k: v.clone() for k, v in run.prices.model.state_dict().items()}
    step = run.step(Fresh(Crops([make_rgb(96, 96), ramp()], 1), 2, 64))
    step.optimiser.rate.fill_(0.01)
    step.weight.fill_(1.0)
    step()
    loss, rate = step.means()
    # of each crop, its bits and its distortion are shares of its own bits: as many as those and some more
    assert 1 < loss < 5 and rate > 0
    assert any((before[k] != v).any() for k, v in run.model.state_dict().items())
    assert all(torch.equal(before[k], v) for k, v in run.prices.model.state_dict().items())


def test_prices_may_be_those_of_another_model(tmp_path):
    priced = package.load_training_model(registry.find("vit"))
    config = TrainingConfig(crop=64, batch=2, relative=True)
    run = Run(package.load_training_model(registry.find("cnn")), config, tmp_path, CPU, priced=priced)
    for k, v in run.prices.model.state_dict().items():
        assert torch.equal(priced.state_dict()[k], v)
    assert run.prices.model.state_dict().keys() != run.model.state_dict().keys()


def test_each_picture_counts_alike():
    """Twice the bits in one picture and half of them in another are no change, whatever they are in bits."""
    reference = [[(0.1 * 2**k, 25.0 + 5 * k) for k in range(6)], [(0.001 * 2**k, 25.0 + 5 * k) for k in range(6)]]
    curves = [[(2 * r, q) for r, q in reference[0]], [(r / 2, q) for r, q in reference[1]]]
    assert validation.bd_rate_to_reference(reference, curves, PSNR) == pytest.approx(0, abs=1e-6)
    # what is decoded perfectly, or compared with nothing, is left out
    curves[0].append((9.0, math.inf))
    reference.append([(1.0, 60.0), (2.0, 70.0)])
    curves.append([(1.0, 60.0), (2.0, 70.0)])
    assert validation.bd_rate_to_reference(reference, curves, PSNR) == pytest.approx(0, abs=1e-6)
    with pytest.raises(ValueError, match="overlap"):
        validation.bd_rate_to_reference(reference[-1:], curves[-1:], PSNR)
    assert validation.mean_curve([[(1.0, 30.0)], [(3.0, 40.0)], [(9.0, math.inf)]]) == [(2.0, 35.0)]


# ---- parts of a model at rates of their own


def test_parts_are_trained_faster_or_slower_than_others():
    """The same gradients, updates by Muon and by Adam in the ratio of the factors."""
    torch.manual_seed(0)
    layer = torch.nn.Linear(8, 8)
    other, before = copy.deepcopy(layer), copy.deepcopy(layer.state_dict())
    for own, factors in ((layer, {}), (other, {"wei": 0.5, "bias": 10.0, "weight": 0.5})):
        optimiser = Optimiser(own.named_parameters(), torch.tensor(0.001), factors=factors)
        own(torch.ones(3, 8)).square().sum().backward()
        optimiser.step()
    moved = {k: ((v - before[k]), other.state_dict()[k] - before[k]) for k, v in layer.state_dict().items()}
    assert torch.allclose(moved["weight"][1], 0.25 * moved["weight"][0], atol=1e-7)
    assert torch.allclose(moved["bias"][1], 10 * moved["bias"][0], atol=1e-6)


def test_a_part_without_a_rate_stays_as_it_is(tmp_path):
    config = TrainingConfig(crop=64, batch=1, rates={"analysis": 0.0, "entropy": 0.0}, warmup=0)
    run = Run(package.load_training_model(registry.find("cnn")), config, tmp_path, CPU)
    before = {k: v.clone() for k, v in run.model.state_dict().items()}
    step = run.step(Fresh(Crops([make_rgb(96, 96)], 1), 1, 64))
    step.optimiser.rate.fill_(0.01)
    step()
    changed = {
        k.split(".")[0] + "." + k.split(".")[1] for k, v in run.model.state_dict().items() if (v != before[k]).any()
    }
    assert changed == {"autoencoder.synthesis", "autoencoder.gain", "autoencoder.inverse_gain"}


@pytest.mark.parametrize("text", ["encoder=1", "gains", "gains=-1", "gains=x", "=2", "gains=inf"])
def test_rates_not_understood(text):
    with pytest.raises(UsageError, match="not understood"):
        parse_rates([text])
    assert parse_rates(["gains=10", "analysis=0"]) == {"gains": 10, "analysis": 0}
