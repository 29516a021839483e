"""Validation: the BD-rate of a model in training, and of a written model's files, against one fixed codec.

A curve is a list of points (bits per pixel, decibels), means over pictures; decibels are those of the tuning's
distortion (distortion.py).
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..codec import Codec
from ..distortion import Distortion
from ..evaluation.bdrate import Curve, bd_rate
from ..images import Picture
from ..options import QUALITIES
from ..quality import step_of
from .data import validation_crops
from .model import TrainingModel
from .refined import RefinedTokens

STEPS = (120.0, 64.0, 32.0, 16.0, 8.0, 4.0)  # 8-bit levels, of estimated curves
CODED_QUALITIES = (5, 20, 35, 50, 65, 80, 95)  # of coded curves
CROP, CROPS = 256, 12  # side in pixels and number of the crops that a run is validated on
REFERENCE = "JPEG 2000"  # in every Pillow, all colours at full resolution, any quality, and hardly any header
REFERENCE_PSNR = (24, 27, 30, 33, 36, 39, 42, 45, 48, 51)  # dB, the targets that its encoder gets


@dataclass(frozen=True)
class ValidationSet:
    """Pictures that are not trained on, and the reference's curve on them."""

    images: Tensor  # (N, H, W, 3), float32 in 0..255
    reference: Curve

    @classmethod
    def of(cls, images: Sequence[np.ndarray], distortion: Distortion) -> ValidationSet:
        """Central crops of the first images (H, W, 3) uint8 that are large enough. Raises InputError where none is."""
        crops = validation_crops(iter(images), CROP, CROPS)
        return cls(crops, reference_curve([crop.numpy().astype(np.uint8) for crop in crops], distortion))


def reference_curve(images: Sequence[np.ndarray], distortion: Distortion) -> list[tuple[float, float]]:
    """The curve of JPEG 2000 over images (H, W, 3) uint8, by the size of its files."""
    curve = []
    for target in REFERENCE_PSNR:
        points = []
        for image in images:
            buffer = io.BytesIO()
            Image.fromarray(image).save(
                buffer, "JPEG2000", quality_mode="dB", quality_layers=[target], irreversible=True, mct=1
            )
            decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
            points.append((8 * buffer.tell() / image[..., 0].size, distortion.decibels(image, decoded)))
        curve.append(_mean(points))
    return curve


def bd_rate_to_reference(reference: Curve, curve: Curve, distortion: Distortion) -> float:
    """BD-rate of a curve in per cent, negative where it is better, over the decibels of distortion.compared.

    The range is fixed: at low qualities the reference is at its worst, so over all that a curve covers, a model that
    only slides down its own curve would seem better. Raises ValueError where nothing is covered.
    """
    return bd_rate(reference, curve, qualities=distortion.compared)


@torch.no_grad()
def estimated_curve(
    model: TrainingModel,
    images: Tensor,
    dead_zone: float,
    distortion: Distortion,
    refined: RefinedTokens | None = None,
) -> list[tuple[float, float]]:
    """The curve of a model over images (N, H, W, 3) in 0..255, at each of STEPS; bits are the context model's estimate.

    refined: chooses the tokens, at the qualities nearest to STEPS; without it latents are rounded with the dead zone.
    """
    curve = []
    for step in STEPS:
        points = []
        quality = min(QUALITIES, key=lambda q: abs(math.log(step_of(q) / step)))
        for image in images.split(1):
            tokens = refined.search(image, quality).map(Tensor.float) if refined else None
            used = torch.tensor([step_of(quality) if refined else step], device=image.device)
            reconstruction, bits = model(image, used, dead_zone, tokens=tokens)
            original, decoded = (t[0].clamp(0, 255).round().byte().cpu().numpy() for t in (image, reconstruction))
            points.append((bits.item() / image[..., 0].numel(), distortion.decibels(original, decoded)))
        curve.append(_mean(points))
    return curve


def coded_curve(codec: Codec, images: Sequence[np.ndarray], distortion: Distortion) -> list[tuple[float, float]]:
    """The curve of whole .vitc files of images (H, W, 3) uint8, at each of CODED_QUALITIES and the default effort."""
    curve = []
    for quality in CODED_QUALITIES:
        points = []
        for image in images:
            data = codec.encode(Picture(image, None, False, None, None, None, []), quality=quality)
            points.append((8 * len(data) / image[..., 0].size, distortion.decibels(image, codec.decode(data).rgb)))
        curve.append(_mean(points))
    return curve


def _mean(points: Curve) -> tuple[float, float]:
    """The mean of the points with finite decibels: a picture may be too small for MS-SSIM, or decoded perfectly."""
    bpp, db = np.mean([p for p in points if math.isfinite(p[1])], 0).tolist()
    return bpp, db
