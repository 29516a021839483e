"""The weights of a family in floating point, to networks and back; and names of tensors."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save

from ..models import build_autoencoder
from ..models.autoencoder import Autoencoder
from .config import PretrainedConfig
from .integer_model import ContextNumbers, context_numbers, context_tensors, unfit

PART = 16 * 1000 * 1000  # bytes of tensors in a part; what hosts of repositories take without complaint

AUTOENCODER = "autoencoder."  # prefix of the transforms' tensors
STEPS = f"{AUTOENCODER}steps"

# A released file never changes, an attribute of a module may: a component of a tensor's name in the modules -> in
# files of the float context model
_STORED_NAMES = {
    "conditionals": "links",
    "extra": "deeper",
    "step_embedding": "rate",
    "features": "rates",
    "base_scales": "bases",
}
_OWN_NAMES = {stored: own for own, stored in _STORED_NAMES.items()}


def stored_name(name: str) -> str:
    """A module's tensor -> its name in weight files."""
    return ".".join(_STORED_NAMES.get(component, component) for component in name.split("."))


def own_name(name: str) -> str:
    """The inverse of stored_name."""
    return ".".join(_OWN_NAMES.get(component, component) for component in name.split("."))


def float_parts(autoencoder: Autoencoder, model: ContextNumbers) -> list[bytes]:
    """The parts of the weights of a family in floating point. Transforms are in half precision, but for gains."""
    tensors = {f"{AUTOENCODER}{k}": v if "gain" in k else v.half() for k, v in autoencoder.state_dict().items()}
    tensors[STEPS] = autoencoder.steps
    found = context_tensors(model) | {k: v.cpu().contiguous().numpy() for k, v in tensors.items()}
    return split_parts(found)


def split_parts(tensors: Mapping[str, np.ndarray]) -> list[bytes]:
    """Tensors by the names that they are stored under -> safetensors files of about PART bytes, filled in order."""
    parts: list[dict[str, np.ndarray]] = [{}]
    room = PART
    for name, tensor in tensors.items():
        if parts[-1] and tensor.nbytes > room:
            parts.append({})
            room = PART
        parts[-1][name] = tensor
        room -= tensor.nbytes
    return [save(part) for part in parts]


def load_floats(config: PretrainedConfig, device: torch.device | str = "cpu") -> tuple[Autoencoder, ContextNumbers]:
    """The inverse of float_parts, with the hash unchecked. Every integer layer is checked. Raises WeightsError."""
    try:
        tensors = {name: tensor for file in config.files for name, tensor in load_file(file).items()}
        own = {k.removeprefix(AUTOENCODER): v for k, v in tensors.items() if k.startswith(AUTOENCODER)}
        autoencoder = build_autoencoder(config.family, config.transform)
        autoencoder.steps = torch.from_numpy(own.pop("steps"))
        autoencoder.load_state_dict({k: torch.from_numpy(v).float() for k, v in own.items()})
        model = context_numbers(tensors, config.context)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise unfit(config.files[0], error) from error
    return autoencoder.to(device).eval().requires_grad_(False), model
