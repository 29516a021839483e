"""Checkpoints: what a run goes on from, in one safetensors file.

Tensors: `model.` the weights, `average.` their moving average, `optimiser.` what the optimisers keep for each weight,
as NAME/FIELD.
Metadata: under `training` a JSON object with the run's counters ("steps", "seconds", "pixels"), its "config" and the
"model" that it trains.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import UsageError, WeightsError
from .model import Average, TrainingModel

CHECKPOINT = "checkpoint.safetensors"  # in a run's folder


def save_checkpoint(
    path: Path,
    model: TrainingModel,
    average: Average,
    optimisers: Sequence[torch.optim.Optimizer],
    metadata: Mapping[str, Any],
) -> None:
    """Write a checkpoint. The file is replaced at once, so that an interruption leaves the old one whole."""
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"average.{k}": v for k, v in average.mean.items()}
    names = {id(p): n for n, p in model.named_parameters()}
    for optimiser in optimisers:
        for p, state in optimiser.state.items():
            tensors |= {f"optimiser.{names[id(p)]}/{k}": v for k, v in state.items()}
    text = json.dumps({**metadata, "model": model.description})
    temporary = path.with_suffix(".partial")
    save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, {"training": text})
    os.replace(temporary, path)


def load_checkpoint(
    path: Path, model: TrainingModel, average: Average, optimisers: Sequence[torch.optim.Optimizer]
) -> dict[str, Any]:
    """Fill a model, its average and its optimisers from a checkpoint; returns the metadata.

    Raises WeightsError where the checkpoint is of another model.
    """
    names = dict(model.named_parameters())
    tensors, metadata = _read(path, next(model.parameters()).device)
    try:
        model.load_state_dict(_under("model.", tensors))
    except RuntimeError as error:
        raise WeightsError(f"{path}: made by another model; start in a new folder") from error
    average.mean = _under("average.", tensors)
    owners = {id(p): o for o in optimisers for g in o.param_groups for p in g["params"]}
    for key, value in _under("optimiser.", tensors).items():
        name, field = key.rsplit("/", 1)
        owners[id(names[name])].state[names[name]][field] = value
    return metadata


def averaged_model(path: Path) -> tuple[TrainingModel, dict[str, Any]]:
    """The model of a checkpoint with the averaged weights, and the metadata.

    Raises UsageError where there is no checkpoint, WeightsError where it does not say what it is of.
    """
    if not path.exists():
        raise UsageError(f"{path.parent}: holds no {path.name}; give the folder of a training run")
    try:
        tensors, metadata = _read(path, torch.device("cpu"))
        model = TrainingModel.build(metadata["model"])
        model.load_state_dict(_under("average.", tensors))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(
            f"{path}: does not say what model it is of, or holds another; was it made by an earlier vitcodec?"
        ) from error
    return model, metadata


def _read(path: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors, and the metadata."""
    # safetensors knows no "cpu:0", which is what accelerate calls it
    with safe_open(path, "pt", device="cpu" if device.type == "cpu" else str(device)) as file:
        metadata = json.loads(file.metadata()["training"])
        return {k: file.get_tensor(k) for k in file.keys()}, metadata  # noqa: SIM118 (safe_open is no mapping)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
