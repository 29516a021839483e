"""The search for batches, in torch: what it finds costs less, and its parts are those of search/."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from small_context import float_model

from vitcodec.models.autoencoder import Autoencoder
from vitcodec.quality import round_tokens
from vitcodec.search.moves import best_near
from vitcodec.search.tuning import ENERGY, SQUARED_ERROR
from vitcodec.subbands import Subbands
from vitcodec.training import batched_search
from vitcodec.training.batched_search import BatchedSearch
from vitcodec.training.model import TrainingModel

STEPS = torch.tensor([12.0, 40.0, 120.0])


@pytest.fixture(scope="module")
def model() -> TrainingModel:
    return TrainingModel(Autoencoder(), copy.deepcopy(float_model())).requires_grad_(False)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    noise = np.random.default_rng(0).normal(0, 30, (3, 64, 96, 3)).cumsum(1).cumsum(2) / 20
    return torch.from_numpy(128 + noise - noise.mean((1, 2), keepdims=True)).float().clamp(0, 255)


def cost(model: TrainingModel, image: torch.Tensor, step: torch.Tensor, tokens: Subbands) -> torch.Tensor:
    """J of each image as the training model has it, with the search's weight of the distortion."""
    decoded, bits = model(image, step, 0.0, tokens=tokens)
    weight = BatchedSearch(model)._error_weight(step) / step**2
    return bits + weight * (decoded - image).square().sum((1, 2, 3))


def test_the_cost_falls_with_every_round(model, images):
    tokens = round_tokens(model.autoencoder.encode(images, STEPS), 0.09).map(torch.Tensor.float)
    costs = [cost(model, images, STEPS, tokens)]
    for rounds in (1, 3):
        found = BatchedSearch(model, rounds)(images, STEPS, tokens)
        assert all(torch.equal(t, t.round()) for t in found) and not any(t.requires_grad for t in found)
        costs.append(cost(model, images, STEPS, found))
    assert (costs[1] < 0.995 * costs[0]).all() and (costs[2] < costs[1]).all()
    # each image is searched for by itself
    alone = BatchedSearch(model, 3)(images[1:2], STEPS[1:2], Subbands(*_of(tokens, 1)))
    torch.testing.assert_close(cost(model, images[1:2], STEPS[1:2], alone), costs[2][1:2], rtol=1e-3, atol=0)


def test_what_sites_cost_is_what_the_picture_costs(model, images):
    tokens = round_tokens(model.autoencoder.encode(images, STEPS), 0.09).map(torch.Tensor.float)
    _, costs, sites = BatchedSearch(model)._evaluate(images, STEPS, tokens, slopes=False)
    torch.testing.assert_close(sites.sum((1, 2)), cost(model, images, STEPS, tokens), rtol=1e-4, atol=0)
    for level, flags in costs.flags.items():  # values of unflagged blocks cost nothing and cannot change
        unflagged = batched_search._doubled(flags[..., 0]) == 0
        assert unflagged.any() and not costs.own[level][..., :3][unflagged].any()
        assert not costs.up[level][..., :3][unflagged].any()


def test_slopes_are_those_of_the_cost(model, images):
    image, step = images[:1], torch.tensor([40.0])
    tokens = round_tokens(model.autoencoder.encode(image, step), 0.09).map(torch.Tensor.float)
    slopes, costs, _ = BatchedSearch(model)._evaluate(image, step, tokens, slopes=True)
    before, ratios = cost(model, image, step, tokens), []
    places = (tokens[3][0] != 0).nonzero()[::12]
    for y, x, c in places.tolist():
        moved = tokens.map(torch.clone)
        moved[3][0, y, x, c] += 1
        true = cost(model, image, step, moved) - before
        bend = BatchedSearch(model)._error_weight(step) * float(ENERGY[3].mean())
        predicted = slopes[3][0, y, x, c] + costs.up[3][0, y, x, c] + bend
        ratios.append((true.item(), predicted.item()))
    true, predicted = np.array(ratios).T
    assert len(true) > 10 and np.corrcoef(true, predicted)[0, 1] > 0.9


def test_neighbourhoods_are_those_of_the_search():
    gain = torch.rand(3, 10, 14, generator=torch.Generator().manual_seed(0)) * (torch.rand(3, 10, 14) < 0.5)
    for crowding in (0.3, 0.6, 1.0, None):
        found = batched_search._best_near(gain, STEPS, crowding)
        for own, one, step in zip(found, gain, STEPS.tolist(), strict=True):
            expected = best_near(one.numpy(), *SQUARED_ERROR.neighbourhood(step), crowding)
            np.testing.assert_allclose(own.numpy(), expected, rtol=1e-6)


def _of(tokens: Subbands, k: int) -> tuple:
    low, *details = (t[k : k + 1] for t in tokens)
    return low, tuple(details)
