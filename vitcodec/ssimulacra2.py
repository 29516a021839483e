"""SSIMULACRA2: how far a decoded picture is from its original to the eye, on a scale that ends at 100.

90 is visually lossless, 70 high quality, 50 medium, 30 low; very bad pictures are below 0. ssimulacra2() takes 8-bit
arrays, ssimulacra2_tensor() batches of torch tensors, with a gradient.

Source: Sneyers, "SSIMULACRA 2", 2022 and 2023, https://github.com/cloudinary/ssimulacra2, version 2.1, whose scores
these are (BSD licence), but for its rounding errors: it filters by a recursion in float32, and gives pictures close to
the original up to 0.4 less. XYB colours, six scales, at each the structural dissimilarity, edges that were added and
edges that were lost, of each the mean and the 4-norm. Importing this module imports no torch.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .metrics import check_pictures

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor

SIDE = 8  # the least side in pixels

_SCALES = 6
# a Gaussian of sigma 1.5 as libjxl's recursive filter makes it: the middle and four weights to each side
_WINDOW = (0.26462110548819856, 0.2129285920104222, 0.10933537277746029, 0.03601111465836435, 0.009414367809653698)
_RADIUS = len(_WINDOW) - 1
_C2 = 0.0009  # constant of contrast and structure
_STRIP = 1 << 18  # pixels measured at once without a gradient, so that temporaries stay small

# linear RGB to the responses of the eye's cones, and their bias (libjxl, opsin_params.h)
_OPSIN = (
    (0.30, 0.622, 0.078),
    (0.23, 0.692, 0.078),
    (0.24342268924547819, 0.20476744424496821, 0.55180986650955360),
)
_BIAS = 0.0037930732552754493

# weights of the 108 norms that are not zero: (colour, scale, norm, map) with colours X, Y, B-Y, scales finest first,
# norms mean and 4-norm, maps structure, edges added, edges lost
_WEIGHTS = """
0 0.0007376606707406586 0 0 0.0007793481682867309 0 0 0.0004371155730107379 0 1.1041726426657346 0.00066284834129271
0.00015231632783718752 0 0.0016406437456599754 0 1.8422455520539298 11.441172603757666 0 0.0007989109436015163
0.000176816438078653 0 1.8787594979546387 10.94906990605142 0 0.0007289346991508072 0.9677937080626833 0
0.00014003424285435884 0.9981766977854967 0.00031949755934435053 0.0004550992113792063 0 0 0.0013648766163243398 0 0
0 0 0 7.466890328078848 0 17.445833984131262 0.0006235601634041466 0 0 6.683678146179332 0.00037724407979611296
1.027889937768264 225.20515300849274 0 0 19.213238186143016 0.0011401524586618361 0.001237755635509985
176.39317598450694 0 0 24.43300999870476 0.28520802612117757 0.0004485436923833408 0 0 0 34.77906344483772
44.835625328877896 0 0 0 0 0 0 0 0 0.0008680556573291698 0 0 0 0 0 0.0005313191874358747 0 0.00016533814161379112 0 0 0
0 0 0.0004179171803251336 0.0017290828234722833 0 0.0020827005846636437 0 0 8.826982764996862 23.19243343998926 0
95.1080498811086 0.9863978034400682 0.9834382792465353 0.0012286405048278493 171.2667255897307 0.9807858872435379 0 0 0
0.0005130064588990679 0 0.00010854057858411537
"""


def ssimulacra2(a: np.ndarray, b: np.ndarray) -> float:
    """SSIMULACRA2 of a decoded picture b against its original a, 100 for identical ones; NaN where a side is below 8.

    The measure is not symmetric. Raises ValueError unless a and b are uint8 (H, W, 3) of one shape.
    """
    import torch

    check_pictures(a, b)
    if min(a.shape[:2]) < SIDE:
        return math.nan
    with torch.inference_mode():
        x, y = (torch.from_numpy(np.ascontiguousarray(p.transpose(2, 0, 1)))[None].float() for p in (a, b))
        return ssimulacra2_tensor(x, y).item()


def ssimulacra2_tensor(a: Tensor, b: Tensor) -> Tensor:
    """SSIMULACRA2 of each pair of pictures with a gradient: originals a and decoded b (B, 3, H, W) in 0..255 -> (B,).

    For float32 or float64 on any device; b is converted to a's type. A map that is zero everywhere, and a pair that is
    identical, have no gradient. Raises ValueError if the shapes differ or a side is below 8 pixels.
    """
    import torch
    from torch.nn import functional as F

    if a.shape != b.shape or a.ndim != 4 or a.shape[1] != 3 or min(a.shape[2:]) < SIDE:
        needed = f"(B, 3, H, W) of one shape with sides of at least {SIDE}"
        raise ValueError(f"two tensors {needed} are needed, not {tuple(a.shape)} and {tuple(b.shape)}")
    x, y = _linear(a), _linear(b.to(a.dtype))
    norms = []
    for scale in range(_SCALES):
        if scale:
            # whether there is another scale is asked of the one before, as the source does
            if min(x.shape[2:]) < SIDE:
                break
            # an odd last row or column counts twice
            odd = (0, x.shape[3] % 2, 0, x.shape[2] % 2)
            x, y = (F.avg_pool2d(F.pad(z, odd, mode="replicate") if any(odd) else z, 2) for z in (x, y))
        norms.append(_norms(_xyb(x), _xyb(y)))
    # weights are numbered through, also where the last scales are missing
    flat = torch.stack(norms, 2).flatten(1)
    weights = torch.tensor([float(w) for w in _WEIGHTS.split()[: flat.shape[1]]], dtype=a.dtype, device=a.device)
    error = flat @ weights * 0.9562382616834844
    error = 2.326765642916932 * error - 0.020884521182843837 * error**2 + 6.248496625763138e-05 * error**3
    same = error <= 0
    return 100 - 10 * error.masked_fill(same, 1).pow(0.6276336467831387).masked_fill(same, 0)


def _linear(x: Tensor) -> Tensor:
    """8-bit sRGB levels to linear RGB in 0..1; what lies outside of 0..255 keeps a gradient."""
    import torch

    x = x / 255
    return torch.where(x <= 0.04045, x / 12.92, ((x.clamp_min(0.04045) + 0.055) / 1.055) ** 2.4)


def _xyb(x: Tensor) -> Tensor:
    """Linear RGB to X, Y and B - Y, each about 0..1."""
    import torch

    matrix = torch.tensor(_OPSIN, dtype=x.dtype, device=x.device)
    # the cube root of the bias itself is the least that a colour of the picture has
    mixed = (torch.einsum("ij,bjhw->bihw", matrix, x) + _BIAS).clamp_min(_BIAS / 8).pow(1 / 3) - _BIAS ** (1 / 3)
    long, middle, short = mixed.unbind(1)
    y = (long + middle) / 2
    return torch.stack([(long - middle) * 7 + 0.42, y + 0.01, short - y + 0.55], 1)


def _norms(x: Tensor, y: Tensor) -> Tensor:
    """Two pictures in XYB, (B, 3, H, W), to (B, 3 colours, 2 norms, 3 maps)."""
    import torch

    batch, _, height, width = x.shape
    rows = height
    if not (torch.is_grad_enabled() and (x.requires_grad or y.requires_grad)):
        rows = max(8, _STRIP // (batch * width))
    sums: Any = 0
    for top in range(0, height, rows):
        above, below = min(_RADIUS, top), min(_RADIUS, max(height - top - rows, 0))
        strip = slice(top - above, top + rows + below)
        maps = _maps(x[:, :, strip], y[:, :, strip])
        inner = maps[:, :, :, above : maps.shape[3] - below]
        sums = sums + torch.stack([inner.double().sum((3, 4)), inner.square().square().double().sum((3, 4))], 2)
    mean, fourth = (sums / (height * width)).to(x.dtype).unbind(2)
    none = fourth <= 0  # the root of 0 has an infinite gradient
    return torch.stack([mean, fourth.masked_fill(none, 1).pow(0.25).masked_fill(none, 0)], 2)


def _maps(x: Tensor, y: Tensor) -> Tensor:
    """(B, 3, H, W) twice -> (B, 3 colours, 3 maps, H, W), each at least 0.

    In terms of the difference, whose variance gives 1 - SSIM without cancellation.
    """
    import torch

    blur = _blur()
    difference = x - y
    mean_x, mean_y = blur(x), blur(y)
    mean_d = mean_x - mean_y
    variance_d = blur(difference.square()) - mean_d.square()
    variances = blur(x.square() + y.square()) - mean_x.square() - mean_y.square()
    structure = 1 - (1 - mean_d.square()) * (1 - variance_d / (variances + _C2))
    edges = (1 + (y - mean_y).abs()) / (1 + (x - mean_x).abs()) - 1
    return torch.stack([structure, edges, -edges], 2).clamp_min(0)


@cache
def _blur() -> Callable[[Tensor], Tensor]:
    """The Gaussian, zero beyond the edges: (..., H, W) to the same shape, with its gradient.

    A function that makes it, since its class needs torch, which this module imports late.
    """
    import torch

    class Blur(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return _weighted(_weighted(x, -2), -1)

        @staticmethod
        def backward(ctx: Any, gradient: Tensor) -> Tensor:  # symmetric and zero beyond the edges: its own transpose
            return _weighted(_weighted(gradient, -2), -1)

    return Blur.apply


def _weighted(x: Tensor, axis: int) -> Tensor:
    size = x.shape[axis]
    result = x * _WINDOW[0]
    for k, weight in enumerate(_WINDOW[1 : min(size, len(_WINDOW))], 1):  # sums of slices: as metrics does, and why
        result.narrow(axis, k, size - k).add_(x.narrow(axis, 0, size - k), alpha=weight)
        result.narrow(axis, 0, size - k).add_(x.narrow(axis, k, size - k), alpha=weight)
    return result
