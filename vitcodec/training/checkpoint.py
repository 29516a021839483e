"""Checkpoints: what a run goes on from, in one safetensors file.

Tensors: `model.` the weights, `average.` their moving average, `optimiser.` what the optimiser keeps for each weight,
as NAME/FIELD, `gauge.` the magnitudes that the scales of integer maps come from.
Metadata: under `training` a JSON object with the run's counters ("steps", "seconds", "pixels"), its "config" and the
"model" that it trains.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import OutputError, UsageError, WeightsError
from .model import Average, TrainingModel
from .parts import GAUGE, read_average


@dataclass(frozen=True)
class State:
    """What a checkpoint holds beside the weights and their average."""

    optimiser: Mapping[str, Tensor]  # Optimiser.state
    gauge: Mapping[str, Tensor]  # empty where the synthesis is not rounded
    metadata: Mapping[str, Any]


def save_checkpoint(path: Path, model: TrainingModel, average: Average, state: State) -> None:
    """Write a checkpoint. The file is replaced at once, so that an interruption leaves the old one whole.

    Raises OutputError where it cannot be written, as on a full disk.
    """
    tensors: dict[str, Tensor] = {}
    for prefix, own in (
        ("model.", model.state_dict()),
        ("average.", average.mean),
        ("optimiser.", state.optimiser),
        (GAUGE, state.gauge),
    ):
        tensors |= {f"{prefix}{k}": v.contiguous() for k, v in own.items()}
    text = json.dumps({**state.metadata, "model": model.description})
    temporary = path.with_suffix(".partial")
    try:
        save_file(tensors, temporary, {"training": text})
        with temporary.open("rb") as file:
            os.fsync(file.fileno())  # else a power cut may leave the new name with no bytes
        os.replace(temporary, path)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        known = ", the one before is whole" if path.exists() else ""
        raise OutputError(
            f"{path}: cannot be written ({error}){known}; free space on the disk, then go on with --resume"
        ) from error


@torch.no_grad()
def load_checkpoint(path: Path, model: TrainingModel, average: Average) -> State:
    """Fill a model and its average from a checkpoint, where they lie; returns the rest.

    Raises UsageError where there is none, WeightsError where it is damaged or of another model.
    """
    if not path.is_file():
        raise UsageError(f"{path}: no checkpoint to go on from; leave --resume out, or give the run's folder with -o")
    try:
        tensors, metadata = _read(path, next(model.parameters()).device)
    except (OSError, SafetensorError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{path}: is damaged; start a new run from the averaged weights beside it, --init run:{path.parent}"
        ) from error
    mean = _under("average.", tensors)
    try:
        model.load_state_dict(_under("model.", tensors))
        if mean.keys() != average.mean.keys():
            raise KeyError
    except (RuntimeError, KeyError) as error:
        raise WeightsError(f"{path}: made by another model; start in a new folder") from error
    for name, own in average.mean.items():
        own.copy_(mean[name])
    return State(_under("optimiser.", tensors), _under(GAUGE, tensors), metadata)


def averaged_model(path: Path) -> tuple[TrainingModel, dict[str, Any], dict[str, Tensor]]:
    """The model of a checkpoint with the averaged weights, the metadata, and the magnitudes that scales come from.

    Where there is no checkpoint, that of the averaged weights beside it (parts.py). Raises UsageError where there are
    none either, WeightsError where it does not say what it is of.
    """
    if not path.exists():
        return read_average(path.parent)
    try:
        tensors, metadata = _read(path, torch.device("cpu"))
        model = TrainingModel.build(metadata["model"])
        model.load_state_dict(_under("average.", tensors))
    except (KeyError, TypeError, ValueError, RuntimeError, SafetensorError) as error:
        raise WeightsError(
            f"{path}: does not say what model it is of, or holds another; was it made by an earlier vitcodec?"
        ) from error
    return model, metadata, _under(GAUGE, tensors)


def _read(path: Path, device: torch.device) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """All tensors, and the metadata."""
    # safetensors knows no "cpu:0", which is what accelerate calls it
    with safe_open(path, "pt", device="cpu" if device.type == "cpu" else str(device)) as file:
        metadata = json.loads(file.metadata()["training"])
        return {k: file.get_tensor(k) for k in file.keys()}, metadata  # noqa: SIM118 (safe_open is no mapping)


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with a prefix, without it."""
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
