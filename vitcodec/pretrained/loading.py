"""A model folder's tensors to objects and back: safetensors <-> Autoencoder and EntropyModel."""

from __future__ import annotations

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors import numpy as arrays
from safetensors.torch import load_file, save
from torch import Tensor

from ..bitstream.tables import Tables
from ..context.coding import EntropyModel
from ..context.config import ContextConfig
from ..context.integer import IntegerArithmetic, check, skeleton
from ..distortion import TUNINGS
from ..errors import WeightsError
from ..models import build_autoencoder
from ..models.autoencoder import Autoencoder
from .config import PretrainedConfig
from .integer_model import ContextNumbers, context_numbers, context_tensors, unfit
from .registry import verify

PART = 16 * 1000 * 1000  # bytes of tensors in a part; what hosts of repositories take without complaint

# A released file never changes, an attribute of a module may: a component of a tensor's name in the modules -> in
# weight files
_STORED_NAMES = {
    "inverse_gain": "ungain",
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


def split_parts(tensors: dict[str, Tensor]) -> list[bytes]:
    """Tensors by their own names -> the parts of a model's weights, each a safetensors file.

    The parts are filled in the order of the tensors.
    """
    parts: list[dict[str, Tensor]] = [{}]
    room = PART
    for name, tensor in tensors.items():
        if parts[-1] and tensor.nbytes > room:
            parts.append({})
            room = PART
        parts[-1][stored_name(name)] = tensor
        room -= tensor.nbytes
    return [save(part) for part in parts]


def read_parts(config: PretrainedConfig) -> dict[str, Tensor]:
    """The inverse of split_parts: all tensors of a model folder, unchecked. Raises OSError, SafetensorError."""
    return {own_name(name): tensor for file in config.files for name, tensor in load_file(file).items()}


def entropy_tensors(model: EntropyModel, narrow: Tensor, wide: Tensor, thresholds: Tensor) -> dict[str, Tensor]:
    """An entropy model as small-integer tensors for a safetensors file. narrow, wide: of its probability tables."""
    out = {
        "features": model.features.to(torch.uint8),
        "base_scales": torch.from_numpy(model.base_scales),
        "thresholds": thresholds,
        "narrow": narrow,
        "wide": wide,
    }
    kinds = {"weight": torch.int8, "bias": torch.int32, "identity": torch.int32}
    for name, value in model.context.state_dict().items():
        kind = name.rsplit(".", 1)[1]
        # a scale is a power of two, of which the negated exponent is kept
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
        tensors["features"].float().to(device),
        tensors["base_scales"].numpy(),
        tables,
    )


def load(config: PretrainedConfig, device: torch.device) -> tuple[Autoencoder, EntropyModel]:
    """Rebuild a model from its folder. Raises WeightsError.

    Its hash is checked, and that its integer networks are exact.
    """
    verify(config)
    if config.tune not in TUNINGS:
        raise WeightsError(f"{config.folder}: tuned for {config.tune!a}, which this vitcodec does not know; upgrade it")
    try:
        parts: dict[str, dict[str, Tensor]] = {"autoencoder": {}, "entropy": {}}
        for name, value in read_parts(config).items():
            part, rest = name.split(".", 1)
            parts[part][rest] = value
        autoencoder = build_autoencoder(config.family, config.transform)
        autoencoder.steps = parts["autoencoder"].pop("steps")
        autoencoder.load_state_dict({k: v.float() for k, v in parts["autoencoder"].items()})
        entropy = _entropy_model(parts["entropy"], config.context, device)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        summary = str(error).splitlines()[0]
        raise WeightsError(
            f"{config.folder}: config.json and model.safetensors do not fit together ({summary}); reinstall the weights"
        ) from error
    return autoencoder.to(device).eval().requires_grad_(False), entropy


AUTOENCODER = "autoencoder."  # prefix of the transforms' tensors
STEPS = f"{AUTOENCODER}steps"


def float_parts(autoencoder: Autoencoder, model: ContextNumbers) -> list[bytes]:
    """The parts of the weights of a family in floating point. Transforms are in half precision, but for gains."""
    tensors = {f"{AUTOENCODER}{k}": v if "gain" in k else v.half() for k, v in autoencoder.state_dict().items()}
    tensors[STEPS] = autoencoder.steps
    found = context_tensors(model) | {k: v.cpu().contiguous().numpy() for k, v in tensors.items()}
    parts: list[dict[str, np.ndarray]] = [{}]
    room = PART
    for name, tensor in found.items():
        if parts[-1] and tensor.nbytes > room:
            parts.append({})
            room = PART
        parts[-1][name] = tensor
        room -= tensor.nbytes
    return [arrays.save(part) for part in parts]


def load_floats(config: PretrainedConfig, device: torch.device | str = "cpu") -> tuple[Autoencoder, ContextNumbers]:
    """The inverse of float_parts, with the hash unchecked. Every integer layer is checked. Raises WeightsError."""
    try:
        tensors = {name: tensor for file in config.files for name, tensor in arrays.load_file(file).items()}
        own = {k.removeprefix(AUTOENCODER): v for k, v in tensors.items() if k.startswith(AUTOENCODER)}
        autoencoder = build_autoencoder(config.family, config.transform)
        autoencoder.steps = torch.from_numpy(own.pop("steps"))
        autoencoder.load_state_dict({k: torch.from_numpy(v).float() for k, v in own.items()})
        model = context_numbers(tensors, config.context)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise unfit(config.files[0], error) from error
    return autoencoder.to(device).eval().requires_grad_(False), model
