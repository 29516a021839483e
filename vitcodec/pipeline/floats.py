"""The transforms of a family in floating point, on torch, as the pipeline asks for them.

Tokens are exact all the same: pixels alone depend on the machine, by a level here and there.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import torch
from torch import Tensor

from .. import wavelet
from ..adaptive_filter import AdaptiveFilter
from ..analysis import Analysis, step_position
from ..enhancement import Enhancement, no_enhancement
from ..models.autoencoder import Autoencoder
from ..models.erasure import cheapest_to_erase, fill
from ..subbands import Subbands
from ..tiles import SITE, Area
from ..transform import Tokens


@dataclass(frozen=True)
class FloatTransform:
    """As Transform."""

    autoencoder: Autoencoder
    threads: int = 1  # torch shares its work among threads itself

    def step(self, quality: int) -> float:
        """As Transform."""
        return self._steps(quality).item()

    @torch.no_grad()
    def gains(self, quality: int) -> np.ndarray:
        """As Transform."""
        return self.autoencoder.error_gains(self._steps(quality))[0].cpu().numpy()

    @torch.no_grad()
    def filter(self, quality: int) -> AdaptiveFilter | None:
        """As Transform."""
        return None

    def enhancement(self, number: int) -> Enhancement | None:
        """As Transform."""
        return no_enhancement(number)

    def corrected(self, tokens: Subbands, quality: int) -> Subbands:
        """As Transform."""
        return self.restored(self.tensors(tokens), quality).map(lambda t: t.cpu().numpy())

    def restored(self, tokens: Subbands, quality: int) -> Subbands:
        """The same of tensors, with a gradient: as search.gradient.Corrected."""
        return self.autoencoder.restore(tokens, self._steps(quality))

    def needed(self, shown: Area, whole: Area, reduce: int) -> Area:
        """As Transform."""
        return shown.aligned(self.autoencoder.grid // SITE, whole).grown(self.halo, whole)

    def picture(
        self,
        tokens: Tokens,
        whole: Area,
        shown: Area,
        qualities: np.ndarray,
        erased: np.ndarray | None,
        reduce: int,
        filter: AdaptiveFilter | None,
        enhancement: Enhancement | None,
    ) -> FloatPicture:
        """As Transform."""
        return FloatPicture(self, tokens, whole, shown, qualities, erased, reduce)

    @property
    def halo(self) -> int:
        """Sites around a block that its result depends on."""
        return self.autoencoder.halo // SITE

    @torch.no_grad()
    def analysis(self) -> Analysis:
        """The encoder's."""
        steps = self.autoencoder.steps
        gains = self.autoencoder.encoder_gains(steps).cpu().numpy()
        positions = np.array([step_position(s) for s in steps.tolist()], np.float32)
        return Analysis(self._analyse, gains, steps.cpu().numpy(), positions, self.halo)

    @torch.no_grad()
    def _analyse(self, *maps: np.ndarray) -> list[np.ndarray]:
        """As analysis.Network; behind the step position may follow the erased tokens, (1, h, w) bool."""
        tensors, network = [self._tensor(m) for m in maps], self.autoencoder.analysis
        bands = Subbands(tensors[0], tuple(tensors[1:5]))
        return [t.cpu().numpy() for t in (bands if network is None else network(bands, *tensors[5:]))]

    def erase(self, tokens: Subbands, quality: int, keep: float, first: np.ndarray | None = None) -> np.ndarray:
        """The tokens that cost least to erase, (1, h, w) bool, so that a share `keep` of those of an area is left.

        first: (1, h, w) bool, tokens that are kept before all others.
        """
        before = None if first is None else self._tensor(first)
        found = cheapest_to_erase(self.autoencoder, self.tensors(tokens), self._steps(quality), keep, before)
        return found.cpu().numpy()

    def tensors(self, bands: Subbands) -> Subbands:
        """Arrays -> float32 tensors on the networks' device."""
        return bands.map(lambda t: self._tensor(t).float())

    def _steps(self, quality: int) -> Tensor:
        return self.autoencoder.steps[quality - 1 : quality]

    def _tensor(self, x: np.ndarray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(x)).to(self.autoencoder.steps.device)


