"""What the models of a comparison attend to for one token of the image: heat maps over it, for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..tiles import Region
from .pictures import data_uri

if TYPE_CHECKING:
    from ..attention import AttentionMap

MARGIN = 16  # pixels that are shown around what tokens can attend to
THUMBNAIL = 320  # pixels of the longer side of the whole image
PHOTO_QUALITY = 85  # of WebP; what is measured is shown without loss elsewhere
DIMMED = 0.75  # of the image's brightness under a map
# dark to light, no attention to most; the page's ramp of differences
RAMP = np.array([[0, 0, 4], [58, 15, 110], [140, 41, 129], [222, 73, 104], [254, 159, 109], [252, 253, 191]])
NO_ATTENTION = "Its analysis has no attention: convolutions and dense layers alone."
OPACITY = 0.35, 0.9  # of no attention, and of most


@dataclass(frozen=True)
class ModelAttention:
    """What one model attends to. note: why there is nothing to show, or what is to be known of it; or ""."""

    name: str
    index: int  # of the model in the comparison, for its colour
    quality: float
    maps: Sequence[AttentionMap] = ()
    note: str = ""

    @property
    def heads(self) -> int:
        return max((m.heads for m in self.maps), default=0)


@dataclass(frozen=True)
class Overlay:
    """A heat map of a block: of one head, or of the mean over all."""

    label: str
    uri: str
    text: str  # its figures


@dataclass(frozen=True)
class AttentionView:
    """The attention of one token of an image, by model.

    rgb: the image, (H, W, 3) uint8. x, y: a pixel of the token. chosen: whether nobody asked for this token. note: why
    there is nothing to show, or "".
    """

    rgb: np.ndarray = field(repr=False)
    x: int
    y: int
    chosen: bool
    models: Sequence[ModelAttention]
    note: str = ""

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the image."""
        return self.rgb.shape[1], self.rgb.shape[0]

    @property
    def shown(self) -> Region:
        """The part of the image that holds all that any of the models can attend to, and a margin."""
        boxes = [box for model in self.models for m in model.maps for box in (m.region, m.token)]
        left, top = (min(values) - MARGIN for values in ([b.x for b in boxes], [b.y for b in boxes]))
        right, bottom = (
            max(values) + MARGIN for values in ([b.x + b.width for b in boxes], [b.y + b.height for b in boxes])
        )
        return Region(left, top, right - left, bottom - top).clipped(*self.size)

    @property
    def photo(self) -> str:
        """That part in gray, so that colours are those of the maps: a data URI."""
        x, y, width, height = self.shown
        return data_uri(backdrop(self.rgb[y : y + height, x : x + width]), PHOTO_QUALITY)

    @property
    def thumbnail(self) -> str:
        """The whole image, small: a data URI."""
        from PIL import Image

        image = Image.fromarray(self.rgb)
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        return data_uri(np.asarray(image), PHOTO_QUALITY)

    def record(self) -> dict[str, Any]:
        """For JSON."""
        models = [
            {
                "codec": model.name,
                "quality": model.quality,
                "note": model.note,
                "blocks": [
                    {
                        "layer": m.layer,
                        "kind": m.kind,
                        "heads": m.heads,
                        "region": list(m.region),
                        "distance": m.distance(),
                        "largest": float(m.mean().max()),
                        "difference": m.difference(),
                        "outside": float(m.outside.mean()),
                    }
                    for m in model.maps
                ],
            }
            for model in self.models
        ]
        return {"token": [self.x, self.y], "chosen": self.chosen, "note": self.note, "models": models}


def overlays(found: AttentionMap) -> list[Overlay]:
    """The mean over the heads, then each head."""
    heads = [("mean of heads", None), *((f"head {head + 1}", head) for head in range(found.heads))]
    return [Overlay(label, data_uri(heat(found.mean(head))), figures(found, head)) for label, head in heads]


def figures(found: AttentionMap, head: int | None = None) -> str:
    """What stands below a map."""
    outside = float(found.outside.mean() if head is None else found.outside[head])
    texts = [
        f"mean distance {found.distance(head):.0f} px",
        f"largest share {_percent(float(found.mean(head).max()))}",
        f"differs by {_percent(found.difference(head))}",
        *([f"{_percent(outside)} outside the picture"] if outside >= 0.005 else []),
    ]
    return ", ".join(texts)


def _percent(share: float) -> str:
    return f"{100 * share:.{0 if share >= 0.0995 else 1}f} %"


def backdrop(rgb: np.ndarray) -> np.ndarray:
    """The image in dim gray, (H, W, 3) uint8: what maps are laid over."""
    gray = rgb @ np.array([0.299, 0.587, 0.114], np.float32)
    return np.repeat((DIMMED * gray).astype(np.uint8)[..., None], 3, -1)


def heat(shares: np.ndarray) -> np.ndarray:
    """Shares (rows, columns) -> (rows, columns, 4) uint8: a colour of the ramp by their square root, and opacity."""
    t = np.sqrt(shares / max(float(shares.max()), 1e-12))
    knots = np.linspace(0, 1, len(RAMP))
    colours = [np.interp(t, knots, RAMP[:, c]) for c in range(3)]
    return np.stack([*colours, 255 * np.interp(t, (0, 1), OPACITY)], -1).round().astype(np.uint8)


def untrained(training: Mapping[str, Any]) -> str:
    """What is to be said of a model that was never trained, by its config.json; or ""."""
    start = str(training.get("start", ""))
    return "Untrained: these are the maps of random weights." if start.startswith("untrained") else ""
