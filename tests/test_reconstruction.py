"""Tokens to pixels in integers: any area comes out as in the whole picture, whatever was decoded before."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_model import small_filters
from test_enhancement import small_layers
from test_integer import small_synthesis

from vitcodec import dequantiser as units
from vitcodec import reconstruction, wavelet
from vitcodec.dequantiser import Dequantiser, log_table
from vitcodec.engines.reference import ReferenceEngine
from vitcodec.enhancement import Enhancement
from vitcodec.integer.catalogue import synthesis_networks
from vitcodec.integer.enhancement import enhancement_network, reach
from vitcodec.integer.synthesis import middle_reach
from vitcodec.reconstruction import Reconstruction
from vitcodec.subbands import Subbands
from vitcodec.tiles import Area, crop

WHOLE = Area(0, 0, 14, 10)


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(reconstruction, "MIDDLE", 4)
    monkeypatch.setattr(reconstruction, "MIDDLE_HALO", 2)


def dequantiser():
    gains = np.full((100, 5, 9), 1 << units.GAIN_BITS, np.int32)
    steps = np.rint(np.geomspace(200, 3, 100) * (1 << units.STEP_FACTOR_BITS)).astype(np.int32)
    return Dequantiser(gains, steps, np.arange(100, dtype=np.uint8), log_table())


def small_enhancement(blocks=6):
    """With the longest reach that there may be."""
    layers = small_layers(np.random.default_rng(7), 8, blocks)
    engine = ReferenceEngine({"enhancement": enhancement_network(layers)})
    return Enhancement(lambda x: engine.run("enhancement", x), reach(layers), dequantiser())


def random_tokens(rng, whole, spread=3):
    def band(scale, channels):
        return np.rint(rng.laplace(0, spread, (1, whole.h * scale, whole.w * scale, channels))).astype(np.int32)

    return Subbands(band(1, 3), tuple(band(1 << (4 - level), 9) for level in range(1, 5)))


def make(tokens, whole, qualities, zero=False):
    layers, shape = small_synthesis(np.random.default_rng(4))
    if zero:  # a network that corrects nothing
        layers = {
            name: layer
            if not name.startswith("output")
            else type(layer)(0 * layer.weight, 0 * layer.bias, layer.shift, True, True)
            for name, layer in layers.items()
        }
    engine = ReferenceEngine(synthesis_networks(layers, shape))
    return Reconstruction(engine, dequantiser(), whole, qualities, lambda area: crop(tokens, area))


@pytest.mark.parametrize("enhanced", [False, True])
@pytest.mark.parametrize("filtered", [False, True])
@pytest.mark.parametrize("qualities", [np.array([[60]]), "mixed"])
def test_an_area_is_the_same_as_in_the_whole(small_blocks, qualities, filtered, enhanced):
    rng = np.random.default_rng(0)
    if isinstance(qualities, str):
        qualities = rng.integers(1, 101, (WHOLE.h, WHOLE.w))
    tokens, filter = random_tokens(rng, WHOLE), small_filters().at(60) if filtered else None
    enhancement = small_enhancement() if enhanced else None

    def picture():
        return replace(make(tokens, WHOLE, qualities), filter=filter, enhancement=enhancement)

    whole = picture().pixels(WHOLE)
    assert whole.std() > 10
    assert (filtered or enhanced) == bool((whole != make(tokens, WHOLE, qualities).pixels(WHOLE)).any())
    for area in (Area(2, 0, 4, 6), Area(5, 3, 9, 7), Area(0, 8, 2, 2)):
        part = picture().pixels(area)
        inner = whole[16 * area.y : 16 * (area.y + area.h), 16 * area.x : 16 * (area.x + area.w)]
        np.testing.assert_array_equal(part, inner)


def test_blocks_that_were_forgotten_are_computed_again(small_blocks):
    tokens = random_tokens(np.random.default_rng(1), WHOLE)
    one = make(tokens, WHOLE, np.array([[50]]))
    whole = one.pixels(WHOLE)
    for block in WHOLE.blocks(4):
        inner = whole[16 * block.y : 16 * (block.y + block.h), 16 * block.x : 16 * (block.x + block.w)]
        one.forget(block.y)
        np.testing.assert_array_equal(one.pixels(block), inner)
    assert len(one._down.kept) < len(WHOLE.blocks(4))


@pytest.mark.parametrize("quality", [20, 70, 100])
def test_without_corrections_it_is_the_wavelet(quality):
    whole = Area(0, 0, 4, 6)
    tokens = random_tokens(np.random.default_rng(2), whole, 1.0)
    one = make(tokens, whole, np.array([[quality]]), zero=True)
    step = one.dequantiser.steps[quality - 1] / (1 << units.STEP_FACTOR_BITS)
    bands = tokens.map(lambda t: torch.from_numpy(t).float() * step)
    wanted = wavelet.inverse(bands)[0].round().clamp(0, 255).numpy()
    assert np.abs(one.pixels(whole) - wanted).max() <= 1
    for reduce in (1, 3, 4):
        wanted = wavelet.inverse(bands, reduce)[0].round().clamp(0, 255).numpy()
        reduced = replace(one, reduce=reduce).pixels(whole)
        assert np.abs(reduced.astype(int) - wanted).max() <= 1


def test_extreme_tokens_give_some_picture():
    whole = Area(0, 0, 2, 2)
    tokens = random_tokens(np.random.default_rng(3), whole).map(lambda t: np.sign(t) * (1 << 15))
    assert make(tokens, whole, np.array([[1]])).pixels(whole).shape == (32, 32, 3)


@pytest.mark.parametrize("shown", [Area(19, 19, 1, 2), Area(0, 30, 2, 6), Area(40, 0, 4, 10)])
def test_a_region_needs_no_more_than_the_network_sees(monkeypatch, shown):
    monkeypatch.setattr(reconstruction, "MIDDLE", 20)
    monkeypatch.setattr(reconstruction, "MIDDLE_HALO", 4)
    large = Area(0, 0, 44, 36)
    tokens, reach = random_tokens(np.random.default_rng(5), large), 5
    asked = []

    def tokens_of(area):
        asked.append(area)
        return crop(tokens, area)

    whole = make(tokens, large, np.array([[50]]))
    limited = replace(whole, tokens=tokens_of, shown=shown, reach=reach)
    wanted = whole.pixels(large)[16 * shown.y : 16 * (shown.y + shown.h), 16 * shown.x : 16 * (shown.x + shown.w)]
    for strip in limited.strips():
        for block in strip:
            limited.prepare(block)
    np.testing.assert_array_equal(limited.pixels(shown), wanted)
    needed = reconstruction.seen(shown, large, reach)
    assert all(area.overlap(needed) == area for area in asked)
    assert needed.h * needed.w < large.h * large.w


def test_the_reach_of_the_middle_is_that_of_its_layers():
    layers, _ = small_synthesis(np.random.default_rng(4))
    assert middle_reach(layers) == 5
