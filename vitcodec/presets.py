"""The sizes of models that there are: each family's own, small enough to ship trained, and published ones built on timm's backbones, to be trained.

Nothing here imports torch. The figures are those of `vitcodec models show`, as a test checks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Preset:
    """An untrained model: a family and its settings."""

    family: str
    parameters: int
    kmac_per_pixel: float  # thousands of multiplications a pixel of decoding, 768x512 pixels
    config: Mapping[str, Any] = field(default_factory=dict)  # of the family's config dataclass; empty: its defaults
    pretrained: str | None = None  # timm's name of the weights that --init timm takes
    licence: str = "Apache-2.0"  # of those weights


PRESETS = {
    "swin": Preset("swin", 5_420_190, 35.57),
    "vit": Preset("vit", 7_864_188, 35.93),
    "beit": Preset("beit", 7_654_378, 30.59),
    "cnn": Preset("cnn", 5_729_406, 35.57),
    "vit-b16": Preset(
        "vit",
        115_302_268,
        133.73,
        {"width": 768, "blocks": 12, "decoder_width": 512, "decoder_blocks": 8, "head": 64, "backbone": "vit_base_patch16_224"},
        "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    ),
    "vit-l16": Preset(
        "vit",
        333_214_076,
        133.73,
        {"width": 1024, "blocks": 24, "decoder_width": 512, "decoder_blocks": 8, "head": 64, "backbone": "vit_large_patch16_224"},
        "vit_large_patch16_224.augreg_in21k_ft_in1k",
    ),
    "beit-base": Preset(
        "beit",
        115_073_978,
        125.83,
        {
            "width": 768,
            "blocks": 12,
            "decoder_width": 512,
            "memory_blocks": 4,
            "decoder_blocks": 4,
            "window": 14,
            "head": 64,
            "backbone": "beit_base_patch16_224",
        },
        "beit_base_patch16_224.in22k_ft_in22k_in1k",
    ),
    "swin-s": Preset(
        "swin",
        61_273_584,
        75.29,
        {"widths": (96, 192, 384), "blocks": (2, 2, 6), "window": 7, "backbone": "swin_small_patch4_window7_224"},
        "swin_small_patch4_window7_224.ms_in22k_ft_in1k",
        "MIT",
    ),
    "swin-b": Preset(
        "swin",
        107_476_438,
        119.01,
        {"widths": (128, 256, 512), "blocks": (2, 2, 6), "window": 7, "backbone": "swin_base_patch4_window7_224"},
        "swin_base_patch4_window7_224.ms_in22k_ft_in1k",
        "MIT",
    ),
}
