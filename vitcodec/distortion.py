"""Distortion: what training, validation and the encoder's search minimise beside the rate, one object per tuning.

The cost of a picture is J = lambda D + R in bits. A Distortion knows lambda D, for batches with a gradient, and the
same measure in dB for reports.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from .analysis import COLOUR
from .metrics import MS_SSIM_SIDE, ms_ssim, ms_ssim_decibels, ms_ssim_tensor, psnr
from .quality import LAGRANGIAN, lagrangian
from .ssimulacra2 import SIDE, ssimulacra2, ssimulacra2_tensor
from .tiles import SITE

# 8-bit levels: erased pixels count as at this step at least, or at fine steps they would be nearly all of the loss
ERASED_STEP = 64.0
# mean squared 8-bit levels that equal 1 - MS-SSIM: the ratio of CompressAI's two series of Lagrangians (J. Begaint et
# al., 2020)
MS_SSIM_UNIT = 1300.0
# bits a pixel that a point of SSIMULACRA2 stands for at a step of 26 8-bit levels, and the powers of the step by which
# they fall below and above: the slope of `swin` along its qualities on 24 crops. At coarse steps they fall faster than
# that: smooth pictures gain so many points for so few bits there that the mean would ask for finer steps than there are
POINT, POINT_POWERS = 0.043, (4 / 3, 2.0)
MIDDLE_STEP = 26.0  # 8-bit levels
# of the squared error, beside SSIMULACRA2: it keeps in place what that does not see, such as fine changes of hue
ANCHOR = 0.1


class Distortion(ABC):
    """images and decoded: (B, H, W, 3) in 0..255, float; step: (B,) or (1,) in 8-bit levels."""

    name: str  # as --tune takes it
    title: str  # as reports call the measure
    unit: str = "dB"  # of the measure in reports; empty for points of its own
    smallest_side: int = 1  # of a picture that has it, in pixels
    # dB, or points, between which BD-rates of validation are taken, whatever the curve of a run covers
    compared: tuple[float, float]

    @abstractmethod
    def bits_per_pixel(self, image: Tensor, decoded: Tensor, step: Tensor, erased: Tensor | None = None) -> Tensor:
        """lambda D of each image in bits a pixel, (B,).

        erased: (B, H/16, W/16) bool, tokens that the decoder did not receive.
        """

    @abstractmethod
    def decibels(self, original: np.ndarray, decoded: np.ndarray) -> float:
        """The measure in dB, or in points of its own, higher is better, of two (H, W, 3) uint8 arrays."""


class SquaredError(Distortion):
    """The squared error of RGB; PSNR in reports."""

    name, title = "psnr", "PSNR"
    compared = 27.0, 46.0

    def bits_per_pixel(self, image: Tensor, decoded: Tensor, step: Tensor, erased: Tensor | None = None) -> Tensor:
        weight = lagrangian(step)[:, None, None]
        if erased is not None:
            pixels = erased.repeat_interleave(SITE, 1).repeat_interleave(SITE, 2)
            weight = torch.where(pixels, lagrangian(step.clamp_min(ERASED_STEP))[:, None, None], weight)
        return (weight * (image - decoded).square().sum(-1)).mean((1, 2))

    def decibels(self, original: np.ndarray, decoded: np.ndarray) -> float:
        return psnr(original, decoded)


class MultiScaleSSIM(Distortion):
    """1 - MS-SSIM of RGB; in reports as -10 log10(1 - MS-SSIM)."""

    name, title = "ms-ssim", "MS-SSIM"
    smallest_side = MS_SSIM_SIDE
    compared = 12.0, 28.0

    @staticmethod
    def _lagrangian(step: Tensor) -> Tensor:
        """Bits a pixel per unit of 1 - MS-SSIM."""
        return MS_SSIM_UNIT * 3 * lagrangian(step)

    @staticmethod
    def _loss(image: Tensor, decoded: Tensor) -> Tensor:
        return 1 - ms_ssim_tensor(image.permute(0, 3, 1, 2), decoded.permute(0, 3, 1, 2))

    def bits_per_pixel(self, image: Tensor, decoded: Tensor, step: Tensor, erased: Tensor | None = None) -> Tensor:
        return self._lagrangian(step) * self._loss(image, decoded)

    def decibels(self, original: np.ndarray, decoded: np.ndarray) -> float:
        return ms_ssim_decibels(ms_ssim(original, decoded))


class Perceptual(Distortion):
    """100 - SSIMULACRA2, and a tenth of the squared error; SSIMULACRA2 in reports."""

    name, title, unit = "ssimulacra2", "SSIMULACRA2", ""
    smallest_side = SIDE
    compared = 10.0, 90.0

    def bits_per_pixel(self, image: Tensor, decoded: Tensor, step: Tensor, erased: Tensor | None = None) -> Tensor:
        fine, coarse = POINT_POWERS
        ratio = step / MIDDLE_STEP
        bits_per_point = POINT / torch.where(ratio < 1, ratio**fine, ratio**coarse)
        points = 100 - ssimulacra2_tensor(image.permute(0, 3, 1, 2), decoded.clamp(0, 255).permute(0, 3, 1, 2))
        return bits_per_point * points + ANCHOR * _SQUARED_ERROR.bits_per_pixel(image, decoded, step, erased)

    def decibels(self, original: np.ndarray, decoded: np.ndarray) -> float:
        return ssimulacra2(original, decoded)


_SQUARED_ERROR = SquaredError()
TUNINGS: dict[str, Distortion] = {d.name: d for d in (_SQUARED_ERROR, MultiScaleSSIM(), Perceptual())}


class PixelGradient:
    """The gradient of a distortion over the pixels, for the encoder's search: search.importance.PixelSlope."""

    def __init__(self, distortion: Distortion):
        self.distortion = distortion

    def __call__(self, original: np.ndarray, error: np.ndarray, step: float) -> np.ndarray:
        """Of planes of the colour axes (3, H, W) in steps; step: in 8-bit levels."""
        steps = torch.tensor([step])
        image, decoded = (
            torch.from_numpy(x.transpose(1, 2, 0) @ COLOUR * np.float32(step) + np.float32(128))[None]
            for x in (original, original + error)
        )
        with torch.enable_grad():
            bits = self.distortion.bits_per_pixel(image, decoded.requires_grad_(), steps).sum()
            (gradient,) = torch.autograd.grad(bits, decoded)
        # per pixel of the whole, over the bits that a squared step costs, and half of it
        unit = np.float32(decoded[..., 0].numel() * step / (2 * LAGRANGIAN))
        slope: np.ndarray = (gradient[0].numpy() @ COLOUR.T).transpose(2, 0, 1) * unit
        return np.ascontiguousarray(slope)
