"""The training loop: one model for every quality, by rate plus distortion."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..distortion import TUNINGS
from ..errors import UsageError
from ..models.erasure import random_erasure
from ..quality import COARSEST, FINEST
from ..subbands import Subbands
from ..tiles import SITE
from .checkpoint import CHECKPOINT, load_checkpoint, save_checkpoint
from .config import TrainingConfig
from .curve import training_svg
from .data import Crops
from .engine import Engine
from .model import Average, TrainingModel
from .optimiser import optimisers
from .refined import RefinedTokens
from .validation import REFERENCE, ValidationSet, bd_rate_to_reference, estimated_curve

LOG, CURVE = "log.jsonl", "curve.svg"  # in a run's folder, beside the checkpoint
LOG_INTERVAL = 100  # steps
MIDDLE_STEP = 26.0  # 8-bit levels: the quantisation step at which a sample's loss has weight 1
DECAY = 0.8  # power of the share of the schedule that is left, by which the learning rate falls
LARGEST_GRADIENT = 1.0  # norm over all weights, to which gradients are clipped
RANK_SEED = 1_000_003  # between the seeds of processes that train together


class Run:
    """A run of training in a folder, which gets checkpoints to resume from, a log as JSON lines and the training curve.

    refined: the source of samples that trains decoder and context model on refined tokens; the encoder's networks then
    stay fixed. Raises UsageError where nothing is left to train.
    """

    def __init__(
        self,
        model: TrainingModel,
        config: TrainingConfig,
        folder: Path,
        engine: Engine | None = None,
        refined: RefinedTokens | None = None,
    ):
        self.engine, self.refined = engine or Engine(torch.device("cpu")), refined
        self.model, self.config, self.folder = model.to(self.engine.device), config, folder
        self.steps, self.seconds, self.pixels = 0, 0.0, 0  # trained so far
        self.distortion = TUNINGS[config.tune]
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
            # an encoder that learned from its own search would go on towards zero (docs/training.md)
            model.autoencoder.requires_grad_(False)
            if model.autoencoder.synthesis is not None:
                model.autoencoder.synthesis.requires_grad_(True)
        self.parameters = [p for p in trained.parameters() if p.requires_grad]
        self.optimisers = optimisers(trained, self.engine.precision == "bfloat16")
        self.average = Average(model, config.average)
        folder.mkdir(parents=True, exist_ok=True)

    @property
    def checkpoint(self) -> Path:
        """The file that `save` writes and `resume` reads."""
        return self.folder / CHECKPOINT

    @property
    def seed(self) -> int:
        """The seed of this process from here on: another one after each resumption."""
        return self.config.seed + self.steps + RANK_SEED * self.engine.rank

    def save(self) -> None:
        """Write the checkpoint; only the first of several processes does."""
        if not self.engine.first:
            return
        counters = {"steps": self.steps, "seconds": self.seconds, "pixels": self.pixels}
        metadata = {**counters, "config": asdict(self.config)}
        save_checkpoint(self.checkpoint, self.model, self.average, self.optimisers, metadata)

    def resume(self) -> None:
        """Go on from the folder's checkpoint. Raises WeightsError where it is of another model."""
        metadata = load_checkpoint(self.checkpoint, self.model, self.average, self.optimisers)
        self.steps, self.seconds, self.pixels = metadata["steps"], metadata["seconds"], metadata["pixels"]

    def log(self, **entry: object) -> None:
        """Add a line to the log, with the steps and minutes trained so far, and draw the training curve anew."""
        if not self.engine.first:
            return
        entry = {"step": self.steps, "minutes": round(self.seconds / 60, 2), **entry}
        with (self.folder / LOG).open("a") as file:
            file.write(json.dumps(entry) + "\n")
        training_svg(self.folder / LOG, self.folder / CURVE)

    def validate(self, validation: ValidationSet) -> float:
        """Log the curve of the averaged weights; returns its BD-rate against the reference, in per cent."""
        current = {k: v.clone() for k, v in self.model.state_dict().items()}
        self.model.load_state_dict(self.average.mean)
        self._update_refined()
        images = validation.images.to(self.engine.device)
        curve = estimated_curve(self.model, images, self.config.dead_zone, self.distortion, self.refined)
        self.model.load_state_dict(current)
        change = bd_rate_to_reference(validation.reference, curve, self.distortion)
        self.log(validation=[[round(v, 4) for v in point] for point in curve], bd_rate=round(change, 3))
        return change

    def train(
        self,
        crops: Crops,
        validation: ValidationSet | None,
        report: Callable[[str], None],
        stop: Callable[[], bool] = lambda: False,
        advance: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Train to the end of the schedule, by the clock, and write a checkpoint.

        report: called with a line of progress now and then. advance: called after each step with the seconds trained.
        stop: asked before each step; True ends the training early.
        """
        config, engine = self.config, self.engine
        # backward in this thread: a second pool of threads would compete with this one's for the cores (1.05 s a step
        # against 1.18 s)
        torch.autograd.set_multithreading_enabled(False)
        rng = np.random.default_rng(self.seed)
        torch.manual_seed(self.seed)
        model: Callable[..., tuple[Tensor, Tensor]] = engine.prepare(self.model)
        if config.compile:
            model = torch.compile(model, dynamic=False)

        def validate() -> None:
            if validation is not None and engine.first:
                report(f"validation: {self.validate(validation):+.2f} % BD-rate against {REFERENCE}")

        if not self.steps:
            validate()
        started = logged = saved = validated = time.monotonic()
        before = self.seconds
        recent: list[tuple[float, float]] = []
        pixels = config.batch * config.crop**2 * engine.processes  # a step
        while (done := engine.agree(1.0 if stop() else self.seconds / 60 / config.minutes)) < 1:
            self._set_learning_rate(done)
            # a stratum of the logarithmic range of quantisation steps for each sample, so that every batch has fine and
            # coarse ones
            strata = torch.from_numpy((np.arange(config.batch) + rng.random(config.batch)) / config.batch).float()
            recent.append(self._step(model, *self._samples(crops, strata)))
            self.steps += 1
            self.pixels += pixels
            now = time.monotonic()
            self.seconds = before + now - started
            advance(self.seconds)
            if self.steps % LOG_INTERVAL == 0:
                report(self._log_losses(recent, len(recent) * pixels / (now - logged) / 1e6))
                recent, logged = [], now
            if now - saved > config.checkpoint_seconds:
                self.save()
                self._update_refined()
                saved = now
            if now - validated > config.validation_seconds:
                validate()
                validated = time.monotonic()
                started += validated - now  # the schedule counts training alone
        self.save()
        validate()

    def draw_erasure(self, image: Tensor) -> Tensor | None:
        """Random tokens to erase of a batch (B, H, W, 3): (B, H/16, W/16) bool, or None for none.

        In about every other batch 10 to 50 % of the tokens of half of the images are erased, one by one or in squares
        of four. Always None where the model does not support erasure or the autoencoder is not trained.
        """
        if self.config.entropy_only or not self.model.autoencoder.supports_erasure or torch.rand(()) < 0.5:
            return None
        count, rows, columns = len(image), image.shape[1] // SITE, image.shape[2] // SITE
        square = 1 + int(torch.rand(()) < 0.5)
        share = 0.1 + 0.4 * torch.rand(()).item()
        erased = random_erasure(count, rows // square, columns // square, share)
        erased = erased.repeat_interleave(square, 1).repeat_interleave(square, 2)
        erased &= (torch.rand(count) < 0.5)[:, None, None]
        return erased.to(image.device)

    def _set_learning_rate(self, done: float) -> None:
        """done: the share of the schedule that is over."""
        warm = min(1.0, (self.steps + 1) / self.config.warmup)
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.config.learning_rate * warm * (1 - done) ** DECAY

    def _log_losses(self, recent: list[tuple[float, float]], speed: float) -> str:
        """Log the means of (loss, bits per pixel) and the speed in megapixels per second; returns them as a line."""
        loss, bpp = np.mean(recent, 0)
        self.log(loss=round(loss, 5), bpp=round(bpp, 4), megapixels_per_second=round(speed, 4))
        return f"step {self.steps}, {self.seconds / 60:.1f} min: loss {loss:.4f}, {bpp:.3f} bpp, {speed:.3f} MP/s"

    def _samples(self, crops: Crops, strata: Tensor) -> tuple[Tensor, Tensor, Subbands | None]:
        """Images (B, H, W, 3), steps (B,) and refined tokens, if it is those that are trained on.

        strata (B,): 0 for the finest step, 1 for the coarsest.
        """
        if self.refined:
            image, tokens, step = self.refined.batch(crops, self.config.crop, strata)
            return image, step, tokens
        step = FINEST * (COARSEST / FINEST) ** strata.to(self.engine.device)
        return crops.batch(len(strata), self.config.crop), step, None

    def _step(
        self, model: Callable[..., tuple[Tensor, Tensor]], image: Tensor, step: Tensor, tokens: Subbands | None
    ) -> tuple[float, float]:
        """One step of the optimisers; returns the loss and the mean bits per pixel."""
        config, pixels, erased = self.config, image[0, ..., 0].numel(), self.draw_erasure(image)
        with self.engine.autocast():
            reconstruction, bits = model(image, step, config.dead_zone, erased, not config.decoder_only, tokens)
        costs = bits / pixels + self.distortion.bits_per_pixel(image, reconstruction, step, erased)
        loss = (costs * (step / MIDDLE_STEP) ** config.weighting).mean()
        for optimiser in self.optimisers:
            optimiser.zero_grad()
        self.engine.backward(loss)
        norm = nn.utils.clip_grad_norm_(self.parameters, LARGEST_GRADIENT)
        if math.isfinite(norm.item()):
            for optimiser in self.optimisers:
                optimiser.step()
        self.average.update(self.steps + 1)
        return loss.item(), (bits / pixels).mean().item()

    def _update_refined(self) -> None:
        """Let the refined tokens be searched with the averaged transforms."""
        if self.refined:
            prefix = "autoencoder."
            mean = self.average.mean.items()
            self.refined.update({k.removeprefix(prefix): v for k, v in mean if k.startswith(prefix)})
