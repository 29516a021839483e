"""The settings of a training run. Nothing here imports torch: the command line takes its defaults from here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingConfig:
    """How a run trains. The names of the fields are part of the checkpoint's format."""

    minutes: float = 60.0  # length of the schedule, over all resumptions
    learning_rate: float = 1.5e-3  # at its peak, after the warm-up
    warmup: int = 50  # steps in which the learning rate rises
    batch: int = 4  # crops per step
    crop: int = 256  # pixels, a multiple of 32
    dead_zone: float = 0.1  # of rounding
    weighting: float = (
        1.0  # a sample's loss has weight (step / 26)^weighting, or fine steps would be nearly all of the gradient
    )
    average: float = 0.998  # decay of the moving average of the weights
    entropy_only: bool = False  # train the context model alone, with fixed transforms
    decoder_only: bool = False  # train the synthesis alone, with fixed tokens: the loss is the distortion
    tune: str = "psnr"  # a key of distortion.TUNINGS
    compile: bool = False  # torch.compile, for GPUs
    seed: int = 0
    checkpoint_seconds: float = 240.0  # between checkpoints
    validation_seconds: float = 1800.0  # between validations
