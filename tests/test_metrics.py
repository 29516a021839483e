"""PSNR, SSIM and MS-SSIM against known values and their own definitions."""

import math

import numpy as np
import pytest

from vitcodec import metrics


def noisy(height, width, amplitude, seed=0):
    generator = np.random.default_rng(seed)
    ramp = np.linspace(30, 220, height * width * 3).reshape(height, width, 3)
    noise = generator.integers(-amplitude, amplitude + 1, ramp.shape) if amplitude else 0
    return np.clip(np.round(ramp) + noise, 0, 255).astype(np.uint8)


def test_psnr_of_a_constant_difference():
    a = np.full((7, 9, 3), 100, np.uint8)
    assert metrics.psnr(a, a + 1) == pytest.approx(48.1308, abs=1e-4)  # 20 log10(255)
    assert metrics.psnr(a, a - 5) == pytest.approx(20 * math.log10(255 / 5))
    assert (
        metrics.psnr(np.zeros_like(a), np.full_like(a, 255)) == 0
    )  # the widest difference, which 8-bit arithmetic would wrap


def test_psnr_pools_the_three_colours():
    a = np.zeros((4, 4, 3), np.uint8)
    b = a.copy()
    b[..., 0] = 3  # mean squared error 9 / 3
    assert metrics.psnr(a, b) == pytest.approx(10 * math.log10(255**2 / 3))


def test_identical_images():
    a = noisy(200, 180, 20)
    assert metrics.psnr(a, a) == math.inf
    assert metrics.ssim(a, a) == pytest.approx(1, abs=1e-6)
    assert metrics.ms_ssim(a, a) == pytest.approx(1, abs=1e-6)


def test_ssim_of_flat_images_is_the_luminance_term():
    a, b = np.full((32, 40, 3), 0, np.uint8), np.full((32, 40, 3), 5, np.uint8)
    c1 = (0.01 * 255) ** 2  # dark images show it: a data range taken from them would give 0.0001
    assert metrics.ssim(a, b) == pytest.approx(c1 / (5**2 + c1), abs=1e-4)


def test_more_noise_is_worse():
    original = noisy(180, 190, 0)
    little, much = noisy(180, 190, 4, seed=1), noisy(180, 190, 40, seed=1)
    for measure in (metrics.psnr, metrics.ssim, metrics.ms_ssim):
        assert measure(original, much) < measure(original, little)


@pytest.mark.parametrize(
    ("side", "ssim", "ms_ssim"),
    [(1, False, False), (10, False, False), (11, True, False), (175, True, False), (176, True, True)],
)
def test_small_images_have_no_ssim(side, ssim, ms_ssim):
    a, b = noisy(side, 180, 0), noisy(side, 180, 9)
    assert math.isfinite(metrics.psnr(a, b))
    assert math.isnan(metrics.ssim(a, b)) != ssim
    assert math.isnan(metrics.ms_ssim(a, b)) != ms_ssim


@pytest.mark.parametrize("measure", [metrics.psnr, metrics.ssim, metrics.ms_ssim])
def test_what_is_no_pair_of_images_is_refused(measure):
    a = noisy(20, 20, 0)
    for b in (a[:, :10], a[..., 0], a.astype(np.float32)):
        with pytest.raises(ValueError, match="uint8"):
            measure(a, b)
