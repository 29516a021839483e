"""A model's transforms in torch, with gradients: images to continuous latents and back. No entropy coding."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from . import wavelet
from .errors import InputError, UsageError, WeightsError
from .models.autoencoder import Autoencoder
from .options import QUALITIES
from .pretrained import integer_model
from .pretrained.config import FLOAT_TRANSFORM, PretrainedConfig
from .subbands import Subbands
from .tiles import PAD
from .tokens import GRID_CHANNELS, from_grid, to_grid


@dataclass(frozen=True)
class Latents:
    """A model's analysis, and latents in steps -> images (B, H, W, 3) in 8-bit levels.

    autoencoder: of a model of integers, without the synthesis.
    """

    autoencoder: Autoencoder
    synthesis: Callable[[Subbands, int], Tensor]
    device: torch.device

    @classmethod
    def of(cls, config: PretrainedConfig, device: str) -> Latents:
        """Those of a model. Raises WeightsError where its weights in floating point are not there."""
        place = torch.device(device)
        return _of_integers(config, place) if config.integers else _of_floats(config, place)

    def step(self, quality: int) -> Tensor:
        """The quantisation step of a quality in 8-bit levels, (1,). Raises UsageError."""
        if quality not in QUALITIES:
            raise UsageError(f"quality {quality} is out of range; give {QUALITIES[0]} to {QUALITIES[-1]}")
        return self.autoencoder.steps[quality - 1 : quality]

    def encode(self, images: Tensor, quality: int) -> Tensor:
        """As Codec.encode_latents."""
        step = self.step(quality)
        if not isinstance(images, Tensor) or images.ndim != 4 or images.shape[1] != 3 or not images.numel():
            raise InputError(f"images are a tensor (batch, 3, height, width), not {_shape(images)}")
        if not images.is_floating_point():
            raise InputError(f"images are floats from 0 to 1, not {images.dtype}; divide by 255")
        height, width = images.shape[2:]
        padded = F.pad(images.to(self.device, torch.float32), (0, -width % PAD, 0, -height % PAD), mode="replicate")
        latents = self.autoencoder.encode(255 * padded.permute(0, 2, 3, 1), step.expand(len(images)))
        grid: Tensor = to_grid(latents)
        return grid

    def decode(self, latents: Tensor, quality: int) -> Tensor:
        """As Codec.decode_latents."""
        self.step(quality)  # raises
        if not isinstance(latents, Tensor) or latents.ndim != 4 or latents.shape[1] != GRID_CHANNELS:
            raise InputError(f"latents are a tensor (batch, {GRID_CHANNELS}, rows, columns), not {_shape(latents)}")
        if latents.shape[2] % 2 or latents.shape[3] % 2:
            raise InputError(f"latents have an even number of rows and columns, not {_shape(latents)}; pad them")
        pixels = self.synthesis(from_grid(latents.to(self.device, torch.float32)), quality)
        return pixels.permute(0, 3, 1, 2) / 255


def _of_floats(config: PretrainedConfig, device: torch.device) -> Latents:
    from .pretrained.loading import load_floats

    autoencoder, _ = load_floats(config, device)

    def synthesise(latents: Subbands, quality: int) -> Tensor:
        return autoencoder.decode(latents, autoencoder.steps[quality - 1].expand(len(latents.low)))

    return Latents(autoencoder, synthesise, device)


def _of_integers(config: PretrainedConfig, device: torch.device) -> Latents:
    """The analysis in floating point; the decoder's integers, whose rounding passes gradients on."""
    from .models import build_autoencoder
    from .search.gradient import IntegerSynthesis

    model = integer_model.load(config.files[0], config.synthesis, config.context)
    autoencoder = build_autoencoder(config.family, config.transform)
    autoencoder.synthesis = None
    try:
        found = load_file(config.folder / FLOAT_TRANSFORM)
        autoencoder.load_state_dict({name: tensor.float() for name, tensor in found.items()})
    except (OSError, SafetensorError, RuntimeError) as error:
        raise WeightsError(
            f"{config.folder}: its analysis in floating point, {FLOAT_TRANSFORM}, is not there or does not fit; "
            "get the model's whole folder"
        ) from error
    autoencoder.steps = torch.tensor(model.encoder.steps)
    autoencoder = autoencoder.to(device).eval().requires_grad_(False)
    synthesis, steps = IntegerSynthesis(model, device), model.encoder.steps

    def synthesise(latents: Subbands, quality: int) -> Tensor:
        return wavelet.inverse(synthesis(latents, quality).map(lambda t: t * float(steps[quality - 1])))

    return Latents(autoencoder, synthesise, device)


def _shape(value: object) -> str:
    return str(tuple(value.shape)) if isinstance(value, Tensor) else type(value).__name__
