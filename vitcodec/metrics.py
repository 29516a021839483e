"""How far a decoded picture is from its original: PSNR, SSIM and MS-SSIM of 8-bit RGB arrays.

psnr, ssim and ms_ssim take two uint8 arrays (H, W, 3) of one shape and raise ValueError for others. A picture too
small for a measure has none: the result is NaN, and reports leave it out of their means.

SSIM and MS-SSIM agree with torchmetrics 1.9 in float64 to 1e-6 on every picture. torchmetrics in float32 differs from
itself in float64 by up to 1e-3, where a picture is bright and flat. Importing this module imports no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

PEAK = 255
SSIM_SIDE = 11  # the least side in pixels: that of the Gaussian window
MS_SSIM_SIDE = 176  # the least side in pixels: 16 * 11, since the window has to fit the fifth scale

_RADIUS = SSIM_SIDE // 2
_WINDOW = [math.exp(-((k / 1.5) ** 2) / 2) for k in range(-_RADIUS, _RADIUS + 1)]  # Gaussian of sigma 1.5 pixels
_WINDOW = [weight / sum(_WINDOW) for weight in _WINDOW]
_C1, _C2 = (0.01 * PEAK) ** 2, (0.03 * PEAK) ** 2  # constants of luminance and of contrast and structure
_SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # exponents of MS-SSIM, finest first
_STRIP = 1 << 18  # pixels of one colour measured at once on a CPU: their temporaries, of 1 MB each, stay in its cache


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB; inf for identical pictures.

    One mean squared error over all pixels and the three colours. Raises ValueError unless a and b are uint8 (H, W, 3)
    of one shape.
    """
    check_pictures(a, b)
    # in rows, so that a large picture needs no second copy of itself in wider integers
    error = sum(int(np.square(x.astype(np.int32) - y).sum(dtype=np.int64)) for x, y in zip(a, b, strict=True))
    return math.inf if error == 0 else 10 * math.log10(PEAK**2 * a.size / error)


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity in -1..1, 1 for identical pictures; NaN where a side is below 11 pixels.

    Mean over the three colours and all pixels. Gaussian window of 11x11, sigma 1.5; the picture is mirrored beyond its
    edges. Raises ValueError unless a and b are uint8 (H, W, 3) of one shape.

    Source: Wang, Bovik, Sheikh, Simoncelli, "Image quality assessment: from error visibility to structural
    similarity", 2004; mirrored edges as in torchmetrics.
    """
    import torch

    check_pictures(a, b)
    if min(a.shape[:2]) < SSIM_SIDE:
        return math.nan
    margin = ((_RADIUS, _RADIUS), (_RADIUS, _RADIUS), (0, 0))
    a, b = np.pad(a, margin, mode="reflect"), np.pad(b, margin, mode="reflect")
    with torch.inference_mode():
        return 1 - _loss(_tensor(a), _tensor(b), luminance=True).item()


def ms_ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Multi-scale structural similarity in 0..1, 1 for identical pictures; NaN where a side is below 176 pixels.

    Mean over the three colours, then a weighted geometric mean of five scales, 0 where one of them is negative. Raises
    ValueError unless a and b are uint8 (H, W, 3) of one shape.

    Source: Wang, Simoncelli, Bovik, "Multiscale structural similarity for image quality assessment", 2003. The first
    four scales measure contrast and structure where the window lies inside the picture, the fifth is its whole SSIM.
    """
    import torch

    check_pictures(a, b)
    if min(a.shape[:2]) < MS_SSIM_SIDE:
        return math.nan
    with torch.inference_mode():
        return ms_ssim_tensor(_tensor(a), _tensor(b)).item()


def ms_ssim_tensor(a: Tensor, b: Tensor) -> Tensor:
    """MS-SSIM of each pair of pictures with a gradient: (B, 3, H, W) in 0..255 -> (B,) in 0..1.

    For float32 or float64 on any device; b is converted to a's type. A pair with a scale that is not positive has 0 and
    no gradient. Raises ValueError if the shapes differ or a side is below 176 pixels.
    """
    import torch
    from torch.nn import functional as F

    if a.shape != b.shape or a.ndim != 4 or min(a.shape[2:]) < MS_SSIM_SIDE:
        needed = f"(B, 3, H, W) of one shape with sides of at least {MS_SSIM_SIDE}"
        raise ValueError(f"two tensors {needed} are needed, not {tuple(a.shape)} and {tuple(b.shape)}")
    a, b = a.contiguous(), b.to(a.dtype).contiguous()
    losses = []
    for _ in _SCALES[:-1]:
        losses.append(_loss(a, b, luminance=False))
        a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)  # an odd last row or column is dropped
    margin = (_RADIUS,) * 4
    x, y = F.pad(a, margin, mode="reflect"), F.pad(b, margin, mode="reflect")
    if a.device.type != "mps":  # which has no float64
        # of flat opposites, black and white, luminance is 1e-4 and 1 minus it too coarse in float32: to the power of
        # 0.13 that shows; this scale is small
        x, y = x.double(), y.double()
    losses.append(_loss(x, y, luminance=True))

    # logarithms, since a power of 0 has an infinite gradient, which would make that of the whole batch NaN
    opposite = [loss >= 1 for loss in losses]
    logarithms = [(-loss.masked_fill(zero, 0)).log1p() for loss, zero in zip(losses, opposite, strict=True)]
    result = sum((e * x for e, x in zip(_SCALES, logarithms, strict=True)), torch.zeros_like(losses[-1])).exp()
    return result.masked_fill(torch.stack(opposite).any(0), 0).to(a.dtype)


def ms_ssim_decibels(value: float) -> float:
    """MS-SSIM on the scale on which it is plotted and interpolated, in dB: -10 log10(1 - MS-SSIM); inf from 1 on."""
    return math.inf if value >= 1 else -10 * math.log10(1 - value)


