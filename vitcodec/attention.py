"""What a token of a picture attends to in a model's analysis, as numbers. docs/families.md shows it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from .analysis import pixels
from .errors import InputError, UsageError
from .latents import Latents
from .models.attention import Attended, attended
from .tiles import SITE, Area, Region, TileGrid


@dataclass(frozen=True, eq=False)
class AttentionMap:
    """What one token of a picture attends to in one block of an analysis network.

    layer: the block's name, as `vitcodec models show` has it. kind: "attention", or "window attention 8x8, shifted".
    token: the pixels of the token. region: the pixels of the rows x columns tokens that it can attend to; sides of
    pictures are padded to multiples of 32 pixels, so that it may end beyond the picture.

    weights: (heads, rows, columns) float32, at least 0, the share of its attention on each of them; outside: (heads,),
    the share on keys that have no place in the picture, a class token or padding. Both together add up to 1 for each
    head. typical: as weights, the mean over all tokens of the window or area.
    """

    layer: str
    kind: str
    token: Region
    region: Region
    weights: np.ndarray
    outside: np.ndarray
    typical: np.ndarray

    @property
    def heads(self) -> int:
        return len(self.weights)

    def mean(self, head: int | None = None) -> np.ndarray:
        """(rows, columns), the weights of a head, or the mean over the heads."""
        return self.weights.mean(0) if head is None else self.weights[head]

    def distance(self, head: int | None = None) -> float:
        """The mean distance in pixels from the token to what it attends to in the picture."""
        weights, side = self.mean(head), self.token.width
        rows, columns = (
            side * np.arange(count) + start - own
            for count, start, own in zip(
                weights.shape, (self.region.y, self.region.x), (self.token.y, self.token.x), strict=True
            )
        )
        return float((weights * np.hypot(rows[:, None], columns)).sum() / max(weights.sum(), 1e-12))

    def difference(self, head: int | None = None) -> float:
        """How far the token's attention is from the typical one, 0 to 1: half the sum of the absolute differences.

        0: every token attends to the same places. 1: this one attends to places where the others do not.
        """
        typical = self.typical.mean(0) if head is None else self.typical[head]
        return float(np.abs(self.mean(head) - typical).sum() / 2)


def most_varied(rgb: np.ndarray) -> tuple[int, int]:
    """The middle (x, y) of the token whose pixels vary most. rgb: (H, W, 3) uint8. Raises InputError."""
    _check_size(rgb)
    rows, columns = (n // SITE for n in rgb.shape[:2])
    sites = rgb[: rows * SITE, : columns * SITE].reshape(rows, SITE, columns, SITE, 3)
    spread = np.stack([row.astype(np.float32).var((0, 2)).sum(-1) for row in sites])
    row, column = np.unravel_index(spread.argmax(), spread.shape)
    return int(column) * SITE + SITE // 2, int(row) * SITE + SITE // 2


def check_token(token: tuple[int, int], rgb: np.ndarray) -> None:
    """Raises UsageError where the pixel (x, y) is not one of the picture, InputError where this has no whole token."""
    _check_size(rgb)
    (x, y), (height, width) = token, rgb.shape[:2]
    if not (0 <= x < width and 0 <= y < height):
        raise UsageError(
            f"the token at {x},{y} is outside the picture of {width}x{height} pixels; "
            f"give X up to {width - 1} and Y up to {height - 1}"
        )


def attention_maps(
    latents: Latents, rgb: np.ndarray, token: tuple[int, int] | None, quality: int
) -> list[AttentionMap]:
    """As Codec.attention_maps. rgb: (H, W, 3) uint8."""
    x, y = most_varied(rgb) if token is None else token
    check_token((x, y), rgb)
    step, autoencoder = latents.step(quality), latents.autoencoder
    whole = TileGrid(rgb.shape[1], rgb.shape[0], SITE).whole
    # the part of the picture that the encoder would transform the token with, or as much of it as matters
    halo = getattr(autoencoder.analysis, "halo", 0)
    unit = autoencoder.tile if halo is None else autoencoder.grid
    area = Area(y // SITE, x // SITE, 1, 1).aligned(unit // SITE, whole).grown(autoencoder.halo // SITE, whole)
    image = torch.from_numpy(pixels(rgb, area)).to(latents.device, torch.float32)[None]
    left, top = area.x * SITE, area.y * SITE
    return [_map(found, left, top) for found in attended(autoencoder, image, step, y - top, x - left)]


def _map(found: Attended, left: int, top: int) -> AttentionMap:
    """left, top: of the part of the picture that was transformed."""
    side = found.stride
    rows, columns = found.weights.shape[1:]
    return AttentionMap(
        f"analysis.{found.layer}.attention",
        found.kind,
        Region(left + found.column * side, top + found.row * side, side, side),
        Region(left + found.left * side, top + found.top * side, columns * side, rows * side),
        found.weights.numpy(),
        found.outside.numpy(),
        found.typical.numpy(),
    )


def _check_size(rgb: np.ndarray) -> None:
    height, width = rgb.shape[:2]
    if min(height, width) < SITE:
        raise InputError(
            f"the picture of {width}x{height} pixels is smaller than a token of {SITE}x{SITE}; give a larger one"
        )
