"""Model families: each has a config, an analysis and a synthesis."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from ..errors import WeightsError
from ..pretrained.presets import PRESETS
from .autoencoder import Autoencoder
from .beit import BeitAnalysis, BeitConfig, BeitSynthesis
from .cnn import CNNAnalysis, CNNConfig, CNNSynthesis
from .swin import SwinConfig, SwinSynthesis, swin_analysis
from .vit import ViTAnalysis, ViTConfig, ViTSynthesis


@dataclass(frozen=True)
class Family:
    """analysis and synthesis: config -> module of (Subbands, rate (B,)) -> Subbands.

    Such a module says how large images are to be cut so that the parts come out as the whole would. `grid`: pixels, of which the parts' sides and
    positions are multiples, but for sides at the image's edges. `halo`: pixels beyond a part that its result depends on, a multiple of `grid`; None
    where no halo is enough. With `fills` it takes a third argument, the erased tokens.
    """

    config: type
    analysis: Callable[[Any], nn.Module]
    synthesis: Callable[[Any], nn.Module]


FAMILIES = {
    "swin": Family(SwinConfig, swin_analysis, SwinSynthesis),
    "vit": Family(ViTConfig, ViTAnalysis, ViTSynthesis),
    "beit": Family(BeitConfig, BeitAnalysis, BeitSynthesis),
    "cnn": Family(CNNConfig, CNNAnalysis, CNNSynthesis),
}


def tupled(values: dict[str, Any]) -> dict[str, Any]:
    """JSON lists back to the tuples of config dataclasses."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def build_autoencoder(family: str, config: dict[str, Any] | None = None) -> Autoencoder:
    """An untrained autoencoder of a family: a wavelet codec. Raises WeightsError for an unknown family or setting."""
    try:
        parts = FAMILIES[family]
        settings = parts.config(**tupled(config or {}))
    except (KeyError, TypeError) as error:
        raise WeightsError(
            f"unknown model family or setting ({error}); this vitcodec knows {', '.join(FAMILIES)}"
        ) from error
    autoencoder = Autoencoder(parts.analysis(settings), parts.synthesis(settings))
    autoencoder.family, autoencoder.settings = family, asdict(settings)
    return autoencoder


def untrained(name: str) -> Autoencoder:
    """An untrained autoencoder by a family's or a preset's name. Raises WeightsError for an unknown name."""
    if name not in PRESETS:
        raise WeightsError(f"unknown family or preset '{name}'; there are {', '.join(PRESETS)}")
    return build_autoencoder(PRESETS[name].family, PRESETS[name].config)
