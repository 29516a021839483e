"""Finding and checking weights. Nothing here imports torch, so that `models list` and error messages start at once."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from . import hub
from .presets import PRESETS

DEFAULT_MODEL = "swin"
TUNED = {
    "psnr": DEFAULT_MODEL,
    "ms-ssim": f"{DEFAULT_MODEL}-ms-ssim",
}  # what a model can be trained for, and the shipped one that was
LOCAL = "local-dir:"
_INSTALLED = Path(__file__).parent.parent / "weights"  # in a wheel
_CHECKOUT = Path(__file__).parent.parent.parent / "weights"  # in a source tree


@dataclass(frozen=True)
class PretrainedConfig:
    """One set of weights: a folder with config.json, README.md and model.safetensors, in parts where it is large."""

    name: str
    family: str
    folder: Path
    config: dict[str, Any]

    @property
    def dead_zone(self) -> float:
        return float(self.config["dead_zone"])

    @property
    def tune(self) -> str:
        return str(self.config.get("tune", "psnr"))

    @property
    def files(self) -> list[Path]:
        return [self.folder / name for name in hub.part_names(self.config)]

    @property
    def sha256(self) -> str:
        """Of the parts, one behind the other, as config.json states it; `verify` compares."""
        return str(self.config["sha256"])

    @property
    def identity(self) -> bytes:
        """The first 8 bytes of the SHA-256, which files carry."""
        return bytes.fromhex(self.sha256)[:8]


def read_card(folder: Path) -> PretrainedConfig:
    """Raises WeightsError where the folder holds no readable model."""
    try:
        config = json.loads((folder / "config.json").read_text("utf-8"))
        card = PretrainedConfig(config["name"], config["family"], folder, config)
        if len(card.identity) != 8:
            raise ValueError("no SHA-256 is stated")
        if missing := [file.name for file in card.files if not file.is_file()]:
            raise ValueError(f"{missing[0]} is missing")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", card.name):
            raise ValueError(f"the name {card.name!a} has characters other than letters, digits, '.', '-' and '_'")
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder}: no usable model ({error}); give a folder with config.json and model.safetensors"
        ) from error
    return card


def _shipped() -> Path:
    return _INSTALLED if _INSTALLED.is_dir() else _CHECKOUT


def available() -> list[PretrainedConfig]:
    """The models that came with the package, the default first."""
    folders = [p.parent for p in sorted(_shipped().glob("*/config.json"))]
    return sorted((read_card(f) for f in folders), key=lambda c: (c.name != DEFAULT_MODEL, c.name))


def downloaded() -> list[tuple[str, PretrainedConfig]]:
    """The models in the hub's cache: (hf-hub:ORG/NAME@COMMIT, card). What cannot be read is left out."""
    cards = []
    for source, folder in hub.downloaded():
        try:
            cards.append((source, read_card(folder)))
        except WeightsError:
            continue
    return cards


def find(model: str | None = None) -> PretrainedConfig:
    """model: a shipped model's name, local-dir:PATH, hf-hub:ORG/NAME[@REVISION], or None for $VITCODEC_MODEL or else the default.

    A model on the hub is taken from the cache, and downloaded where it is not in it: to name it is to ask for it. Raises WeightsError, UsageError.
    """
    model = chosen(model)
    if model.startswith(LOCAL):
        return read_card(Path(model.removeprefix(LOCAL)))
    if model.startswith(hub.HUB):
        repository = hub.Repository.parse(model)
        return read_card(hub.cached(repository) or hub.download(repository))
    if not _is_shipped(model):
        names = ", ".join(c.name for c in available()) or "none"
        if model in PRESETS:
            raise WeightsError(
                f"model '{model}' has no weights yet; train it with vitcodec train DATA... -m {model}; shipped: {names}"
            )
        raise WeightsError(f"unknown model '{model}'; shipped: {names}; or give {LOCAL}PATH or {hub.HUB}ORG/NAME")
    return read_card(_shipped() / model)


def is_preset(model: str | None) -> bool:
    """Whether a name is that of an untrained family or preset, and of no weights."""
    name = chosen(model)
    return name in PRESETS and not _is_shipped(name)


def resolve(name: str, identity: bytes) -> str:
    """What decodes a file that names a model and the first 8 bytes of its hash: a shipped model, or one that was downloaded before.

    Nothing is downloaded, as it is a file that names it.
    """
    if _is_shipped(name) and find(name).identity == identity:
        return name
    return next((source for source, card in downloaded() if card.identity == identity), name)


def chosen(model: str | None) -> str:
    return model or os.environ.get("VITCODEC_MODEL") or DEFAULT_MODEL


def _is_shipped(model: str) -> bool:
    return "/" not in model and (_shipped() / model / "config.json").is_file()


@cache
def _digest(parts: tuple[tuple[Path, int, int], ...]) -> str:
    """parts: path, size and time of modification of each."""
    digest = hashlib.sha256()
    for path, _, _ in parts:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def verify(card: PretrainedConfig) -> None:
    """Raise WeightsError unless the SHA-256 of the weights is the one that config.json states."""
    try:
        stats = [(file, file.stat()) for file in card.files]
        found = _digest(tuple((file, stat.st_size, stat.st_mtime_ns) for file, stat in stats))
    except OSError as error:
        raise WeightsError(
            f"{error.filename}: cannot be read ({error.strerror}); reinstall vitcodec or check the folder"
        ) from error
    if found != card.sha256:
        named = ", ".join(str(file) for file in card.files)
        raise WeightsError(
            f"{named}: SHA-256 is {found[:12]}..., config.json says {card.sha256[:12]}...; reinstall the weights"
        )
