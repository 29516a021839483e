"""What options take where that is one of a few words: for completion, and to say at once which is none of them.

A function of completion gets the word so far and returns words, or (word, description). Nothing here imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..errors import UsageError
from ..filesystem.suffixes import WRITE_FORMATS
from ..options import EFFORTS, TILE_SIDES
from ..pretrained import registry
from ..pretrained.config import PretrainedConfig
from ..pretrained.presets import PRESETS
from ..subbands import LEVELS
from ..suggestions import advice

Words = list[str | tuple[str, str]]

DEVICES = ("auto", "cpu", "cuda", "mps")
FORMATS = tuple(s[1:] for s in WRITE_FORMATS if s not in (".jpeg", ".tiff"))  # one name for each
BASELINES = ("jpeg", "webp", "jpeg2000", "avif", "jxl", "all")
METRICS = ("psnr", "ssim", "ms-ssim", "ssimulacra2", "all")
INITS = ("wavelet", "timm")


def one_of(*words: object) -> Callable[[str], Words]:
    """Completion of a fixed choice."""

    def words_of(incomplete: str) -> Words:
        return [str(word) for word in words]

    return words_of


def list_of(*words: str) -> Callable[[str], Words]:
    """Completion of a list with commas: of its last word."""

    def words_of(incomplete: str) -> Words:
        before = incomplete[: incomplete.rfind(",") + 1]
        return [before + word for word in words if word not in before.split(",")]

    return words_of


devices = one_of(*DEVICES)
efforts = one_of(*EFFORTS)
reductions = one_of(*range(LEVELS + 1))
tiles = one_of(*TILE_SIDES)
formats = one_of(*FORMATS)
tunings = one_of(*registry.TUNED)
baselines = list_of(*BASELINES)
metrics = list_of(*METRICS)


def models(incomplete: str) -> Words:
    """Models that are here: shipped, in the folders of $VITCODEC_MODELS, downloaded."""
    configs = {config.name: config for config in reversed([*registry.available(), *registry.searched()])}
    found: Words = [(name, _kind(config)) for name, config in reversed(configs.items())]
    return found + [(source, f"{config.name}, {_kind(config)}") for source, config in registry.downloaded()]


def lists_of_models(incomplete: str) -> Words:
    """The same for a list with commas: of its last word."""
    before = incomplete[: incomplete.rfind(",") + 1]
    found = [word if isinstance(word, tuple) else (word, "") for word in models(incomplete)]
    return [(before + name, kind) for name, kind in found if name not in before.split(",")]


def _kind(config: PretrainedConfig) -> str:
    return config.family + ("" if config.tune == "psnr" else f", tuned for {config.tune}")


def families(incomplete: str) -> Words:
    """What can be trained."""
    return [(name, preset.family) for name, preset in PRESETS.items()]


def models_and_presets(incomplete: str) -> Words:
    """What `models show` shows."""
    shown = models(incomplete)
    named = {word[0] for word in shown}
    return shown + [word for word in families(incomplete) if word[0] not in named]


def inits(incomplete: str) -> Words:
    """What training starts from."""
    return [*INITS, *models(incomplete)]


def check_device(name: str) -> str:
    """The name of a device. Raises UsageError for what can be none on any machine."""
    if name not in DEVICES and not re.fullmatch(r"cuda:\d+", name):
        raise UsageError(f"unknown device '{name}'; {advice(name, DEVICES, 'give auto, cpu, cuda, cuda:N or mps')}")
    return name


def check_format(name: str | None) -> str | None:
    """The name of a format that decode writes. Raises UsageError."""
    if name is not None and f".{name.lower().lstrip('.')}" not in (*WRITE_FORMATS, ".jpeg2000"):
        raise UsageError(f"unknown format '{name}'; {advice(name.lstrip('.'), FORMATS)}")
    return name
