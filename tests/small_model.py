"""A model of integers with few channels and random weights, in a folder: encodes and decodes in milliseconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from test_integer import small_synthesis
from torch import nn

from vitcodec.adaptive_filter import SIZES, FilterNumbers
from vitcodec.coding.maps import log_thresholds
from vitcodec.coding.tables import logistic_flags
from vitcodec.context.config import ContextConfig
from vitcodec.context.model import ContextModel
from vitcodec.models import build_autoencoder
from vitcodec.models.autoencoder import Autoencoder
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.integer_model import CodingNumbers, ContextNumbers, IntegerModel
from vitcodec.subbands import Subbands
from vitcodec.training import floats
from vitcodec.training.assemble import analysis_graph, dequantiser, encoder_numbers, write_folder
from vitcodec.training.coding_tables import KINDS, frequencies, parametric
from vitcodec.training.round_context import base_scales, measure, round_context

CONFIG = ContextConfig((8, 8, 8, 8), (8, 8, 8, 8), 8, 3, 3, 8, (0, 1, 0, 0), flags=True, flag_head=8)


class Unchanged(nn.Module):
    """An analysis that corrects nothing."""

    def forward(self, bands: Subbands, position: torch.Tensor) -> Subbands:
        return bands.map(lambda t: t + 0 * position)


def small_context() -> tuple[ContextModel, dict, np.ndarray]:
    torch.manual_seed(0)
    context = ContextModel(CONFIG)
    for module in context.modules():
        if isinstance(module, nn.Linear) and not module.weight.any():
            nn.init.normal_(module.weight, std=0.05)
    context.base[:] = 1.5
    bands = [torch.randint(-3, 4, (1, 4 << max(4 - l, 0), 4 << max(4 - l, 0), 9 if l else 3)).float() for l in range(5)]
    bands[0] = torch.randint(-3, 4, (1, 4, 4, 3)).float()
    tokens = Subbands(bands[0], tuple(bands[1:]))
    layers, features = round_context(context, measure(context, iter([(tokens, torch.tensor([20.0]))])))
    return context, layers, features


def small_filters() -> FilterNumbers:
    weights = np.random.default_rng(6).integers(-4, 5, (100, sum(SIZES)))
    return FilterNumbers(np.full(100, 60, np.int32), weights.astype(np.int8))


def small_model() -> IntegerModel:
    context, layers, features = small_context()
    synthesis, shape = small_synthesis(np.random.default_rng(4))
    quiet = {
        name: layer
        if not name.startswith("output")
        else type(layer)(layer.weight // 32, layer.bias // 99, layer.shift, True, True)
        for name, layer in synthesis.items()
    }
    narrow, wide = (frequencies(parametric(scales, largest)) for scales, largest in KINDS)
    coding = CodingNumbers(features, base_scales(context), log_thresholds(), narrow, wide, logistic_flags())
    plain = Autoencoder()
    numbers = quiet, shape, dequantiser(plain), encoder_numbers(plain), small_filters()
    return IntegerModel(layers, CONFIG, coding, *numbers)


def write_small_family(folder: Path, family: str, settings: dict, tune: str = "psnr") -> None:
    """A family in floating point that corrects a little."""
    torch.manual_seed(0)
    autoencoder = build_autoencoder(family, settings)
    for p in autoencoder.parameters():
        if not p.any():
            nn.init.normal_(p, std=0.003)
    model = small_model()
    config = PretrainedConfig(family, family, folder, "", autoencoder.settings, CONFIG, 0.1, tune=tune)
    floats.write_folder(config, autoencoder, ContextNumbers(model.context, CONFIG, model.coding))


def write_small_model(folder: Path) -> None:
    config = PretrainedConfig("small", "swin", folder, "", {}, CONFIG, 0.1)
    write_folder(config, small_model(), analysis_graph(Unchanged()))
