"""Training by what a crop's distortion costs in its own bits, and validation that counts each picture alike."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from conftest import make_rgb

from vitcodec.distortion import TUNINGS
from vitcodec.pretrained import registry
from vitcodec.training import package, validation
from vitcodec.training.config import TrainingConfig
from vitcodec.training.data import Crops
from vitcodec.training.engine import Engine
from vitcodec.training.judge import APART, LIMITS, Judge
from vitcodec.training.loop import Run
from vitcodec.training.samples import Fresh

PSNR, EYE = TUNINGS["psnr"], TUNINGS["ssimulacra2"]


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
    price, unit = Judge(swin, PSNR, 0.1)(image, torch.tensor([30.0]))
    assert 0.6 < price.item() < 1.6
    _, bits = swin(image, torch.tensor([30.0]), 0.1)
    assert unit.item() == pytest.approx(bits.item() / 128**2, rel=0.15)


def test_along_its_own_curve_a_crop_costs_the_same(swin):
    image, step = torch.from_numpy(make_rgb(128, 128)).float()[None], torch.tensor([40.0])
    price, _ = Judge(swin, EYE, 0.1)(image, step)
    assert LIMITS[0] < price.item() < LIMITS[1]
    costs = []
    for own in (step / APART, step * APART):
        decoded, bits = swin(image, own, 0.1)
        costs.append((bits / 128**2 + price * EYE.bits_per_pixel(image, decoded, step)).item())
    assert costs[0] == pytest.approx(costs[1], rel=1e-4)


def test_a_flat_crop_has_a_price_too(swin):
    price, unit = Judge(swin, EYE, 0.1)(torch.full((1, 128, 128, 3), 99.0), torch.tensor([3.0]))
    assert LIMITS[0] <= price.item() <= LIMITS[1] and 0 < unit.item() < 0.1


def test_a_judge_stays_as_it_is(tmp_path):
    """What crops cost is asked of the start; steps change the model alone."""
    torch.manual_seed(0)
    config = TrainingConfig(crop=64, batch=2, relative=True, learning_rate=0.01, warmup=0)
    run = Run(package.load_training_model(registry.find("cnn")), config, tmp_path, Engine(torch.device("cpu")))
    before = {k: v.clone() for k, v in run.judge.model.state_dict().items()}
    step = run.step(Fresh(Crops([make_rgb(96, 96), ramp()], 1), 2, 64))
    step.optimiser.rate.fill_(0.01)
    step.weight.fill_(1.0)
    step()
    loss, rate = step.means()
    # of each crop, its bits and its distortion are shares of its own bits: as many as those and some more
    assert 1 < loss < 5 and rate > 0
    assert any((before[k] != v).any() for k, v in run.model.state_dict().items())
    assert all(torch.equal(before[k], v) for k, v in run.judge.model.state_dict().items())


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
