"""A model folder's tensors to objects and back."""

from __future__ import annotations

import re

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from ..bitstream.tables import Tables
from ..context.coding import EntropyModel
from ..context.config import ContextConfig
from ..context.integer import IntegerArithmetic, check, skeleton
from ..errors import WeightsError
from ..models import build_autoencoder, tupled
from ..models.autoencoder import Autoencoder
from .registry import PretrainedConfig, verify

# what some tensors are called in weight files, and in the modules: a released file never changes, a module's attributes may
_STORED_NAMES = (("ungain", "inverse_gain"), (".links.", ".conditionals."), (".deeper.", ".extra."))
PART = 16 * 1000 * 1000  # bytes of tensors in a part; what hosts of repositories take without complaint


def stored_name(name: str) -> str:
    """A module's tensor -> its name in weight files."""
    for stored, own in _STORED_NAMES:
        name = name.replace(own, stored)
    return re.sub(r"^step_embedding\.", "rate.", name)


def own_name(name: str) -> str:
    """The inverse of stored_name."""
    for stored, own in _STORED_NAMES:
        name = re.sub(rf"(?<!\w){re.escape(stored)}(?!\w)" if stored[0] != "." else re.escape(stored), own, name)
    return re.sub(r"^rate\.", "step_embedding.", name)


def split_parts(tensors: dict[str, Tensor]) -> list[bytes]:
    """The parts of a model's weights, each a safetensors file, filled in the order of the tensors."""
    parts: list[dict[str, Tensor]] = [{}]
    room = PART
    for name, tensor in tensors.items():
        if parts[-1] and tensor.nbytes > room:
            parts.append({})
            room = PART
        parts[-1][stored_name(name)] = tensor
        room -= tensor.nbytes
    return [save(part) for part in parts]


def read_parts(card: PretrainedConfig) -> dict[str, Tensor]:
    return {own_name(name): tensor for file in card.files for name, tensor in load_file(file).items()}


def entropy_tensors(model: EntropyModel, narrow: Tensor, wide: Tensor, thresholds: Tensor) -> dict[str, Tensor]:
    """An entropy model as small-integer tensors for a safetensors file."""
    out = {
        "rates": model.features.to(torch.uint8),
        "bases": torch.from_numpy(model.base_scales),
        "thresholds": thresholds,
        "narrow": narrow,
        "wide": wide,
    }
    kinds = {"weight": torch.int8, "bias": torch.int32, "identity": torch.int32}
    for name, value in model.context.state_dict().items():
        kind = name.rsplit(".", 1)[1]
        out[f"context.{name}"] = (
            torch.frexp(value).exponent.sub(1).neg().to(torch.uint8) if kind == "scale" else value.to(kinds[kind])
        )
    return {f"entropy.{k}": v.contiguous() for k, v in out.items()}


def _entropy_model(tensors: dict[str, Tensor], config: ContextConfig, device: torch.device) -> EntropyModel:
    context = skeleton(config)
    state = {}
    for name in context.state_dict():
        value = tensors.pop(f"context.{name}").float()
        state[name] = 2.0**-value if name.endswith(".scale") else value
    context.load_state_dict(state, strict=True, assign=True)
    check(context)
    tables = Tables(tensors["narrow"].numpy(), tensors["wide"].numpy())
    thresholds = tensors["thresholds"].to(device)
    return EntropyModel(
        context.to(device).eval(),
        IntegerArithmetic(thresholds),
        tensors["rates"].float().to(device),
        tensors["bases"].numpy(),
        tables,
    )


def load(card: PretrainedConfig, device: torch.device) -> tuple[Autoencoder, EntropyModel]:
    """Rebuild a model from its folder, hashes and exactness checked. Raises WeightsError."""
    verify(card)
    try:
        tensors = read_parts(card)
        parts: dict[str, dict[str, Tensor]] = {"autoencoder": {}, "entropy": {}}
        for name, value in tensors.items():
            part, rest = name.split(".", 1)
            parts[part][rest] = value
        autoencoder = build_autoencoder(card.family, card.config["transform"])
        autoencoder.steps = parts["autoencoder"].pop("steps")
        autoencoder.load_state_dict({k: v.float() for k, v in parts["autoencoder"].items()})
        entropy = _entropy_model(parts["entropy"], ContextConfig(**tupled(card.config["context"])), device)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        summary = str(error).splitlines()[0]
        raise WeightsError(
            f"{card.folder}: config.json and model.safetensors do not fit together ({summary}); reinstall the weights"
        ) from error
    return autoencoder.to(device).eval().requires_grad_(False), entropy
