"""Validation: the BD-rate of a model in training, and of a written model's files, against one fixed codec.

A curve is a list of points (bits per pixel, decibels) of one picture; decibels are those of the tuning's distortion
(distortion.py). BD-rates are means over pictures: that of a mean curve hides what a model loses on pictures that need
few bits.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from contextlib import suppress
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
from .reporting import Report, followed, silent
from .samples import Choose, Samples

STEPS = (120.0, 64.0, 32.0, 16.0, 8.0, 4.0)  # 8-bit levels, of estimated curves
CODED_QUALITIES = (5, 20, 35, 50, 65, 80, 95)  # of coded curves
CROP = 256  # pixels along a side of the crops that a run is validated on; less where it trains on smaller ones
BATCH, GPU_BATCH = 4, 16  # of them at once
REFERENCE = "JPEG 2000"  # in every Pillow, all colours at full resolution, any quality, and hardly any header
REFERENCE_PSNR = (24, 27, 30, 33, 36, 39, 42, 45, 48, 51)  # dB, the targets that its encoder gets


@dataclass(frozen=True)
class ValidationSet:
    """Pictures that are not trained on, and the reference's curve on each.

    samples: all of them with fixed tokens, a batch for each step; none where a model makes its own tokens.
    """

    images: Tensor  # (N, H, W, 3), float32 in 0..255
    references: Sequence[Curve]
    samples: Sequence[Samples] = ()

    @classmethod
    def of(
        cls, images: Sequence[np.ndarray], distortion: Distortion, side: int = CROP, count: int = VALIDATION_CROPS
    ) -> ValidationSet:
        """Central crops of the first images (H, W, 3) uint8 that are large enough. Raises InputError where none is.

        side: of the crops that are trained on, in pixels. count: of images.
        """
        crops = validation_crops(iter(images), min(CROP, side), count)
        return cls(crops, _references(crops, distortion))

    @classmethod
    def with_tokens(cls, samples: Sequence[Samples], distortion: Distortion) -> ValidationSet:
        """Of token_cache.validation_samples."""
        crops = samples[0].image
        return cls(crops, _references(crops, distortion), samples)


def _references(crops: Tensor, distortion: Distortion) -> list[Curve]:
    return [reference_curve(crop.numpy().astype(np.uint8), distortion) for crop in crops]


def reference_curve(image: np.ndarray, distortion: Distortion) -> list[tuple[float, float]]:
    """The curve of JPEG 2000 on an image (H, W, 3) uint8, by the size of its files."""
    curve = []
    for target in REFERENCE_PSNR:
        buffer = io.BytesIO()
        Image.fromarray(image).save(
            buffer, "JPEG2000", quality_mode="dB", quality_layers=[target], irreversible=True, mct=1
        )
        decoded = np.asarray(Image.open(io.BytesIO(buffer.getvalue())))
        curve.append((8 * buffer.tell() / image[..., 0].size, distortion.decibels(image, decoded)))
    return curve


def bd_rate_to_reference(references: Sequence[Curve], curves: Sequence[Curve], distortion: Distortion) -> float:
    """The geometric mean of the BD-rates of pictures in per cent, negative where the curves are better, over the
    decibels of distortion.compared.

    references, curves: of the same pictures. The range is fixed: at low qualities the reference is at its worst, so
    over all that a curve covers, a model that only slides down its own curve would seem better. Pictures of which
    nothing is covered are left out. Raises ValueError where that are all.
    """
    changes = []
    for reference, curve in zip(references, curves, strict=True):
        with suppress(ValueError):
            found = [[point for point in own if math.isfinite(point[1])] for own in (reference, curve)]
            changes.append(math.log1p(bd_rate(found[0], found[1], qualities=distortion.compared) / 100))
    if not changes:
        raise ValueError("the curves do not overlap in quality")
    return 100 * math.expm1(sum(changes) / len(changes))


def estimated_curves(
    model: TrainingModel,
    images: Tensor,
    dead_zone: float,
    distortion: Distortion,
    choose: Choose | None = None,
    samples: Sequence[Samples] = (),
) -> list[list[tuple[float, float]]]:
    """The curves of a model on images (N, H, W, 3) in 0..255, at each of STEPS; bits are the context model's estimate.

    choose: makes the tokens; without it latents are rounded with the dead zone. samples: the images with tokens that
    take their place, at the steps that they have.
    """
    curves: list[list[tuple[float, float]]] = [[] for _ in images]
    own = samples or [Samples(images, torch.full((len(images),), value, device=images.device)) for value in STEPS]
    size = BATCH if images.device.type == "cpu" else GPU_BATCH
    for each in own:
        points: list[tuple[float, float]] = []
        for k in torch.arange(len(images), device=images.device).split(size):
            batch, step, tokens = each.chosen(k)
            if tokens is None and choose:
                tokens = choose(batch, step)
            with torch.no_grad():
                decoded, bits = model(batch, step, dead_zone if tokens is None else 0.0, tokens=tokens)
            whole = (t.clamp(0, 255).round().byte().cpu().numpy() for t in (batch, decoded))
            decibels = [distortion.decibels(original, own) for original, own in zip(*whole, strict=True)]
            points += list(zip((bits / batch[0, ..., 0].numel()).tolist(), decibels, strict=True))
        for curve, point in zip(curves, points, strict=True):
            curve.append(point)
    return curves


def coded_curves(
    codec: Codec, images: Sequence[np.ndarray], distortion: Distortion, report: Report = silent
) -> list[list[tuple[float, float]]]:
    """The curves of whole .vitc files of images (H, W, 3) uint8, at each of CODED_QUALITIES and the default effort."""
    curves: list[list[tuple[float, float]]] = [[] for _ in images]
    for quality in CODED_QUALITIES:
        pairs = zip(images, curves, strict=True)
        for image, curve in followed(pairs, f"coding held-out images at quality {quality}", len(images), report):
            data = codec.encode(Picture(image, None, False, None, None, None, []), quality=quality)
            curve.append((8 * len(data) / image[..., 0].size, distortion.decibels(image, codec.decode(data).rgb)))
    return curves


def mean_curve(curves: Sequence[Curve]) -> list[tuple[float, float]]:
    """The mean of curves, point by point, of what has finite decibels: a picture may be too small for MS-SSIM, or
    decoded perfectly."""
    found = []
    for points in zip(*curves, strict=True):
        bpp, db = np.mean([p for p in points if math.isfinite(p[1])], 0).tolist()
        found.append((bpp, db))
    return found