@dataclass(frozen=True)
class FloatPicture:
    """As Parts. Blocks are synthesised one by one, each with its surroundings."""

    transform: FloatTransform
    tokens: Tokens
    whole: Area
    shown: Area
    qualities: np.ndarray
    erased: np.ndarray | None
    reduce: int
    _blocks: list[Area] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        autoencoder = self.transform.autoencoder
        # blocks begin and end where the transform allows
        area = self.shown.aligned(autoencoder.grid // SITE, self.whole)
        object.__setattr__(self, "_blocks", list(area.blocks(autoencoder.tile // SITE)))

    def strips(self) -> list[list[Area]]:
        """As Parts."""
        return [list(row) for _, row in itertools.groupby(self._blocks, lambda block: block.y)]

    def next_tokens(self, area: Area) -> list[Area]:
        """As Parts."""
        return [area.grown(self.transform.halo, self.whole)]

    def prepare(self, area: Area) -> None:
        """Nothing is shared."""

    def forget(self, above: int) -> None:
        """Nothing is kept."""

    @torch.no_grad()
    def pixels(self, block: Area, gray: bool) -> np.ndarray:
        """As Parts."""
        area = block.grown(self.transform.halo, self.whole)
        image = wavelet.inverse(self._coefficients(area), self.reduce)[0]
        if gray:
            image = image.mean(-1, keepdim=True).expand(-1, -1, 3)
        inner, size = block.within(area), SITE >> self.reduce
        part = image[inner.y * size : (inner.y + inner.h) * size, inner.x * size : (inner.x + inner.w) * size]
        return part.round().clamp(0, 255).to(torch.uint8).cpu().numpy()

    def _coefficients(self, area: Area) -> Subbands:
        """An area's, corrected, in 8-bit levels. At a reduced size they are not corrected."""
        transform, autoencoder = self.transform, self.transform.autoencoder
        tokens, erased, places = transform.tensors(self.tokens(area)), self._erased(area), self._places(area)

        def levels(quality: int) -> Subbands:
            return _times(autoencoder.dequantise(tokens, transform._steps(quality)), transform.step(quality))

        own = _at_own(places, levels)
        if self.reduce:
            return own if erased is None else fill(own, erased)

        def corrected(quality: int) -> Subbands:
            """With everything around in steps of the same quality."""
            step = transform.step(quality)
            return _times(autoencoder.correct(_times(own, 1 / step), transform._steps(quality), erased), step)

        return _at_own(places, corrected)

    def _places(self, area: Area) -> dict[int, Tensor]:
        """The qualities in an area, and where each is: (1, h, w) bool."""
        qualities = self.qualities
        if qualities.size > 1:
            qualities = qualities[area.y : area.y + area.h, area.x : area.x + area.w]
        return {int(q): self.transform._tensor(qualities == q)[None] for q in np.unique(qualities)}

    def _erased(self, area: Area) -> Tensor | None:
        """The tokens of an area to fill in, (1, h, w) bool; None: none."""
        if self.erased is None:
            return None
        part = self.erased[area.y : area.y + area.h, area.x : area.x + area.w]
        return self.transform._tensor(part)[None] if part.any() else None


def _times(bands: Subbands, factor: float) -> Subbands:
    return bands.map(lambda t: t * factor)


def _at_own(places: Mapping[int, Tensor], make: Callable[[int], Subbands]) -> Subbands:
    """What is made for each quality, at the sites that have it."""
    out: Subbands | None = None
    for quality, place in places.items():
        bands = make(quality)
        out = bands if out is None else out.combine(partial(_mixed, place), bands)
    assert out is not None
    return out


def _mixed(place: Tensor, others: Tensor, own: Tensor) -> Tensor:
    """place: (1, h, w) bool, where a band's own sites are."""
    k = own.shape[1] // place.shape[1]
    return torch.where(place.repeat_interleave(k, 1).repeat_interleave(k, 2)[..., None], own, others)
