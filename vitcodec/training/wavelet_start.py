"""A model folder of a preset without training: it codes as the wavelet does, and can be looked at and trained."""

from __future__ import annotations

from pathlib import Path

import torch

from ..models import untrained
from ..pretrained import integer_model, registry
from ..pretrained.config import PretrainedConfig
from .floats import write_folder
from .integers import model_config, write_float_context
from .model import TrainingModel
from .package import load_training_model

LENDER = registry.DEFAULT_MODEL  # its entropy model and gains are taken


@torch.no_grad()
def write_wavelet_start(preset: str, folder: Path, name: str, seed: int = 0) -> PretrainedConfig:
    """Write the folder of an untrained preset, with the entropy model and gains of the default model.

    Corrections of analysis and synthesis are zero, so that pictures come out as from the plain wavelet; attention and
    all other layers are there, with random weights. Raises WeightsError.
    """
    torch.manual_seed(seed)
    config = registry.find(LENDER)
    model, fresh = load_training_model(config), untrained(preset)
    lent = model.autoencoder.state_dict()
    fresh.load_state_dict({name: lent[name] for name in ("gain", "inverse_gain")}, strict=False)
    numbers = integer_model.load(config.files[0], config.synthesis, config.context)
    training = {"start": f"untrained: the wavelet, with the entropy model and gains of {LENDER}"}
    written = write_folder(
        model_config(TrainingModel(fresh, model.context), folder, name, config.dead_zone, training, config.tune),
        fresh,
        numbers,
    )
    write_float_context(model.context, folder)
    return written
