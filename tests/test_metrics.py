"""PSNR, SSIM and MS-SSIM against known values and their own definitions."""

import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.image import (
    multiscale_structural_similarity_index_measure,
    structural_similarity_index_measure,
)

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
    # the widest difference, which 8-bit arithmetic would wrap
    assert metrics.psnr(np.zeros_like(a), np.full_like(a, 255)) == 0


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


# ---- torchmetrics is the reference, in float64: in float32 it differs from itself by more than this module does

SIZES = [(176, 176), (177, 203), (256, 181)]  # (height, width); the first is the smallest for MS-SSIM


def pairs_of_pictures(height, width):
    rng = np.random.default_rng(7)
    y, x = np.mgrid[:height, :width]
    smooth = np.stack((x, y, x + y), -1) % 256
    noise = rng.integers(0, 256, (height, width, 3))
    text = np.where((x // 3 + y // 5)[..., None] % 4 == 0, 0, 255) * np.ones(3, int)
    flat = np.full((height, width, 3), 251)
    yield "smooth", smooth, smooth + rng.normal(0, 4, smooth.shape)
    yield "noise", noise, noise + rng.normal(0, 30, noise.shape)
    yield "text", text, 0.8 * text + 20
    yield "nearly flat and bright", flat, flat + rng.integers(0, 2, flat.shape)
    yield "inverted", noise, 255 - noise


def tensors(*images):
    return [torch.from_numpy(image.astype(np.float64)).permute(2, 0, 1)[None] for image in images]


@pytest.mark.parametrize(("height", "width"), [*SIZES, (11, 11), (12, 40)])
def test_ssim_and_ms_ssim_are_those_of_torchmetrics(height, width):
    for name, *images in pairs_of_pictures(height, width):
        a, b = (np.clip(np.round(image), 0, 255).astype(np.uint8) for image in images)
        expected = structural_similarity_index_measure(*tensors(a, b), data_range=255.0).item()
        assert metrics.ssim(a, b) == pytest.approx(expected, abs=1e-6), name
        if min(height, width) >= metrics.MS_SSIM_SIDE:
            expected = multiscale_structural_similarity_index_measure(*tensors(a, b), data_range=255.0).item()
            assert metrics.ms_ssim(a, b) == pytest.approx(expected, abs=1e-6), name


def test_the_gradient_of_ms_ssim_is_that_of_torchmetrics():
    pictures = [images for name, *images in pairs_of_pictures(180, 192) if name in ("smooth", "noise")]
    a, b = (torch.cat(t) for t in zip(*(tensors(*images) for images in pictures), strict=True))
    gradients = []
    for measure in (
        lambda x: multiscale_structural_similarity_index_measure(a, x, data_range=255.0, reduction="none"),
        lambda x: metrics.ms_ssim_tensor(a, x),
    ):
        x = b.clone().requires_grad_()
        (measure(x) * torch.tensor([1.0, 2.0])).sum().backward()
        gradients.append(x.grad)
    assert torch.allclose(*gradients, rtol=1e-6, atol=1e-12) and gradients[0].abs().max() > 0


def test_a_scale_of_opposite_structure_gives_zero_and_no_gradient():
    noise = np.random.default_rng(0).integers(0, 256, (176, 176, 3))
    a, b = tensors(noise, 255 - noise)
    x = b.clone().requires_grad_()
    value = metrics.ms_ssim_tensor(a, x)
    value.sum().backward()
    assert value.item() == 0 and not x.grad.isnan().any()


def test_importing_the_module_imports_no_torch():
    code = "import sys, vitcodec.metrics; print('torch' in sys.modules)"
    environment = os.environ | {"PYTHONPATH": str(Path(metrics.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout.strip() == "False"
