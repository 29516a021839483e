"""The averaged weights of a run in small files, written as it goes: what remains of a machine that is taken away.

Beside log.jsonl in the run's folder: average-1.safetensors, ... of at most 16 MiB, in half precision but for gains and
the scales of integer maps; and average.json, whose fields are "parts", how many there are, "model", what it is, and
the counters and the "config" of the run. best.json and its parts are the same at the best validation (best.py). Each
file is replaced at once. A run that ends while it writes can leave parts of two moments, a minute apart: they fit
together all the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from ..errors import UsageError, WeightsError
from ..files import write_atomic
from ..pretrained.loading import own_name, split_parts, stored_name
from .model import TrainingModel

AVERAGE, BEST = "average", "best"  # names of files, without numbers and suffixes
GAUGE = "gauge."  # before the names of the magnitudes that scales come from
EXACT = "gain", GAUGE  # in the names of what keeps its precision


def part_name(number: int, name: str = AVERAGE) -> str:
    """Of a part, from 1."""
    return f"{name}-{number}.safetensors"


def metadata_file(folder: Path, name: str = AVERAGE) -> Path:
    """What says how many parts there are."""
    return folder / f"{name}.json"


def write_average(
    folder: Path,
    weights: Mapping[str, Tensor],
    gauge: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
    name: str = AVERAGE,
) -> None:
    """weights: by a TrainingModel's names. metadata: the counters, "config" and "model", as JSON can hold them."""
    tensors = {**weights, **{f"{GAUGE}{name}": t for name, t in gauge.items()}}
    halves = {k: v if any(part in k for part in EXACT) else v.half() for k, v in tensors.items()}
    parts = split_parts({stored_name(k): v.detach().cpu().contiguous().numpy() for k, v in halves.items()})
    for number, data in enumerate(parts, 1):
        write_atomic(folder / part_name(number, name), data, overwrite=True)
    write_metadata(folder, {"parts": len(parts), **metadata}, name)


def write_metadata(folder: Path, metadata: Mapping[str, Any], name: str = AVERAGE) -> None:
    """Replace the JSON file alone."""
    write_atomic(metadata_file(folder, name), json.dumps(metadata, indent=1).encode(), overwrite=True)


def read_average(folder: Path, name: str = AVERAGE) -> tuple[TrainingModel, dict[str, Any], dict[str, Tensor]]:
    """The model with the averaged weights, the metadata, and the magnitudes that scales come from.

    Raises UsageError where the folder holds none, WeightsError where they do not fit together.
    """
    file = metadata_file(folder, name)
    if not file.is_file():
        raise UsageError(f"{folder}: holds no {file.name}; give the folder of a training run")
    try:
        metadata = json.loads(file.read_text("utf-8"))
        files = [folder / part_name(k + 1, name) for k in range(metadata["parts"])]
        tensors = {own_name(k): v.float() for part in files for k, v in load_file(part).items()}
        gauge = {k.removeprefix(GAUGE): tensors.pop(k) for k in list(tensors) if k.startswith(GAUGE)}
        model = TrainingModel.build(metadata["model"])
        model.load_state_dict(tensors)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{file}: its weights are damaged or incomplete; copy all parts again") from error
    return model, metadata, gauge
