"""The settings of a training run. Nothing here imports torch: the command line takes its defaults from here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

NEW_RATE, TRAINED_RATE = 1.5e-3, 5e-5  # peak learning rates from the wavelet, and from trained weights
VALIDATION_CROPS = 12
SHORT_MINUTES, SHORT_VALIDATION_CROPS = 5, 4  # runs that are shorter validate on fewer crops
VALIDATION_SECONDS = 60.0, 1800.0  # between validations, of which there are four in a run if that is between these
CHECKPOINT = "checkpoint.safetensors"  # in a run's folder
NEW_MODELS = "wavelet", "timm"  # of --init: what is no trained model


# of --rate: the parts of a model, and how the names of their parameters begin
PARTS = {
    "analysis": ("autoencoder.analysis.",),
    "synthesis": ("autoencoder.synthesis.",),
    "gains": ("autoencoder.gain", "autoencoder.inverse_gain"),
    "entropy": ("context.",),
}


@dataclass(frozen=True)
class Phase:
    """A part of a run."""

    name: str  # as the log has it
    end: float  # share of the schedule that is over when it ends
    searched: bool  # whether it trains on tokens that the search chooses, and not on rounded ones


@dataclass(frozen=True)
class TrainingConfig:
    """How a run trains. The names of the fields are part of the checkpoint's format."""

    minutes: float = 60.0  # length of the schedule over all resumptions, all that a run does included
    learning_rate: float = NEW_RATE  # at its peak, after the warm-up
    rates: Mapping[str, float] = field(default_factory=dict)  # factors of it, by PARTS; 0 leaves a part as it is
    warmup: int = 50  # steps in which the learning rate rises
    cool_down: float = 1.0  # share of the schedule, at its end, in which it falls to zero
    batch: int = 4  # crops per step
    crop: int = 256  # pixels, a multiple of 32
    dead_zone: float = 0.1  # of rounding
    weighting: float = (
        1.0  # a sample's loss has weight (step / 26)^weighting, or fine steps would be nearly all of the gradient
    )
    bend: float = 0.0  # bits that are taken off the distortion's slope at tokens of 0 (TrainingModel.forward)
    average: float = 0.998  # decay of the moving average of the weights
    entropy_only: bool = False  # train the context model alone, with fixed transforms
    decoder_only: bool = False  # train the synthesis alone, with fixed tokens: the loss is the distortion
    fixed_encoder: bool = False  # train context model and synthesis, not the analysis and the gains
    rounded: bool = False  # compute the synthesis as its integers do
    refined: float = 0.0  # share of the schedule, at its end, that trains on searched tokens; the encoder is then fixed
    searching: float = 0.25  # share of the time of that part that the search takes
    pool: int = 2048  # crops with searched tokens that are kept, 0.6 MB each with 256 pixels
    scales: tuple[float, ...] = (1.0,)  # how much larger than it stays a crop is cut, each as often
    colours: float = 0.0  # share of the crops that are recoloured
    fixed_tokens: bool = False  # train on crops whose tokens were chosen before (token_cache.py)
    tune: str = "psnr"  # a key of distortion.TUNINGS
    relative: bool = False  # count each crop's cost as a share of its own bits (prices.py); weighting is then unused
    compile: bool = False  # compile blocks and probabilities with torch.compile
    start: str = ""  # what the run started from, for people
    seed: int = 0
    checkpoint_seconds: float = 60.0  # between checkpoints
    validation_seconds: float = 1800.0  # between validations

    @property
    def phases(self) -> tuple[Phase, ...]:
        """What a run does one after another."""
        if self.fixed_tokens:
            return (Phase("fixed tokens", 1.0, True),)
        found = [Phase("rounded tokens", 1 - self.refined, False)] if self.refined < 1 else []
        return tuple([*found, Phase("searched tokens", 1.0, True)] if self.refined > 0 else found)
