"""The gradient of the distortion through the decoder's network, as a graph, beside that of torch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from vitcodec.analysis import round_tokens
from vitcodec.engines.onnx import OnnxEngine
from vitcodec.integer.layers import WEIGHT_LIMIT
from vitcodec.pipeline import loading
from vitcodec.pretrained import integer_model, registry
from vitcodec.search import adjoint
from vitcodec.search.adjoint import Adjoint, Exact, weights_of
from vitcodec.search.gradient import Gradient
from vitcodec.search.measures import Target
from vitcodec.search.proposals import Proposals, known_slopes
from vitcodec.subbands import Subbands
from vitcodec.tiles import Area
from vitcodec.training.adjoint import adjoint_graph

AREA = Area(0, 0, 10, 8)


class Distortion(Gradient):
    """The gradient of the distortion alone."""

    def _rate(self, q, quality):
        return torch.zeros(())


@pytest.fixture(scope="module")
def model():
    config = registry.find("swin")
    return integer_model.load(config.files[0], config.synthesis, config.context)


@pytest.fixture(scope="module")
def swin():
    return loading.load(registry.find("swin"), "cpu", 1).encoder


@pytest.fixture(scope="module")
def own(model) -> Adjoint:
    engine = OnnxEngine({adjoint.NETWORK: adjoint_graph(model.synthesis, model.shape)})
    engine.supply(adjoint.NETWORK, lambda: weights_of(model.synthesis, model.shape))
    return Adjoint(lambda *maps: engine.run(adjoint.NETWORK, *maps), model.dequantiser)


def searched(swin, quality: int, name: str = "chelsea.png"):
    """A target, the state of its rounded tokens, weights."""
    with Image.open(Path(__file__).parent.parent / "examples" / name) as image:
        rgb = np.asarray(image.convert("RGB").crop((150, 80, 150 + 16 * AREA.w, 80 + 16 * AREA.h)))
    latents, original = swin.analysis.with_coefficients(rgb, AREA, AREA, quality)
    target = Target(original, latents, quality, [AREA])
    evaluate = swin.searches.search(2).evaluate
    return target, evaluate(target, round_tokens(latents, 0.09)), evaluate.weights(quality)


def distances(a: Subbands, b: Subbands) -> list[float]:
    return [float(np.linalg.norm(x - y)) for x, y in a.zip(b)]


@pytest.mark.parametrize("quality", [10, 60])
def test_it_is_the_gradient_of_the_distortion(model, swin, own, quality):
    target, state, weights = searched(swin, quality)
    true, known = Distortion(model)(target, state, weights), known_slopes(state, weights)
    found = known_slopes(replace(state, felt=own(target, state)), weights)
    for close, far in zip(distances(found, true), distances(known, true), strict=True):
        assert close < 0.5 * far


def test_parts_are_about_what_the_whole_is(monkeypatch, swin, own):
    target, state, _ = searched(swin, 30)
    whole = own(target, state)
    monkeypatch.setattr(adjoint, "MOST", 1)
    monkeypatch.setattr(adjoint, "LEAST_ROWS", 5)
    for close, far in zip(distances(own(target, state), whole), distances(state.felt, whole), strict=True):
        assert 0 < close < 0.2 * far


def test_its_weights_are_those_of_the_decoder(model):
    weights = weights_of(model.synthesis, model.shape)
    layer = model.synthesis["to8"]
    real = layer.weight[:, 0, 0] * 2.0 ** -layer.shift[:, None].astype(float)
    np.testing.assert_allclose((weights["to8.w"] * weights["to8.ws"]).T, real)
    unit = np.abs(real).max(0) / WEIGHT_LIMIT
    assert (np.abs(weights["to8.t"] * weights["to8.ts"] - real) <= 0.51 * unit).all()
    mix = model.synthesis["down4.0.mix"]
    np.testing.assert_allclose(weights["down4.0.mix.t"][:, 0, ::-1, ::-1], weights["down4.0.mix.w"][:, 0])
    np.testing.assert_allclose(weights["down4.0.mix.b"], mix.bias * 2.0 ** -mix.shift.astype(float), rtol=1e-6)


def test_proposals_beside_it_start_from_it(swin, own):
    target, state, weights = searched(swin, 30)
    seen = []

    def network(*maps):
        seen.append(maps)
        h, w = AREA.h, AREA.w
        shapes = (4 * h, 4 * w, 45), (2 * h, 2 * w, 9), (h, w, 12)
        return [*(np.ones((1, *shape), np.float32) for shape in shapes), np.full((1, 45), 2, np.float32)]

    found = Exact(own, Proposals(network))(target, state, weights)
    exact = known_slopes(replace(state, felt=own(target, state)), weights)
    for a, b in found.zip(exact):
        np.testing.assert_allclose(a, 2 * b + 1, rtol=1e-4, atol=1e-4)
    assert len(seen) == 1


def test_the_gradient_with_it_is_about_that_of_the_decoder(model, swin, own):
    target, state, weights = searched(swin, 30)
    true, found = Gradient(model)(target, state, weights), Gradient(model, adjoint=own)(target, state, weights)
    known = known_slopes(state, weights)
    for close, far in zip(distances(found, true), distances(known, true), strict=True):
        assert 0 < close < 0.4 * far


def test_rounds_with_it_lower_the_cost_more(swin):
    """Than those by proposals alone, on most photographs."""
    search = swin.searches.search(4)
    assert search.exact is not None and search.config.exact == 2
    plain, ratios = replace(search, exact=None), []
    for name in ("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg"):
        target, state, _ = searched(swin, 12, name)
        exact, alone = (s.evaluate(target, s(target, state.tokens)).cost for s in (search, plain))
        assert max(exact, alone) < state.cost
        ratios.append(exact / alone)
    assert np.mean(ratios) < 0.998
