"""The averaged weights of a run in small files, written as it goes: what remains of a machine that is taken away.

Beside log.jsonl in the run's folder: average-1.safetensors, ... of at most 16 MiB, in half precision but for gains and
the scales of integer maps; and average.json, whose fields are "parts", how many there are, "model", what it is, and
the counters and the "config" of the run. Each file is replaced at once. A run that ends while it writes can leave parts
of two moments, a minute apart: they fit together all the same.
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

AVERAGE = "average.json"
GAUGE = "gauge."  # before the names of the magnitudes that scales come from
EXACT = "gain", GAUGE  # in the names of what keeps its precision


def part_name(number: int) -> str:
    """Of a part, from 1."""
    return f"average-{number}.safetensors"


def write_average(
    folder: Path, weights: Mapping[str, Tensor], gauge: Mapping[str, Tensor], metadata: Mapping[str, Any]
) -> None:
    """weights: by a TrainingModel's names. metadata: the counters, "config" and "model", as JSON can hold them."""
    tensors = {**weights, **{f"{GAUGE}{name}": t for name, t in gauge.items()}}
    halves = {k: v if any(part in k for part in EXACT) else v.half() for k, v in tensors.items()}
    parts = split_parts({stored_name(k): v.detach().cpu().contiguous().numpy() for k, v in halves.items()})
    for number, data in enumerate(parts, 1):
        write_atomic(folder / part_name(number), data, overwrite=True)
    text = json.dumps({"parts": len(parts), **metadata}, indent=1)
    write_atomic(folder / AVERAGE, text.encode(), overwrite=True)


def read_average(folder: Path) -> tuple[TrainingModel, dict[str, Any], dict[str, Tensor]]:
    """The model with the averaged weights, the metadata, and the magnitudes that scales come from.

    Raises UsageError where the folder holds none, WeightsError where they do not fit together.
    """
    if not (folder / AVERAGE).is_file():
        raise UsageError(f"{folder}: holds no {AVERAGE}; give the folder of a training run")
    try:
        metadata = json.loads((folder / AVERAGE).read_text("utf-8"))
        files = [folder / part_name(k + 1) for k in range(metadata["parts"])]
        tensors = {own_name(k): v.float() for file in files for k, v in load_file(file).items()}
        gauge = {k.removeprefix(GAUGE): tensors.pop(k) for k in list(tensors) if k.startswith(GAUGE)}
        model = TrainingModel.build(metadata["model"])
        model.load_state_dict(tensors)
    except (OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise WeightsError(f"{folder}: its averaged weights are damaged or incomplete; copy all parts again") from error
    return model, metadata, gauge
