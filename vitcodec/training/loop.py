"""The training loop: one model for every quality, by rate plus distortion."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ..context.density import RateMeter
from ..context.model import ContextModel, FloatArithmetic
from ..errors import UsageError, WeightsError
from ..evaluation.bdrate import Curve
from ..metrics import ms_ssim_tensor
from ..models.autoencoder import Autoencoder
from ..models.erasure import random_erasure
from ..quality import COARSEST, FINEST, lagrangian, ms_ssim_lagrangian, quantise
from ..tiles import SITE
from ..wavelet import Subbands
from .curve import training_svg
from .data import Crops
from .engine import Engine
from .optimiser import optimisers
from .refined import Refined
from .validation import REFERENCE, against, estimated_curve

CHECKPOINT = "checkpoint.safetensors"
ERASED_STEP = 64.0  # pixels whose token is erased count as at this step at least


@dataclass(frozen=True)
class TrainingConfig:
    minutes: float = 60.0  # of the whole schedule, over all resumptions
    learning_rate: float = 1.5e-3
    warmup: int = 50  # steps
    batch: int = 4  # crops a step
    crop: int = 256  # pixels
    dead_zone: float = 0.1
    # a sample's loss counts step^weighting: what a coarse step saves in bits, it would lose in say
    weighting: float = 1.0
    average: float = 0.998  # decay of the running mean of the weights
    entropy_only: bool = False  # the context model alone, on fixed transforms
    decoder_only: bool = False  # the synthesis alone, on fixed tokens: distortion is the loss
    tune: str = "psnr"  # or "ms-ssim": what distortion is
    compile: bool = False  # torch.compile, for GPUs
    seed: int = 0
    checkpoint_seconds: float = 240.0
    validation_seconds: float = 1800.0


class TrainingModel(nn.Module):
    """Autoencoder and float context model together: images -> (reconstruction, bits of each image)."""

    def __init__(self, autoencoder: Autoencoder, context: ContextModel):
        super().__init__()
        self.autoencoder, self.context = autoencoder, context

    def forward(
        self,
        image: Tensor,
        step: Tensor,
        dead_zone: float,
        erased: Tensor | None = None,
        rate: bool = True,
        integers: Subbands | None = None,
    ) -> tuple[Tensor, Tensor]:
        """image (B, H, W, 3), step (B,) -> the reconstruction and the bits of each image, (B,).

        erased: (B, H/16, W/16) bool, tokens to do without.
        The bits are those of all tokens: what is left out of some pictures must not teach the context model that tokens are often empty.
        rate: whether they are computed; they are zero if not. integers: the tokens, where they are given; else the image's, rounded.
        """
        soft = self.autoencoder.encode(image, step, erased) if integers is None else integers
        hard = Subbands(torch.round(soft.low), tuple(quantise(d, dead_zone) for d in soft.details)).map(Tensor.detach)
        if not rate:
            return self.autoencoder.decode(hard, step, erased), torch.zeros_like(step)
        meter = RateMeter(hard, soft, self.context.base, step)
        height, width = soft.low.shape[1:3]
        self.context.autoregressive_pass(
            FloatArithmetic(image.device), self.context.step_features(step), height, width, meter
        )
        return self.autoencoder.decode(_straight_through(soft, hard), step, erased), meter.bits()


def _straight_through(soft: Subbands, hard: Subbands) -> Subbands:
    """The rounded values with the gradient of the values before rounding."""
    pairs = zip(soft.details, hard.details, strict=True)
    return Subbands(soft.low + (hard.low - soft.low).detach(), tuple(s + (h - s).detach() for s, h in pairs))


class Average:
    """The exponential running mean of a module's parameters."""

    def __init__(self, module: nn.Module, decay: float):
        self.module, self.decay = module, decay
        self.mean = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        current = self.module.state_dict()
        floats = [k for k in self.mean if self.mean[k].is_floating_point()]
        torch._foreach_lerp_([self.mean[k] for k in floats], [current[k] for k in floats], weight)


