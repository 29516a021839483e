"""One step of training: samples, loss, gradients, optimiser, average.

All that changes from step to step lies in tensors on the device, shapes are always the same, and nothing is read back:
on a GPU the step is one CUDA graph (captured.py), on a CPU the same operators run one by one.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.func import functional_call

from ..distortion import TUNINGS
from ..models.erasure import random_erasure
from ..tiles import SITE
from .captured import captured
from .compiled import compile_parts
from .config import TrainingConfig
from .engine import Engine
from .halves import halved, product_weights
from .model import Average, TrainingModel
from .optimiser import Optimiser
from .prices import Prices
from .rounding import RoundedSynthesis
from .samples import Samples

MIDDLE_STEP = 26.0  # 8-bit levels: the quantisation step at which a sample's loss has weight 1


class TrainingStep:
    """A model's step. `rate` of the optimiser, and `weight`, how far the average moves, are set before each call.

    source: makes a batch. prices: says what each crop's distortion costs, where costs are relative.
    """

    def __init__(
        self,
        model: TrainingModel,
        source: Callable[[], Samples],
        optimiser: Optimiser,
        average: Average,
        config: TrainingConfig,
        engine: Engine,
        prices: Prices | None = None,
    ):
        self.model, self.source, self.optimiser, self.average = model, source, optimiser, average
        self.config, self.engine, self.distortion = config, engine, TUNINGS[config.tune]
        self.prices = prices
        self.weight = torch.zeros((), device=engine.device)
        self.totals = torch.zeros(3, device=engine.device)  # of the loss, of bits per pixel, and how many were finite
        synthesis = model.autoencoder.synthesis
        exact = synthesis if isinstance(synthesis, RoundedSynthesis) else None  # its weights are rounded on their own
        self.halves = product_weights(model, exact) if engine.precision == "bfloat16" else []
        if config.compile:
            compile_parts(model)
        # which tokens are erased is drawn on the CPU, and a graph would hold no exchange of processes
        alone = engine.processes == 1 and not model.autoencoder.supports_erasure
        self.run = captured(self.once, self._reset) if engine.device.type == "cuda" and alone else self.once
        self._reset()

    def __call__(self) -> None:
        self.run()

    def once(self) -> None:
        """One step, operator by operator."""
        self.optimiser.zero()
        loss, bpp = self._loss(self.source())
        loss.backward()
        self.engine.average(self.optimiser.gradients())
        self.optimiser.step()
        self.average.move(self.weight)
        with torch.no_grad():
            found = torch.stack((loss, bpp, torch.ones_like(loss)))
            self.totals += torch.where(loss.isfinite(), found, 0)

    def means(self) -> tuple[float, float] | None:
        """The means of loss and bits per pixel since the last call, where both were finite; None where they never
        were."""
        loss, bpp, count = self.totals.tolist()
        self.totals.zero_()
        return (loss / count, bpp / count) if count else None

    def _reset(self) -> None:
        self.optimiser.zero()
        self.optimiser.rate.zero_()
        self.weight.zero_()
        self.totals.zero_()

    def _loss(self, samples: Samples) -> tuple[Tensor, Tensor]:
        """The loss and the mean bits per pixel."""
        image, step, tokens = samples
        config, pixels, erased = self.config, image[0, ..., 0].numel(), self.draw_erasure(image)
        dead_zone = config.dead_zone if tokens is None else 0.0
        with_bits, with_pixels = not config.decoder_only, not config.entropy_only
        arguments = image, step, dead_zone, erased, with_bits, tokens, with_pixels, config.bend
        with self.engine.autocast():
            decoded, bits = functional_call(self.model, halved(self.model, self.halves), arguments)
        rate, distortion = bits / pixels, self.distortion.bits_per_pixel(image, decoded.float(), step, erased)
        if self.prices is not None:
            price, unit = self.prices(image, step)
            return ((rate + price * distortion) / unit).mean(), rate.mean()
        return ((rate + distortion) * (step / MIDDLE_STEP) ** config.weighting).mean(), rate.mean()

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
