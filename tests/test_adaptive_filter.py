"""The adaptive filter: its integers, its chunk, its fit, and its place in the decoder."""

import random
from dataclasses import replace

import numpy as np
import pytest

from vitcodec.adaptive_filter import (
    PAIRS,
    REACH,
    SIZES,
    WEIGHT_LIMIT,
    AdaptiveFilter,
    FilterNumbers,
    no_filters,
    pack,
    unpack,
)
from vitcodec.analysis import forward
from vitcodec.errors import FormatError
from vitcodec.quality import step_of
from vitcodec.search import pixel_error
from vitcodec.search.filter_fit import FilterFit
from vitcodec.subbands import Subbands
from vitcodec.training.filters import fit_filters


def some_weights(seed: int, limit: int = WEIGHT_LIMIT) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    first, second, third = (rng.integers(-limit, limit + 1, (2, len(p))) for p in PAIRS)
    return first, second, third


def planes(seed: int, height: int, width: int) -> np.ndarray:
    """With values beyond what differences are clamped to."""
    rng = np.random.default_rng(seed)
    smooth = rng.normal(0, 300, (3, height, width)).cumsum(2)
    return (smooth + 20_000 * (rng.random(smooth.shape) > 0.99)).astype(np.int32)


def by_the_page(filter: AdaptiveFilter, x: np.ndarray) -> np.ndarray:
    """docs/format.md, pixel by pixel."""
    out = x[:, REACH:-REACH, REACH:-REACH].copy()
    x = np.clip(x, -8191, 8191).astype(int)
    for c, offsets in enumerate(PAIRS):
        for i in range(out.shape[1]):
            for j in range(out.shape[2]):
                middle, total = x[c, i + REACH, j + REACH], 128
                for (down, right), w, v in zip(offsets, *filter.weights[c].tolist(), strict=True):
                    for side in (1, -1):
                        d = x[c, i + REACH + side * down, j + REACH + side * right] - middle
                        total += w * d + v * max(min(d, filter.threshold), -filter.threshold)
                out[c, i, j] += total >> 8
    return out


def test_pairs_are_half_a_diamond():
    assert [len(p) for p in PAIRS] == [12, 6, 6]
    assert PAIRS[1] == [(0, 1), (0, 2), (1, -1), (1, 0), (1, 1), (2, 0)]


@pytest.mark.parametrize("threshold", [1, 40, 8191])
def test_computes_what_the_page_says(threshold):
    filter, x = AdaptiveFilter(threshold, some_weights(threshold)), planes(threshold, 17, 23)
    expected = by_the_page(filter, x)
    assert np.array_equal(filter(x), expected)
    assert np.array_equal(filter(x, threads=2), expected)


def test_largest_numbers_do_not_overflow():
    everywhere = tuple(np.full((2, len(p)), WEIGHT_LIMIT) for p in PAIRS)
    x = np.full((3, 13, 13), -(1 << 20), np.int32)
    x[:, ::2] = 1 << 20
    filter = AdaptiveFilter(8191, everywhere)
    assert np.array_equal(filter(x), by_the_page(filter, x))


def test_chunk_round_trip():
    base = AdaptiveFilter(9, tuple(np.zeros((2, len(p)), np.int32) for p in PAIRS))
    for seed, limit in enumerate((0, 1, 3, 20, WEIGHT_LIMIT)):
        changes = some_weights(seed, limit)
        found = unpack(pack(changes), base)
        assert found.threshold == 9
        assert all(np.array_equal(a, b) for a, b in zip(found.weights, changes, strict=True))
    assert len(pack(some_weights(0, 0))) == 3  # six groups of zeros, three bits each


def test_changes_are_added():
    base = AdaptiveFilter(9, some_weights(1, 50))
    found = unpack(pack(some_weights(2, 50)), base)
    assert all(
        np.array_equal(f, a + b) for f, a, b in zip(found.weights, base.weights, some_weights(2, 50), strict=True)
    )


