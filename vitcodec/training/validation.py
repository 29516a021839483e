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
from ..picture import Picture
from .config import VALIDATION_CROPS
from .data import validation_crops
from .model import TrainingModel
from .samples import Choose

STEPS = (120.0, 64.0, 32.0, 16.0, 8.0, 4.0)  # 8-bit levels, of estimated curves
CODED_QUALITIES = (5, 20, 35, 50, 65, 80, 95)  # of coded curves
CROP = 256  # pixels along a side of the crops that a run is validated on; less where it trains on smaller ones
BATCH, GPU_BATCH = 4, 16  # of them at once
REFERENCE = "JPEG 2000"  # in every Pillow, all colours at full resolution, any quality, and hardly any header
REFERENCE_PSNR = (24, 27, 30, 33, 36, 39, 42, 45, 48, 51)  # dB, the targets that its encoder gets


@dataclass(frozen=True)
class ValidationSet:
    """Pictures that are not trained on, and the reference's curve on them."""

    images: Tensor  # (N, H, W, 3), float32 in 0..255
    reference: Curve

    @classmethod
    def of(
        cls, images: Sequence[np.ndarray], distortion: Distortion, side: int = CROP, count: int = VALIDATION_CROPS
    ) -> ValidationSet:
        """Central crops of the first images (H, W, 3) uint8 that are large enough. Raises InputError where none is.

        side: of the crops that are trained on, in pixels. count: of images.
        """
        crops = validation_crops(iter(images), min(CROP, side), count)
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


def estimated_curve(
    model: TrainingModel,
    images: Tensor,
    dead_zone: float,
    distortion: Distortion,
    choose: Choose | None = None,
) -> list[tuple[float, float]]:
    """The curve of a model over images (N, H, W, 3) in 0..255, at each of STEPS; bits are the context model's estimate.

    choose: makes the tokens; without it latents are rounded with the dead zone.
    """
    curve = []
    for value in STEPS:
        points = []
        for batch in images.split(BATCH if images.device.type == "cpu" else GPU_BATCH):
            step = torch.full((len(batch),), value, device=images.device)
            tokens = choose(batch, step) if choose else None
            with torch.no_grad():
                decoded, bits = model(batch, step, 0.0 if choose else dead_zone, tokens=tokens)
            whole = (t.clamp(0, 255).round().byte().cpu().numpy() for t in (batch, decoded))
            decibels = [distortion.decibels(original, own) for original, own in zip(*whole, strict=True)]
            points += list(zip((bits / batch[0, ..., 0].numel()).tolist(), decibels, strict=True))
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
