"""A model folder of a family in floating point out of a trained model, and back.

Its context model is rounded to integers as that of `swin` is. model.safetensors holds the transforms too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .. import files
from ..coding.maps import log_thresholds
from ..models import build_autoencoder
from ..models.autoencoder import Autoencoder
from ..pipeline import loading
from ..pipeline.loading import Coder
from ..pretrained.config import CONFIG, FLOAT_CONTEXT, PretrainedConfig, part_names
from ..pretrained.integer_model import CodingNumbers, ContextNumbers
from ..pretrained.loading import float_parts, load_floats
from . import round_context
from .coding_tables import Counts, fit_coding_tables
from .filters import EncodedSample
from .integers import (
    ROUNDING,
    TABLES,
    FloatSample,
    load_float_context,
    measure_context,
    model_config,
    parts_lacking,
    parts_unfit,
    write_float_context,
)
from .model import TrainingModel
from .reporting import Report, followed, silent
from .round_context import base_scales


@torch.no_grad()
def write_float_family(
    model: TrainingModel,
    folder: Path,
    name: str,
    calibration: Sequence[FloatSample],
    counted: Callable[[Coder], Iterable[EncodedSample]],
    dead_zone: float,
    training: Mapping[str, Any],
    tune: str,
    report: Report = silent,
) -> None:
    """Write a folder, with the float context model that training goes on from. Arguments: as write_integer_model.

    Raises WeightsError.
    """
    context, device = model.context.eval(), model.autoencoder.gain.device
    measured = measure_context(context, calibration, report)
    model.cpu()
    report(ROUNDING, 0, 1)
    layers, features = round_context.round_context(context, measured)
    report(ROUNDING, 1, 1)
    config = model_config(model, folder, name, dead_zone, training, tune)

    def write(tables: tuple[np.ndarray, np.ndarray, np.ndarray]) -> PretrainedConfig:
        numbers = CodingNumbers(features, base_scales(context), log_thresholds(), *tables)
        return write_folder(config, model.autoencoder, ContextNumbers(layers, context.config, numbers))

    coder = loading.load(write(Counts().tables()), str(device), torch.get_num_threads())
    samples = list(counted(coder))
    own = ((tokens, quality) for _, tokens, quality in followed(samples, TABLES, len(samples), report))
    write(fit_coding_tables(coder.encoder.entropy, own))
    write_float_context(context, folder)


def write_folder(config: PretrainedConfig, autoencoder: Autoencoder, model: ContextNumbers) -> PretrainedConfig:
    """Write config.folder: the weights and config.json, whose other fields `config` has. Returns what it states."""
    parts = float_parts(autoencoder, model)
    names = part_names(len(parts))
    config.folder.mkdir(parents=True, exist_ok=True)
    for part, data in zip(names, parts, strict=True):
        files.write_atomic(config.folder / part, data, overwrite=True)
    for stale in config.folder.glob("model-*.safetensors"):  # of a larger model that was here before
        if stale.name not in names:
            stale.unlink()
    config = replace(config, sha256=hashlib.sha256(b"".join(parts)).hexdigest(), parts=len(parts))
    files.write_atomic(config.folder / CONFIG, config.to_json().encode(), overwrite=True)
    return config


def load_float_family(config: PretrainedConfig, context: Path | None = None) -> TrainingModel:
    """What such a folder was made of, with this version's quantisation steps.

    context: the folder of the float context model, if that is another. Raises WeightsError where parts are absent or
    do not fit together.
    """
    trained, _ = load_floats(config)
    autoencoder = build_autoencoder(config.family, config.transform)
    autoencoder.load_state_dict(trained.state_dict())
    try:
        return TrainingModel(autoencoder, load_float_context(config, context))
    except FileNotFoundError as error:
        raise parts_lacking(config, [FLOAT_CONTEXT]) from error
    except (KeyError, RuntimeError) as error:
        raise parts_unfit(config) from error
