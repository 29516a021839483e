"""Model families.

A family is one file with a config dataclass and two networks: an analysis for the encoder, a synthesis for the decoder.

To add a family `new`:

1. Write `models/new.py`: a frozen dataclass `NewConfig` whose fields all have defaults, and two modules,
   `NewAnalysis(config)` and `NewSynthesis(config)`. Both take wavelet coefficients in quantisation steps (Subbands) and
   the step position (B,), and return corrected coefficients of the same shapes. Let the last layer start as zero
   (`layers.zero_init`), so that the untrained model is a wavelet codec, and set the attributes `grid` and `halo` (see
   `Family`). The parts in blocks.py, tokens.py and unet.py are there to be used; cnn.py is the shortest example.
2. Add a line to FAMILIES below.
3. Add a preset of the same name to `pretrained/presets.py`. tests/test_families.py then checks it as it checks the
   others, and says which figures of cost belong there.
4. Train it: `vitcodec train DATA... -m new --init cnn`, which starts from the wavelet with the context model and the
   gains of `cnn`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from ..errors import WeightsError
from ..pretrained.config import tupled
from ..pretrained.presets import PRESETS
from .autoencoder import Autoencoder
from .beit import BeitAnalysis, BeitConfig, BeitSynthesis
from .cnn import CNNAnalysis, CNNConfig, CNNSynthesis
from .swin import SwinConfig, swin_analysis, swin_synthesis
from .vit import ViTAnalysis, ViTConfig, ViTSynthesis


@dataclass(frozen=True)
class Family:
    """A config dataclass, and what makes the networks: config -> module of (Subbands, step position (B,)) -> Subbands.

    Such a module says how a large image is to be cut so that the parts come out as in the whole. `grid`: pixels, of
    which the parts' sides and positions are multiples, but for sides at the image's edges. `halo`: pixels on each side
    of a part that its result depends on, a multiple of `grid`; None where no halo is enough. With `supports_erasure` it
    takes a third argument: the erased tokens, (B, H/16, W/16) bool.
    """

    config: type
    analysis: Callable[[Any], nn.Module]
    synthesis: Callable[[Any], nn.Module]


FAMILIES = {
    "swin": Family(SwinConfig, swin_analysis, swin_synthesis),
    "vit": Family(ViTConfig, ViTAnalysis, ViTSynthesis),
    "beit": Family(BeitConfig, BeitAnalysis, BeitSynthesis),
    "cnn": Family(CNNConfig, CNNAnalysis, CNNSynthesis),
}


def build_autoencoder(family: str, config: Mapping[str, Any] | None = None) -> Autoencoder:
    """An untrained autoencoder of a family: a wavelet codec.

    config: fields of the family's config dataclass; the others are at their defaults. Raises WeightsError for an
    unknown family or setting.
    """
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
