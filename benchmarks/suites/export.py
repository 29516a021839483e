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
from vitcodec.images import Picture, read_image
from vitcodec.options import EncodeOptions
from vitcodec.pipeline import loading
from vitcodec.pretrained import registry
from vitcodec.quality import step_of
from vitcodec.training.package import load_training_model

from ..harness import one
from ..images import image_files
from ..store import Results

SIDE, COUNT = 256, 6  # of crops
QUALITIES = (5, 20, 35, 50, 65, 80, 95)


def run(arguments: argparse.Namespace) -> Results:
    config = registry.find(one(arguments.models, None, "model"))
    codec = Codec(config, "cpu", arguments.threads)
    entropy = loading.load(config, "cpu", arguments.threads).encoder.entropy
    context = load_training_model(config).context
    effort = one(arguments.effort, EncodeOptions.effort, "effort")
    arguments.count = arguments.count or COUNT
    rows: list[dict[str, Any]] = []
    with image_files(arguments, SIDE) as files:
        crops = [Picture(np.array(read_image(f).rgb)) for f in files]
    for quality in arguments.qualities or ((50,) if arguments.quick else QUALITIES):
        estimated = coded = 0.0
        for crop in crops:
            tokens = codec.encode_tokens(crop, quality=quality, effort=effort).bands
            payloads, _ = entropy.encode(tokens, entropy.point(quality), fit_scales=False)
            coded += 8.0 * sum(map(len, payloads.values()))
            values = tokens.map(lambda t: torch.from_numpy(t).float())
            estimated += _estimate(context, values, torch.tensor([step_of(quality)]))
        rows.append({"quality": quality, "estimated": round(estimated), "coded": round(coded)})
        print(rows[-1], flush=True)
    return {"images": len(crops), "side": SIDE, "effort": effort, "rows": rows}


@torch.no_grad()
def _estimate(context: Any, values: Any, step: Tensor) -> float:
    """Bits by the float model."""
    estimator = RateEstimator(values, values, context.base, step)
    context.autoregressive_pass(FloatArithmetic(), context.step_features(step), *values.grid, estimator)
    return estimator.bits().item()
