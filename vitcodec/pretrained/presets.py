"""The models that can be trained, by name.

A small one of each family, which also ships trained, and published sizes with timm's backbones. No torch here. The
figures are those of `vitcodec models show`, as a test checks.
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
    "swin": Preset("swin", 13_648_140, 77.08, {"blocks": (1, 3, 2), "convolutions": 8, "integers": True}),
    "vit": Preset("vit", 10_197_754, 60.83),
    "beit": Preset("beit", 9_987_944, 55.5),
    "cnn": Preset("cnn", 8_062_972, 60.47),
    "vit-b16": Preset(
        "vit",
        117_635_834,
        158.63,
        {
            "width": 768,
            "blocks": 12,
            "decoder_width": 512,
            "decoder_blocks": 8,
            "head": 64,
            "backbone": "vit_base_patch16_224",
        },
        "vit_base_patch16_224.augreg2_in21k_ft_in1k",
    ),
    "vit-l16": Preset(
        "vit",
        335_547_642,
        158.63,
        {
            "width": 1024,
            "blocks": 24,
            "decoder_width": 512,
            "decoder_blocks": 8,
            "head": 64,
            "backbone": "vit_large_patch16_224",
        },
        "vit_large_patch16_224.augreg_in21k_ft_in1k",
    ),
    "beit-base": Preset(
        "beit",
        117_407_544,
        150.73,
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
        63_607_150,
        100.19,
        {"widths": (96, 192, 384), "blocks": (2, 2, 6), "window": 7, "backbone": "swin_small_patch4_window7_224"},
        "swin_small_patch4_window7_224.ms_in22k_ft_in1k",
        "MIT",
    ),
    "swin-b": Preset(
        "swin",
        109_810_004,
        143.91,
        {"widths": (128, 256, 512), "blocks": (2, 2, 6), "window": 7, "backbone": "swin_base_patch4_window7_224"},
        "swin_base_patch4_window7_224.ms_in22k_ft_in1k",
        "MIT",
    ),
}
