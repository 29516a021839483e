"""How good a model is while it trains, and what it makes of whole pictures afterwards; both against the same codec on the same pictures."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..evaluation.bdrate import Curve, bd_rate
from ..metrics import ms_ssim, ms_ssim_decibels, psnr
from ..quality import QUALITIES as ALL_QUALITIES
from ..quality import step_of

if TYPE_CHECKING:
    from ..codec import Codec
    from .loop import TrainingModel
    from .refined import Refined

VALIDATION_STEPS = (120.0, 64.0, 32.0, 16.0, 8.0, 4.0)
QUALITIES = (5, 20, 35, 50, 65, 80, 95)
REFERENCE = "JPEG 2000"  # in every Pillow, all colours at full resolution, any quality, and hardly any header
REFERENCE_PSNR = (24, 27, 30, 33, 36, 39, 42, 45, 48, 51)  # dB that it is asked for
# dB, by what a model is tuned for. Over all that a curve covers, a model that only slides down its own curve would seem better: at low qualities
# the reference is at its worst
COMPARED = {"psnr": (27.0, 46.0), "ms-ssim": (12.0, 28.0)}


def decibels(tune: str, original: np.ndarray, decoded: np.ndarray) -> float:
    """What a model that is tuned for `tune` is judged by: PSNR or MS-SSIM, both in dB. Images (H, W, 3) uint8."""
    return psnr(original, decoded) if tune == "psnr" else ms_ssim_decibels(ms_ssim(original, decoded))


def reference_curve(images: Sequence[np.ndarray], tune: str = "psnr") -> list[tuple[float, float]]:
    """Mean (bits per pixel, quality in dB, see `decibels`) of JPEG 2000 over images (H, W, 3) uint8, by the size of its files."""
    curve = []
    for db in REFERENCE_PSNR:
        points = []
        for image in images:
            buffer = io.BytesIO()
            Image.fromarray(image).save(
                buffer, "JPEG2000", quality_mode="dB", quality_layers=[db], irreversible=True, mct=1
            )
            decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
            points.append((8 * buffer.tell() / image[..., 0].size, decibels(tune, image, decoded)))
        curve.append(_mean(points))
    return curve


def against(reference: Curve, curve: Curve, tune: str = "psnr") -> float:
    """BD-rate in per cent over the range COMPARED, as far as both curves cover it. Raises ValueError where that is nothing."""
    return bd_rate(reference, curve, qualities=COMPARED[tune])


@torch.no_grad()
def estimated_curve(
    model: TrainingModel, images: Tensor, dead_zone: float, tune: str = "psnr", refined: Refined | None = None
) -> list[tuple[float, float]]:
    """Mean (bits per pixel, quality in dB) over images (N, H, W, 3) at each of VALIDATION_STEPS; the rate is the float model's estimate.

    refined: what chooses the integers, at the nearest qualities; None for rounding.
    """
    curve = []
    for step in VALIDATION_STEPS:
        points = []
        quality = min(ALL_QUALITIES, key=lambda q: abs(math.log(step_of(q) / step)))
        for image in images.split(1):
            integers = refined.choose(image, quality).map(Tensor.float) if refined else None
            used = step_of(quality) if refined else step
            reconstruction, bits = model(image, torch.tensor([used], device=image.device), dead_zone, integers=integers)
            original, decoded = (t[0].clamp(0, 255).round().byte().cpu().numpy() for t in (image, reconstruction))
            points.append((bits.item() / image[..., 0].numel(), decibels(tune, original, decoded)))
        curve.append(_mean(points))
    return curve


def coded_curve(codec: Codec, images: Sequence[np.ndarray], tune: str = "psnr") -> list[tuple[float, float]]:
    """Mean (bits per pixel, quality in dB) of whole .vitc files over images (H, W, 3) uint8, at each of QUALITIES."""
    from ..images import Picture

    curve = []
    for quality in QUALITIES:
        points = []
        for image in images:
            data = codec.encode(Picture(image, None, False, None, None, None, []), quality)
            points.append((8 * len(data) / image[..., 0].size, decibels(tune, image, codec.decode(data).rgb)))
        curve.append(_mean(points))
    return curve


def _mean(points: Curve) -> tuple[float, float]:
    bpp, db = np.mean([p for p in points if math.isfinite(p[1])], 0).tolist()
    return bpp, db
