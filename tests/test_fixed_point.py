"""The inverse wavelet and colours in fixed point: close to the transform in floating point."""

from __future__ import annotations

import numpy as np
import torch
from conftest import make_rgb

from vitcodec import fixed_point, wavelet


def planes(bands):
    scaled = bands.map(lambda t: torch.round(t * (1 << fixed_point.FRACTION_BITS)).int().numpy())
    return fixed_point.planar(scaled.low), [fixed_point.planar(d) for d in reversed(scaled.details)]


def test_a_picture_comes_back():
    rgb = make_rgb(160, 96)
    low, details = planes(wavelet.forward(torch.from_numpy(rgb)[None].float()))
    one = fixed_point.to_rgb(fixed_point.inverse(low, details))
    assert np.abs(one.astype(int) - rgb).max() <= 1 and np.mean(one != rgb) < 0.01


def test_the_parts_that_are_worked_on_do_not_matter(monkeypatch):
    low, details = planes(wavelet.forward(torch.from_numpy(make_rgb(96, 160))[None].float()))
    one = fixed_point.inverse(low, details)
    monkeypatch.setattr(fixed_point, "PART", 64)
    np.testing.assert_array_equal(fixed_point.inverse(low, details), one)


def test_reduced_sizes_are_those_of_the_float_transform():
    bands = wavelet.forward(torch.from_numpy(make_rgb(64, 96))[None].float())
    low, details = planes(bands)
    for reduce in range(1, 5):
        wanted = wavelet.inverse(bands, reduce)[0].round().clamp(0, 255).numpy()
        got = fixed_point.to_rgb(fixed_point.inverse(low, details[: 4 - reduce]), reduce)
        assert np.abs(got - wanted).max() <= 1


def test_gray_is_the_mean_of_the_colours():
    rgb = np.repeat(make_rgb(48, 48)[..., :1], 3, -1)
    low, details = planes(wavelet.forward(torch.from_numpy(rgb)[None].float()))
    gray = fixed_point.to_rgb(fixed_point.inverse(low, details), gray=True)
    assert (gray[..., 0] == gray[..., 1]).all() and np.abs(gray.astype(int) - rgb).max() <= 1


def test_saturated_corners_do_not_overflow():
    y, x = np.mgrid[:64, :64]
    rgb = np.where(((y // 8 + x // 8) % 2 == 0)[..., None], [255, 0, 255], [0, 255, 0]).astype(np.uint8)
    low, details = planes(wavelet.forward(torch.from_numpy(rgb)[None].float()))
    got = fixed_point.to_rgb(fixed_point.inverse(low, details))
    assert np.abs(got.astype(int) - rgb).max() <= 1


def test_hostile_coefficients_give_some_picture():
    rng = np.random.default_rng(0)
    low = rng.integers(-(2**31), 2**31, (3, 4, 4)).astype(np.int32)
    details = [rng.integers(-(2**31), 2**31, (9, 4 << k, 4 << k)).astype(np.int32) for k in range(4)]
    assert fixed_point.to_rgb(fixed_point.inverse(low, details)).shape == (64, 64, 3)
