"""Context models with few channels and random weights, rounded: what the tests of coding and of engines run."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import torch

from vitcodec.bitstream.tables import MEANS, NARROW, NARROW_SCALES, SCALES, SHAPES, WIDE
from vitcodec.coding.context_pass import Networks
from vitcodec.coding.entropy import EntropyModel
from vitcodec.coding.maps import LookUp, log_thresholds
from vitcodec.coding.tables import CodingTables, logistic_flags
from vitcodec.context.config import ContextConfig
from vitcodec.context.model import ContextModel
from vitcodec.integer.catalogue import Network
from vitcodec.integer.context import context_networks
from vitcodec.subbands import Subbands
from vitcodec.training.coding_tables import frequencies, parametric
from vitcodec.training.round_context import base_scales, measure, round_context

FLAGGED = ContextConfig(
    features=(8, 8, 12, 8),
    heads=(8, 8, 8, 8),
    low_head=8,
    low_scales=2,
    conditional=8,
    extra_blocks=(0, 1, 1, 1),
    flags=True,
    flag_head=8,
)
PLAIN = replace(FLAGGED, flags=False, conditional=0, extra_blocks=(0, 0, 0, 0))
ROWS, COLUMNS = 4, 6
STEP = torch.tensor([30.0])


def sparse_tokens(rows: int = ROWS, columns: int = COLUMNS, seed: int = 0) -> Subbands:
    """Whole numbers, int32, mostly zero at the fine levels."""
    rng = np.random.default_rng(seed)

    def band(level: int, c: int) -> np.ndarray:
        shift = 4 - level if level else 0
        shape = (1, rows << shift, columns << shift, c)
        values = np.round(rng.laplace(0, 3 if level else 40, shape))
        share = min(1.0, 0.03 * level**2) if level else 1.0
        return (values * (rng.random(shape) < share)).astype(np.int32)

    return Subbands(band(0, 3), tuple(band(level, 9) for level in range(1, 5)))


@cache
def float_model(config: ContextConfig = FLAGGED) -> ContextModel:
    torch.manual_seed(0)
    context = ContextModel(config).eval().requires_grad_(False)
    for p in context.parameters():
        torch.nn.init.normal_(p, std=0.15)
    return context


@cache
def rounded(config: ContextConfig = FLAGGED) -> tuple[dict[str, Network], np.ndarray]:
    """The networks, and the input for each quality."""
    samples = ((sparse_tokens(seed=seed).map(lambda t: torch.from_numpy(t).float()), STEP) for seed in range(3))
    context = float_model(config)
    layers, features = round_context(context, measure(context, samples))
    return context_networks(layers), features


@cache
def tables() -> CodingTables:
    kinds = (range(NARROW_SCALES), NARROW), (range(NARROW_SCALES, SCALES), WIDE)
    narrow, wide = (frequencies(parametric(scales, largest)) for scales, largest in kinds)
    assert narrow.shape[:2] == (SHAPES, MEANS)
    return CodingTables(narrow, wide, logistic_flags())


def entropy_model(engine, config: ContextConfig = FLAGGED) -> EntropyModel:
    nets = Networks(engine, config, LookUp(log_thresholds()))
    return EntropyModel(nets, rounded(config)[1], base_scales(float_model(config)), tables())
