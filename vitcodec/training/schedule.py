"""What a run trains when, how fast, and what to say where its time is too short."""

from __future__ import annotations

import math
from pathlib import Path

from torch import nn

from ..errors import UsageError
from .config import PARTS, TrainingConfig
from .model import TrainingModel

DECAY = 0.8  # power of the share of the cool-down that is left, by which the learning rate falls


class ScheduleOver(UsageError):
    """A run that was to go on has no time left."""


def choose_trained(model: TrainingModel, config: TrainingConfig, searched: bool) -> None:
    """Let those parameters have a gradient that a phase trains. searched: as Phase has it."""
    decoder = model.autoencoder.synthesis
    trained: list[nn.Module | None]
    if config.entropy_only:
        trained = [model.context]
    elif config.decoder_only:
        trained = [decoder]
    elif config.fixed_encoder or searched:
        trained = [model.context, decoder]
    else:
        trained = [model]
    model.requires_grad_(False)
    for module in trained:
        if module is not None:
            module.requires_grad_(True)
    still = tuple(start for part, factor in config.rates.items() if not factor for start in PARTS[part])
    for name, p in model.named_parameters():
        if name.startswith(still):
            p.requires_grad_(False)


def learning_rate(config: TrainingConfig, steps: int, done: float) -> float:
    """After so many steps. done: the share of the schedule that is over."""
    left = min(1.0, (1 - done) / config.cool_down) if config.cool_down else 1.0
    return config.learning_rate * min(1.0, (steps + 1) / config.warmup) * left**DECAY


def too_short(folder: Path, config: TrainingConfig, loaded: float, taken: float, steps: int) -> UsageError:
    """What to say where no step was trained.

    loaded: the seconds that were over before the first validation. taken: with validations. steps: trained before.
    """
    limit = 60 * config.minutes
    if steps:
        return ScheduleOver(
            f"{folder}: its schedule of {limit:.0f} s is over, after {steps} steps; give a longer --time-limit, or go "
            f"on in another folder with --init run:{folder}"
        )
    return UsageError(
        f"a time limit of {limit:.0f} s is too short for one step: loading took {loaded:.0f} s and validation "
        f"{taken - loaded:.0f} s; give --time-limit {math.ceil(2 * taken / 60)}m, or fewer --val-crops"
    )