def check_pictures(a: np.ndarray, b: np.ndarray) -> None:
    if a.shape != b.shape or a.ndim != 3 or a.shape[2] != 3 or a.dtype != np.uint8 or b.dtype != np.uint8:
        got = f"{a.dtype} {a.shape} and {b.dtype} {b.shape}"
        raise ValueError(f"two uint8 arrays (H, W, 3) of one shape are needed, not {got}")


def _tensor(image: np.ndarray) -> Tensor:
    """(H, W, 3) uint8 -> (1, 3, H, W) float32."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))[None].float()


def _loss(a: Tensor, b: Tensor, luminance: bool) -> Tensor:
    """1 - SSIM, or 1 - its factor of contrast and structure without luminance: (B, 3, H, W) -> (B,).

    Mean over the three colours and the windows that lie inside the picture.
    """
    import torch

    batch, colours, height, width = a.shape
    x, y = a.reshape(-1, height, width), b.reshape(-1, height, width)
    windows = height - 2 * _RADIUS
    planes, rows = len(x), windows
    if x.device.type == "cpu":  # in pieces that stay in the cache
        planes = 1
        if not (torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)):
            rows = max(SSIM_SIDE, _STRIP // width)
    sums = []
    for p, q in zip(x.split(planes), y.split(planes), strict=True):
        strips = [slice(row, row + rows + 2 * _RADIUS) for row in range(0, windows, rows)]
        sums.append(torch.stack([_losses(p[:, strip], q[:, strip], luminance).sum((1, 2)) for strip in strips]).sum(0))
    return torch.cat(sums).view(batch, colours).sum(1) / (colours * windows * (width - 2 * _RADIUS))


def _losses(x: Tensor, y: Tensor, luminance: bool) -> Tensor:
    """The same of each window: (N, H, W) -> (N, H - 10, W - 10).

    Of s = x + y and d = x - y, whose means m and variances v give the two factors of SSIM without cancellation:
        luminance               (2 mx my + C1) / (mx^2 + my^2 + C1) = 1 - 2 md^2 / (ms^2 + md^2 + 2 C1)
        contrast and structure  (2 cov + C2) / (vx + vy + C2)       = 1 - 2 vd / (vs + vd + 2 C2)
    """
    moments = _moments()
    mean_s, variance_s = moments((x + y).sub_(256))  # around 0, for the sake of rounding; 256 is exact
    mean_d, variance_d = moments(x - y)
    structure = 2 * variance_d / variance_s.add_(variance_d).add_(2 * _C2)
    if not luminance:
        return structure
    square = mean_d.square()
    light = 2 * square / (mean_s + 256).square_().add_(square).add_(2 * _C1)
    return (light + structure).addcmul_(light, structure, value=-1)  # 1 - (1 - light) (1 - structure)


@cache
def _moments() -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """The function from (N, H, W) to the mean and the variance in each window, (N, H - 10, W - 10), with its gradient.

    A function that makes it, since its class needs torch, which this module imports late.
    """
    import torch
    from torch.autograd.function import once_differentiable
    from torch.nn import functional as F

    class Moments(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> tuple[Tensor, Tensor]:
            # E[x^2] - E[x]^2 in float32 loses up to 0.02 of a variance whose weight against C2 = 58 is then 1e-4 of
            # SSIM, and float64 takes twice the time. By the law of total variance that of a window is the mean of its
            # columns' variances and the variance of their means, both here from differences to the centre.
            variance = torch.zeros_like(x[:, 2 * _RADIUS :])
            mean = _add_variance(x, 1, variance)
            variance = _average(variance, 2)
            mean = _add_variance(mean, 2, variance)
            ctx.save_for_backward(x, mean)
            ctx.set_materialize_grads(False)
            return mean, variance

        @staticmethod
        @once_differentiable
        def backward(ctx: Any, of_mean: Tensor | None, of_variance: Tensor | None) -> Tensor | None:
            x, mean = ctx.saved_tensors

            def scatter(gradient: Tensor) -> Tensor:
                """From windows to the pixels in them: the window is symmetric, so it is another average."""
                return _average(_average(F.pad(gradient, (2 * _RADIUS,) * 4), 1), 2)

            if of_variance is None:
                return None if of_mean is None else scatter(of_mean)
            # d variance / d x = 2 w (x - mean)
            centre = -2 * mean * of_variance
            return scatter(of_variance).mul_(x).mul_(2).add_(scatter(centre if of_mean is None else centre + of_mean))

    return Moments.apply


def _average(x: Tensor, axis: int) -> Tensor:
    """Weighted mean in each window of 11 along an axis, which gets shorter by 10."""
    size = x.shape[axis] - 2 * _RADIUS
    result = x.narrow(axis, 0, size) * _WINDOW[0]
    for k in range(1, SSIM_SIDE):  # sums of slices: faster than torch's convolutions on a CPU, and no TF32 on a GPU
        result.add_(x.narrow(axis, k, size), alpha=_WINDOW[k])
    return result


def _add_variance(x: Tensor, axis: int, variance: Tensor) -> Tensor:
    """Add the variance in each window of 11 along an axis to `variance`, and return the mean, of the same shape."""
    size = x.shape[axis] - 2 * _RADIUS
    centre = x.narrow(axis, _RADIUS, size)
    mean = variance.new_zeros(variance.shape)
    for k, weight in enumerate(_WINDOW):
        if k != _RADIUS:
            difference = x.narrow(axis, k, size) - centre
            mean.add_(difference, alpha=weight)
            variance.addcmul_(difference, difference, value=weight)
    variance.addcmul_(mean, mean, value=-1)
    return mean.add_(centre)
