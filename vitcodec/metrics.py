"""How far a decoded image is from its original: PSNR, SSIM and MS-SSIM of 8-bit RGB arrays.

Every function takes two uint8 arrays (H, W, 3) of one shape and raises ValueError for others. An image too small for a measure has none:
the result is NaN, and reports leave it out of their means.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

PEAK = 255
SSIM_SIDE = 11  # the least side in pixels: that of SSIM's Gaussian window
MS_SSIM_SIDE = 176  # the least side in pixels for which torchmetrics computes five scales: 16 * 11


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, one mean squared error over all pixels and the three colours; inf for identical images."""
    _check(a, b)
    # in rows, so that a large image needs no second copy of itself in wider integers
    error = sum(int(np.square(x.astype(np.int32) - y).sum(dtype=np.int64)) for x, y in zip(a, b, strict=True))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 * a.size / error)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity, 1 for identical images, mean of the three colours; NaN where a side is below 11 pixels.

    Gaussian window of 11x11, sigma 1.5, by torchmetrics. Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error
    visibility to structural similarity", 2004.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    _check(a, b)
    if min(a.shape[:2]) < SSIM_SIDE:
        return math.nan
    return float(structural_similarity_index_measure(_tensor(a), _tensor(b), data_range=PEAK))  # type: ignore[arg-type] # no tuple without full image


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity, 1 for identical images, mean of the three colours; NaN where a side is below 176 pixels.

    Five scales with the usual weights, by torchmetrics. Source: Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality
    assessment", 2003.
    """
    _check(a, b)
    if min(a.shape[:2]) < MS_SSIM_SIDE:
        return math.nan
    return ms_ssim_tensor(_tensor(a), _tensor(b)).item()


def ms_ssim_tensor(a: Tensor, b: Tensor) -> Tensor:
    """The same of each pair of images, (B, 3, H, W) in 0..255 with sides of at least 176 -> (B,), with a gradient."""
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    return multiscale_structural_similarity_index_measure(a, b, data_range=PEAK, reduction="none")


def ms_ssim_decibels(value: float) -> float:
    """MS-SSIM on the scale on which it is plotted and interpolated: -10 log10(1 - MS-SSIM)."""
    return math.inf if value >= 1 else -10 * math.log10(1 - value)


def _check(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3 or a.dtype != np.uint8 or b.dtype != np.uint8:
        raise ValueError(
            f"two uint8 arrays (H, W, 3) of one shape are needed, not {a.dtype} {a.shape} and {b.dtype} {b.shape}"
        )


def _tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32."""
    import torch

    return torch.from_numpy(image.astype(np.float32)).permute(2, 0, 1)[None]