def test_damaged_chunks_are_refused():
    zero = AdaptiveFilter(9, tuple(np.zeros((2, len(p)), np.int32) for p in PAIRS))
    good = pack(some_weights(3))
    full = AdaptiveFilter(9, tuple(np.full((2, len(p)), WEIGHT_LIMIT) for p in PAIRS))
    for payload, base in ((good[:-1], zero), (good + b"\0", zero), (b"", zero), (b"\0" * 40, zero), (good, full)):
        with pytest.raises(FormatError, match="filter is damaged"):
            unpack(payload, base)
    rng = random.Random(0)
    for _ in range(300):  # any bytes: a filter or that error
        payload = rng.randbytes(rng.randrange(60))
        try:
            found = unpack(payload, zero)
        except FormatError:
            continue
        assert max(np.abs(w).max() for w in found.weights) <= WEIGHT_LIMIT
        assert unpack(pack(found.weights), zero).weights[0].tolist() == found.weights[0].tolist()


def noisy(seed: int) -> tuple[Subbands, Subbands]:
    """A smooth picture's coefficients, and an error like grain."""
    y, x = np.mgrid[:96, :96]
    picture = np.stack([128 + 60 * np.sin(x / 17), 120 + y, 100 + 0.5 * x], -1)
    noise = np.random.default_rng(seed).normal(0, 3, picture.shape)
    original = forward(picture.clip(0, 255))
    return original, forward((picture + noise).clip(0, 255)).combine(np.subtract, original)


def test_fit_takes_grain_off():
    original, errors = noisy(0)
    base = no_filters().at(50)
    fit = FilterFit(replace(base, threshold=200), 1.0)
    fit.add(pixel_error.Shown.of(original, pixel_error.in_pixels(errors), 1.0))
    changes = fit.solve()
    assert changes is not None
    filter = unpack(pack(changes), replace(base, threshold=200))

    def energy(planes: np.ndarray) -> float:
        return float(np.square(planes[:, 8:-8, 8:-8], dtype=np.float64).sum())

    wanted = pixel_error.in_pixels(original)
    decoded = np.rint(32 * (wanted + pixel_error.in_pixels(errors))).astype(np.int32)
    filtered = filter(np.pad(decoded, ((0, 0), (REACH, REACH), (REACH, REACH)), mode="edge"))
    assert energy(filtered / 32 - wanted) < 0.5 * energy(decoded / 32 - wanted)


def test_fit_sends_nothing_that_is_not_worth_its_bits():
    original, errors = noisy(1)
    fit = FilterFit(no_filters().at(50), 1e-6)
    fit.add(pixel_error.Shown.of(original, pixel_error.in_pixels(errors), 1.0))
    assert fit.solve() is None
    plain = FilterFit(no_filters().at(50), 1.0)
    nothing = original.map(np.zeros_like)
    plain.add(pixel_error.Shown.of(nothing, pixel_error.in_pixels(nothing), 1.0))
    assert plain.solve() is None


def test_numbers_by_quality():
    rows = np.arange(100)[:, None] % 3 + np.zeros((100, sum(SIZES)))
    numbers = FilterNumbers(np.arange(1, 101, dtype=np.int32), rows.astype(np.int8))
    filter = numbers.at(8)
    assert filter.threshold == 8
    assert [w.shape for w in filter.weights] == [(2, 12), (2, 6), (2, 6)]
    assert all((w == 1).all() for w in filter.weights)


def test_filters_of_a_model_take_its_grain_off():
    """A decoder that adds grain gets filters that take some of it off, at the steps that were seen."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :96]
    rgb = np.stack([128 + 60 * np.sin(x / 17), 120 + y, 100 + 0.5 * x], -1).clip(0, 255).astype(np.uint8)
    noise = forward((128 + rng.normal(0, 3, rgb.shape)).clip(0, 255))

    class Grainy:
        def step(self, quality: int) -> float:
            return step_of(quality)

        def corrected(self, tokens: Subbands, quality: int) -> Subbands:
            return forward(rgb).combine(np.add, noise).map(lambda t: t / np.float32(step_of(quality)))

    nothing = noise.map(lambda t: np.zeros_like(t, np.int32))
    found = fit_filters(Grainy(), [(rgb, nothing, 40), (rgb, nothing, 60)])
    assert found.weights.shape == (100, sum(SIZES))
    assert found.weights[49].astype(int).sum() > 60
    assert (np.diff(found.thresholds) <= 0).all()
