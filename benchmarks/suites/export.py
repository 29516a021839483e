"""What the integer export of the context model costs: bits in payloads against the float model's estimate.

Both are of the same tokens, those of the default effort. Scale offsets are no part of the export and left out.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vitcodec.codec import Codec
from vitcodec.context.arithmetic import FloatArithmetic
from vitcodec.context.density import RateEstimator
from vitcodec.distortion import TUNINGS
from vitcodec.images import read_image
from vitcodec.options import EncodeOptions
from vitcodec.quality import round_tokens
from vitcodec.rdo import EFFORTS, RDOSearch
from vitcodec.training.package import load_training_model

from ..harness import one
from ..images import image_files
from ..store import Results

SIDE, COUNT = 256, 6  # of crops
QUALITIES = (5, 20, 35, 50, 65, 80, 95)


@torch.no_grad()
def run(arguments: argparse.Namespace) -> Results:
    codec = Codec.load(one(arguments.models, None, "model"), "cpu", arguments.threads)
    context = load_training_model(codec.config).context
    effort = one(arguments.effort, EncodeOptions.effort, "effort")
    arguments.count = arguments.count or COUNT
    rows: list[dict[str, Any]] = []
    with image_files(arguments, SIDE) as files:
        crops = [torch.from_numpy(np.array(read_image(f).rgb)).float()[None] for f in files]
    for quality in arguments.qualities or ((50,) if arguments.quick else QUALITIES):
        estimated = coded = 0.0
        for crop in crops:
            one_estimated, one_coded = _bits(codec, context, crop, quality, effort)
            estimated, coded = estimated + one_estimated, coded + one_coded
        rows.append({"quality": quality, "estimated": round(estimated), "coded": round(coded)})
        print(rows[-1], flush=True)
    return {"images": len(crops), "side": crops[0].shape[1], "effort": effort, "rows": rows}


def _bits(codec: Codec, context: Any, crop: Tensor, quality: int, effort: int) -> tuple[float, float]:
    """Bits by the float model's estimate and in payloads, of the tokens as coded: skipped ones are zero."""
    point = codec.entropy.point(quality, codec.autoencoder.steps)
    tokens = round_tokens(codec.autoencoder.encode(crop, point.step), codec.config.dead_zone)
    config = EFFORTS[effort]
    if config.rounds:
        distortion = TUNINGS[codec.config.tune]
        tokens = RDOSearch(codec.autoencoder, codec.entropy, point, distortion, config).search(crop, tokens)
    payloads, tokens = codec.entropy.encode(tokens, point, fit_scales=False)
    values = tokens.map(Tensor.float)
    estimator = RateEstimator(values, values, context.base, point.step)
    features = context.step_features(point.step)
    context.autoregressive_pass(FloatArithmetic(), features, *values.grid, estimator)
    return estimator.bits().item(), 8.0 * sum(map(len, payloads.values()))