class Run:
    """A run of training in a folder: checkpoints that it resumes from, a log as JSON lines and a picture of it.

    refined: where samples come from if decoder and context model are trained on the tokens that the encoder's default effort chooses.
    """

    def __init__(
        self,
        model: TrainingModel,
        config: TrainingConfig,
        folder: Path,
        engine: Engine | None = None,
        refined: Refined | None = None,
    ):
        self.engine, self.refined = engine or Engine(torch.device("cpu")), refined
        self.model, self.config, self.folder = model.to(self.engine.device), config, folder
        self.steps, self.seconds, self.pixels, self.tune, self.dead_zone = 0, 0.0, 0, config.tune, config.dead_zone
        trained: nn.Module | None = model
        if config.entropy_only:
            model.autoencoder.requires_grad_(False)
            trained = model.context
        if config.decoder_only:
            model.requires_grad_(False)
            trained = model.autoencoder.synthesis
            if trained is None:
                raise UsageError("the model has no network in its decoder to train")
            trained.requires_grad_(True)
        if refined:
            # an encoder that follows its own search goes on towards zero (docs/training.md)
            model.autoencoder.requires_grad_(False)
            if model.autoencoder.synthesis is not None:
                model.autoencoder.synthesis.requires_grad_(True)
        self.parameters = [p for p in trained.parameters() if p.requires_grad]
        self.optimisers = optimisers(trained, self.engine.precision == "bfloat16")
        self.average = Average(model, config.average)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        return self.folder / CHECKPOINT

    def save(self) -> None:
        if not self.engine.first:
            return
        tensors = {f"model.{k}": v for k, v in self.model.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.mean.items()}
        names = {id(p): n for n, p in self.model.named_parameters()}
        for optimiser in self.optimisers:
            for p, state in optimiser.state.items():
                tensors |= {f"optimiser.{names[id(p)]}/{k}": v for k, v in state.items()}
        autoencoder = self.model.autoencoder
        made_of = {
            "family": autoencoder.family,
            "transform": autoencoder.settings,
            "context": asdict(self.model.context.config),
        }
        meta = {
            "steps": self.steps,
            "seconds": self.seconds,
            "pixels": self.pixels,
            "config": asdict(self.config),
            "model": made_of,
        }
        temporary = self.checkpoint.with_suffix(".partial")
        save_file({k: v.contiguous() for k, v in tensors.items()}, temporary, {"training": json.dumps(meta)})
        os.replace(temporary, self.checkpoint)

    def resume(self) -> None:
        """Continue from the folder's checkpoint; raises WeightsError where it does not fit the model."""
        names = dict(self.model.named_parameters())
        device = self.engine.device
        # safetensors knows no "cpu:0", which is what accelerate calls it
        with safe_open(self.checkpoint, "pt", device="cpu" if device.type == "cpu" else str(device)) as file:
            meta = json.loads(file.metadata()["training"])
            tensors = {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118 (safe_open is no mapping)
        try:
            self.model.load_state_dict(
                {k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")}
            )
        except RuntimeError as error:
            raise WeightsError(f"{self.checkpoint}: made by another model; start in a new folder") from error
        self.average.mean = {k.removeprefix("average."): v for k, v in tensors.items() if k.startswith("average.")}
        owners = {id(p): o for o in self.optimisers for g in o.param_groups for p in g["params"]}
        for key, value in tensors.items():
            if key.startswith("optimiser."):
                name, field = key.removeprefix("optimiser.").rsplit("/", 1)
                owners[id(names[name])].state[names[name]][field] = value
        self.steps, self.seconds, self.pixels = meta["steps"], meta["seconds"], meta["pixels"]
        self.tune, self.dead_zone = meta["config"].get("tune", "psnr"), meta["config"]["dead_zone"]

    def log(self, **entry: object) -> None:
        if not self.engine.first:
            return
        entry = {"step": self.steps, "minutes": round(self.seconds / 60, 2), **entry}
        with (self.folder / "log.jsonl").open("a") as file:
            file.write(json.dumps(entry) + "\n")
        training_svg(self.folder / "log.jsonl", self.folder / "curve.svg")

    def validate(self, images: Tensor, reference: Curve) -> float:
        """Log the averaged weights' rate-distortion curve; returns its BD-rate against the reference, in per cent."""
        current = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.mean)
        self._follow()
        curve = estimated_curve(
            self.model, images.to(self.engine.device), self.config.dead_zone, self.config.tune, self.refined
        )
        self.model.load_state_dict(current)
        change = against(reference, curve, self.config.tune)
        self.log(validation=[[round(v, 4) for v in point] for point in curve], bd_rate=round(change, 3))
        return change

    def train(
        self,
        crops: Crops,
        validation: tuple[Tensor, Curve] | None,
        report: Callable[[str], None],
        stop: Callable[[], bool] = lambda: False,
        advance: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Train to the end of the schedule, by the clock.

        validation: images (N, H, W, 3) and the reference's curve. report gets a line now and then, advance the seconds trained; stop ends it early.
        There is a checkpoint at the end in any case.
        """
        config, engine = self.config, self.engine
        # backward in this thread: a second pool of threads beside this one's would fight it for the cores (1.05 s a step against 1.18 s)
        torch.autograd.set_multithreading_enabled(False)
        seed = config.seed + self.steps + 1_000_003 * engine.rank
        rng = np.random.default_rng(seed)
        torch.manual_seed(seed)
        loss_of: Callable[..., tuple[Tensor, ...]] = engine.prepare(self.model)
        if config.compile:
            loss_of = torch.compile(loss_of, dynamic=False)

        def check() -> None:
            if validation is not None and engine.first:
                report(f"validation: {self.validate(*validation):+.2f} % BD-rate against {REFERENCE}")

        if not self.steps:
            check()
        started = last = checked = validated = time.monotonic()
        before = self.seconds
        recent: list[tuple[float, float]] = []
        count, size = config.batch, config.crop
        pixels = count * size**2 * engine.processes  # a step
        while (done := engine.agree(1.0 if stop() else self.seconds / 60 / config.minutes)) < 1:
            warm = min(1.0, (self.steps + 1) / config.warmup)
            for optimiser in self.optimisers:
                for group in optimiser.param_groups:
                    group["lr"] = config.learning_rate * warm * (1 - done) ** 0.8
            # one stratum of the logarithmic range of steps for each sample, so that every batch sees fine and coarse ones
            strata = torch.from_numpy((np.arange(count) + rng.random(count)) / count).float()
            loss, bpp = self._step(loss_of, *self._samples(crops, strata))
            self.steps += 1
            self.pixels += pixels
            recent.append((loss, bpp))
            now = time.monotonic()
            self.seconds = before + now - started
            advance(self.seconds)
            if self.steps % 100 == 0:
                mean_loss, mean_bpp = np.mean(recent, 0)
                rate = len(recent) * pixels / (now - last) / 1e6
                self.log(loss=round(mean_loss, 5), bpp=round(mean_bpp, 4), megapixels_per_second=round(rate, 4))
                report(
                    f"step {self.steps}, {self.seconds / 60:.1f} min: loss {mean_loss:.4f}, {mean_bpp:.3f} bpp, {rate:.3f} MP/s"
                )
                recent, last = [], now
            if now - checked > config.checkpoint_seconds:
                self.save()
                self._follow()
                checked = now
            if now - validated > config.validation_seconds:
                check()
                validated = time.monotonic()
                started += validated - now  # the schedule counts training alone
        self.save()
        check()

    def _samples(self, crops: Crops, strata: Tensor) -> tuple[Tensor, Tensor, Subbands | None]:
        """Images (B, H, W, 3), steps (B,) and tokens where they are given. strata (B,): 0 the finest, 1 the coarsest step."""
        if self.refined:
            image, integers, step = self.refined.batch(crops, self.config.crop, strata)
            return image, step, integers
        return (
            crops.batch(len(strata), self.config.crop),
            FINEST * (COARSEST / FINEST) ** strata.to(self.engine.device),
            None,
        )

    def _follow(self) -> None:
        """Let the tokens be chosen by the averaged transforms."""
        if self.refined:
            self.refined.follow(
                {
                    k.removeprefix("autoencoder."): v
                    for k, v in self.average.mean.items()
                    if k.startswith("autoencoder.")
                }
            )

    def _missing(self, image: Tensor) -> Tensor | None:
        """(B, H/16, W/16) bool: tokens that a batch has to do without, in about every other one; None for none.

        In a quarter of the pictures 10 to 50 % are erased, one by one or in squares of four.
        """
        if self.config.entropy_only or not self.model.autoencoder.supports_erasure or torch.rand(()) < 0.5:
            return None
        count, height, width = len(image), image.shape[1] // SITE, image.shape[2] // SITE
        square = 1 + int(torch.rand(()) < 0.5)
        share = 0.1 + 0.4 * torch.rand(()).item()
        gone = (
            random_erasure(count, height // square, width // square, share)
            .repeat_interleave(square, 1)
            .repeat_interleave(square, 2)
        )
        gone &= (torch.rand(count) < 0.5)[:, None, None]
        return gone.to(image.device)

    def _step(
        self, model: Callable[..., tuple[Tensor, ...]], image: Tensor, step: Tensor, integers: Subbands | None = None
    ) -> tuple[float, float]:
        """One step of the optimisers; returns the loss and the mean rate in bits per pixel."""
        pixels, erased = image[0, ..., 0].numel(), self._missing(image)
        with self.engine.autocast():
            reconstruction, bits = model(
                image, step, self.config.dead_zone, erased, not self.config.decoder_only, integers
            )
        costs = bits / pixels + self._distortion(image, reconstruction, step, erased)
        loss = (costs * (step / 26) ** self.config.weighting).mean()
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        self.engine.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.parameters, 1.0)
        if math.isfinite(norm.item()):
            for optimiser in self.optimisers:
                optimiser.step()
        self.average.update(self.steps + 1)
        return loss.item(), (bits / pixels).mean().item()

    def _distortion(self, image: Tensor, reconstruction: Tensor, step: Tensor, erased: Tensor | None) -> Tensor:
        """(B,): what the error of each image is worth, in bits a pixel."""
        if self.config.tune == "ms-ssim":
            return ms_ssim_lagrangian(step) * (
                1 - ms_ssim_tensor(image.permute(0, 3, 1, 2), reconstruction.permute(0, 3, 1, 2))
            )
        worth = lagrangian(step)[:, None, None]
        if erased is not None:
            # what nobody can know would be nearly all of the loss of a fine step
            gone = erased.repeat_interleave(SITE, 1).repeat_interleave(SITE, 2)
            worth = torch.where(gone, lagrangian(step.clamp_min(ERASED_STEP))[:, None, None], worth)
        return (worth * (image - reconstruction).square().sum(-1)).mean((1, 2))


@torch.no_grad()
def initialise_base(context: ContextModel, images: Sequence[np.ndarray], rng: np.random.Generator) -> None:
    """Set where log scales start from the wavelet coefficients of some training crops."""
    from .. import wavelet

    bands = wavelet.forward(Crops(images, int(rng.integers(1 << 30))).batch(64, 256))
    context.base[0, :3] = torch.log(bands.low.std((0, 1, 2)) * 0.3)
    for level, details in enumerate(bands.details, 1):
        context.base[level] = torch.log(details.abs().mean((0, 1, 2)))
