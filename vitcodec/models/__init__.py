"""Model families: each has a config, an analysis and a synthesis."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from ..errors import WeightsError
from .autoencoder import Autoencoder
from .swin import SwinAnalysis, SwinConfig, SwinSynthesis


@dataclass(frozen=True)
class Family:
    config: type
    analysis: type[nn.Module]
    synthesis: type[nn.Module]


FAMILIES = {"swin": Family(SwinConfig, SwinAnalysis, SwinSynthesis)}


def tupled(values: dict[str, Any]) -> dict[str, Any]:
    """JSON lists back to the tuples of config dataclasses."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}


def build_autoencoder(family: str, config: dict[str, Any] | None = None) -> Autoencoder:
    """An untrained autoencoder of a family: a wavelet codec. Raises WeightsError for an unknown family or setting."""
    try:
        parts = FAMILIES[family]
        settings = parts.config(**tupled(config or {}))
    except (KeyError, TypeError) as error:
        raise WeightsError(f"unknown model family or setting ({error}); this vitcodec knows {', '.join(FAMILIES)}") from error
    return Autoencoder(parts.analysis(settings), parts.synthesis(settings))


def family_settings(family: str) -> dict[str, Any]:
    return asdict(FAMILIES[family].config())
