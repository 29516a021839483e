"""Pictures made by a program, of kinds that photographs hardly hold: patterns, dithers, noise, text, odd pixels.

A picture depends on its seed and on the range of its sides alone. KINDS has the kinds by name; each is a function of a
random generator and a size that returns the picture and what it chose, in few words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .images import EXAMPLES

Array = np.ndarray
Made = tuple[Array, str]  # (H, W) or (H, W, 3), 0..255; what was chosen
Kind = Callable[[np.random.Generator, int, int], Made]

SIDES = (1, 200)  # pixels: the shortest and the longest side of a picture
WORDS = ("The", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "0123456789", "(x+y)", "[z]", "AVAWA;:")
KINDS: dict[str, Kind] = {}


@dataclass(frozen=True)
class Generated:
    """A picture and where it comes from."""

    name: str  # seed, kind, what was chosen, size: "0017-stripes-p2.5-a45-128x97"
    kind: str
    rgb: Array  # (H, W, 3) uint8
    gray: bool  # the three channels are equal


def kind(function: Kind) -> Kind:
    """Makes a function one of KINDS."""
    KINDS[function.__name__.replace("_", "-")] = function
    return function


def picture(seed: int, sides: tuple[int, int] = SIDES) -> Generated:
    """The picture of a seed. Seeds in a row go through the kinds in turn."""
    name = list(KINDS)[seed % len(KINDS)]
    rng = np.random.default_rng(seed)
    height, width = _side(rng, *sides), _side(rng, *sides)
    array, chosen = KINDS[name](rng, height, width)
    array = np.clip(np.rint(array), 0, 255).astype(np.uint8)
    rgb = np.repeat(array[..., None], 3, -1) if array.ndim == 2 else array
    gray = bool((rgb == rgb[..., :1]).all())
    return Generated("-".join(filter(None, (f"{seed:04}", name, chosen, f"{width}x{height}"))), name, rgb, gray)


def pictures(count: int, sides: tuple[int, int] = SIDES, first: int = 0) -> Iterator[Generated]:
    """Pictures of so many seeds in a row."""
    return (picture(seed, sides) for seed in range(first, first + count))


def _side(rng: np.random.Generator, low: int, high: int) -> int:
    """A quarter are no longer than two tokens, of 16 pixels each, where the edges of a picture matter most."""
    return int(rng.integers(low, max(low, min(high, 34) if rng.random() < 0.25 else high) + 1))


# parts of pictures


def _grid(height: int, width: int) -> tuple[Array, Array]:
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return y, x


def _along(height: int, width: int, angle: float) -> Array:
    """How far each pixel lies in the direction of an angle, in pixels."""
    y, x = _grid(height, width)
    turned = np.radians(angle)
    return x * np.cos(turned) + y * np.sin(turned)


def _period(rng: np.random.Generator) -> float:
    """Pixels: as often a whole number as not, and mostly short."""
    return float(rng.integers(2, 9)) if rng.random() < 0.5 else round(float(2 * 12 ** rng.random()), 1)


def _angle(rng: np.random.Generator) -> int:
    return int(rng.choice([0, 0, 90, 90, 45, 135, int(rng.integers(180))]))


def _wave(rng: np.random.Generator, height: int, width: int) -> tuple[Array, str]:
    """Phase in turns of a wave across the picture."""
    period, angle = _period(rng), _angle(rng)
    return _along(height, width, angle) / period + 1e-6, f"p{period:g}-a{angle}"  # not exactly between two pixels


def _colours(rng: np.random.Generator) -> Array:
    """Two colours, (2, 3): black and white, pure ones, grays or any."""
    match rng.integers(5):
        case 0 | 1:
            return np.array([[0.0] * 3, [255.0] * 3])
        case 2:
            return 255.0 * np.array([[n >> k & 1 for k in range(3)] for n in rng.choice(8, 2, replace=False)])
        case 3:
            return np.repeat(rng.choice(256, (2, 1), replace=False).astype(np.float64), 3, 1)
        case _:
            return rng.integers(0, 256, (2, 3)).astype(np.float64)


def _between(rng: np.random.Generator, share: Array) -> Array:
    """Two colours mixed by shares of the second, 0..1, (H, W) -> (H, W, 3)."""
    first, second = _colours(rng)
    return first + (second - first) * share[..., None]


@cache
def _photographs() -> tuple[Array, ...]:
    return tuple(np.asarray(Image.open(p).convert("RGB")) for p in sorted(EXAMPLES.glob("*.[pj][np]g")))


def _photograph(rng: np.random.Generator, height: int, width: int) -> Array:
    """A part of an example, as it is or of half the size."""
    photo = _photographs()[rng.integers(len(_photographs()))][:: rng.choice([1, 2])]
    photo = photo[:, :: rng.choice([1, 2])]
    top, left = (
        int(rng.integers(max(1, have - want + 1))) for have, want in zip(photo.shape[:2], (height, width), strict=True)
    )
    part = photo[top : top + height, left : left + width]
    missing = [(0, want - have) for have, want in zip(part.shape[:2], (height, width), strict=True)]
    return np.pad(part, [*missing, (0, 0)], mode="edge").astype(np.float64)


def _region(rng: np.random.Generator, height: int, width: int) -> tuple[slice, slice]:
    """About a quarter of the picture."""
    top, left = (int(rng.integers(n // 2 + 1)) for n in (height, width))
    return slice(top, top + (height + 1) // 2), slice(left, left + (width + 1) // 2)


def _text(rng: np.random.Generator, height: int, width: int) -> tuple[Array, str]:
    """Share of ink, 0..1, and what was chosen."""
    size, smooth = int(rng.choice([8, 10, 12, 16, 24, 40])), bool(rng.integers(2))
    image = Image.new("L", (width, height))
    draw = ImageDraw.Draw(image)
    draw.fontmode = "L" if smooth else "1"
    font = ImageFont.load_default(size)
    for top in range(int(rng.integers(4)), height, size * 5 // 4):
        draw.text((int(rng.integers(-4, 5)), top), " ".join(rng.choice(WORDS, 40)), 255, font)
    return np.asarray(image) / 255, f"{size}px{'' if smooth else '-hard'}"


# patterns


@kind
def checker(rng: np.random.Generator, height: int, width: int) -> Made:
    period, angle = _period(rng), _angle(rng)
    a, b = (np.floor(2 * _along(height, width, turned) / period + 1e-6) for turned in (angle, angle + 90))
    return _between(rng, (a + b) % 2), f"p{period:g}-a{angle}"


@kind
def stripes(rng: np.random.Generator, height: int, width: int) -> Made:
    phase, chosen = _wave(rng, height, width)
    return _between(rng, (phase % 1 < 0.5) * 1.0), chosen


@kind
def hatch(rng: np.random.Generator, height: int, width: int) -> Made:
    """Lines of one pixel, in one direction or in two."""
    period, angle, crossed = _period(rng), int(rng.choice([0, 45, 90, 135])), bool(rng.integers(2))
    y, x = _grid(height, width)
    across = {0: y, 45: x + y, 90: x, 135: x - y + height}
    lines = across[angle] % period < 1
    if crossed:
        lines |= across[(angle + 90) % 180] % period < 1
    return _between(rng, lines * 1.0), f"p{period:g}-a{angle}{'-crossed' if crossed else ''}"


@kind
def scanlines(rng: np.random.Generator, height: int, width: int) -> Made:
    """Rows in turn of two gradients, or of a photograph and another picture of it."""
    thick = int(rng.choice([1, 1, 2]))
    y, _ = _grid(height, width)
    even = (y // thick % 2 == 0)[..., None]
    if rng.integers(2):
        slope = _along(height, width, _angle(rng)) / max(height, width)
        return np.where(even, _between(rng, slope), _between(rng, 1 - slope)), f"{thick}px-gradients"
    photo = _photograph(rng, height, width)
    return np.where(even, photo, float(rng.choice([0.0, 0.5])) * photo), f"{thick}px-photograph"


@kind
def grating(rng: np.random.Generator, height: int, width: int) -> Made:
    phase, chosen = _wave(rng, height, width)
    return _between(rng, 0.5 + 0.5 * np.cos(2 * np.pi * phase)), chosen


@kind
def moire(rng: np.random.Generator, height: int, width: int) -> Made:
    (one, chosen), other = _wave(rng, height, width), _angle(rng)
    ratio = float(rng.uniform(0.9, 1.1))
    second = _along(height, width, other) / (2 + 3 * rng.random()) * ratio
    product = np.cos(2 * np.pi * one) * np.cos(2 * np.pi * second)
    return _between(rng, (product > 0) * 1.0 if rng.integers(2) else 0.5 + 0.5 * product), f"{chosen}-a{other}"


@kind
def zone_plate(rng: np.random.Generator, height: int, width: int) -> Made:
    """Circles that get finer outwards, to beyond what pixels can hold."""
    y, x = _grid(height, width)
    finest = float(rng.uniform(0.3, 1.2))  # waves per pixel at the longer side's end
    squared = (y - height // 2) ** 2 + (x - width // 2) ** 2
    return _between(rng, 0.5 + 0.5 * np.cos(2 * np.pi * finest * squared / max(height, width))), f"f{finest:.1f}"


# dithers


@kind
def halftone(rng: np.random.Generator, height: int, width: int) -> Made:
    """A photograph as dots of a turned screen; in colour, each channel has a screen of its own."""
    period, colour = float(rng.uniform(3, 8)), bool(rng.integers(2))
    photo = _photograph(rng, height, width)
    photo = photo if colour else np.repeat(photo.mean(-1, keepdims=True), 3, -1)
    angles = (15, 75, 45) if colour else (45, 45, 45)
    screens = [
        np.cos(2 * np.pi * _along(height, width, a) / period)
        + np.cos(2 * np.pi * _along(height, width, a + 90) / period)
        for a in angles
    ]
    return 255.0 * (photo / 127.5 - 1 > np.stack(screens, -1) / 2), f"p{period:.1f}"


@kind
def ordered_dither(rng: np.random.Generator, height: int, width: int) -> Made:
    levels, side = int(rng.choice([2, 2, 4])), int(rng.choice([2, 4, 8]))
    thresholds = np.zeros((1, 1))
    while len(thresholds) < side:
        thresholds = np.block([[4 * thresholds, 4 * thresholds + 2], [4 * thresholds + 3, 4 * thresholds + 1]])
    tiled = np.tile((thresholds + 0.5) / side**2, (height // side + 1, width // side + 1))[:height, :width, None]
    photo = _photograph(rng, height, width)
    photo = photo if rng.integers(2) else photo.mean(-1, keepdims=True).repeat(3, -1)
    return np.floor(photo / 255.01 * (levels - 1) + tiled) * 255 / (levels - 1), f"{side}x{side}-{levels}-levels"


@kind
def floyd_steinberg(rng: np.random.Generator, height: int, width: int) -> Made:
    colours = int(rng.choice([2, 8, 16]))
    image = Image.fromarray(_photograph(rng, height, width).astype(np.uint8))
    if colours == 2:
        return np.asarray(image.convert("1")) * 255.0, "black-white"
    palette = image.quantize(colours, Image.Quantize.MEDIANCUT)
    return np.asarray(image.quantize(palette=palette, dither=Image.Dither.FLOYDSTEINBERG).convert("RGB")), f"{colours}"


# noise


@kind
def noise(rng: np.random.Generator, height: int, width: int) -> Made:
    return rng.integers(0, 256, (height, width)), "gray"


@kind
def coloured_noise(rng: np.random.Generator, height: int, width: int) -> Made:
    strength = float(rng.choice([8, 40, 120]))
    middle = rng.integers(0, 256, 3)
    return middle + strength * rng.standard_normal((height, width, 3)), f"sigma{strength:g}"


@kind
def binary_noise(rng: np.random.Generator, height: int, width: int) -> Made:
    share = float(rng.choice([0.02, 0.2, 0.5]))
    return _between(rng, (rng.random((height, width)) < share) * 1.0), f"{100 * share:g}%"


@kind
def primary_noise(rng: np.random.Generator, height: int, width: int) -> Made:
    """Every pixel one of the eight corners of the colour cube."""
    return 255 * rng.integers(0, 2, (height, width, 3)), ""


@kind
def salt_and_pepper(rng: np.random.Generator, height: int, width: int) -> Made:
    share = float(rng.choice([0.001, 0.01, 0.1]))
    array = _photograph(rng, height, width)
    drawn = rng.random((height, width))
    array[drawn < share] = 255
    array[drawn < share / 2] = 0
    return array, f"{100 * share:g}%"


# text and screens


@kind
def text(rng: np.random.Generator, height: int, width: int) -> Made:
    ink, chosen = _text(rng, height, width)
    return _between(rng, ink), chosen


@kind
def text_in_colours(rng: np.random.Generator, height: int, width: int) -> Made:
    """Every line in a colour of its own on one background, as editors show programs."""
    (ink, chosen), background = _text(rng, height, width), rng.choice([0.0, 30.0, 255.0])
    lines = rng.integers(0, 256, (height // 12 + 1, 1, 3)).repeat(12, 0)[:height]
    return background + (lines - background) * ink[..., None], chosen


@kind
def pixel_art(rng: np.random.Generator, height: int, width: int) -> Made:
    """A few colours in large pixels."""
    side, colours = int(rng.integers(2, 9)), int(rng.choice([2, 4, 16]))
    cells = rng.integers(0, colours, (height // side + 1, width // side + 1)).repeat(side, 0).repeat(side, 1)
    return rng.integers(0, 256, (colours, 3))[cells[:height, :width]], f"{side}px-{colours}-colours"


# mixtures with photographs


@kind
def photograph(rng: np.random.Generator, height: int, width: int) -> Made:
    return _photograph(rng, height, width), ""


@kind
def photograph_and_pattern(rng: np.random.Generator, height: int, width: int) -> Made:
    array, inside = _photograph(rng, height, width), _region(rng, height, width)
    name = str(rng.choice(["checker", "stripes", "hatch", "grating", "binary-noise"]))
    made, chosen = KINDS[name](rng, *array[inside].shape[:2])
    array[inside] = made
    return array, f"{name}-{chosen}"


@kind
def photograph_and_text(rng: np.random.Generator, height: int, width: int) -> Made:
    (ink, chosen), array = _text(rng, height, width), _photograph(rng, height, width)
    return array + (rng.choice([0, 255], 3) - array) * ink[..., None], chosen


@kind
def pattern_over_photograph(rng: np.random.Generator, height: int, width: int) -> Made:
    """A faint regular pattern on a whole photograph."""
    phase, chosen = _wave(rng, height, width)
    strength = float(rng.choice([2, 6, 20]))
    array = _photograph(rng, height, width)
    return array + strength * np.where(phase % 1 < 0.5, 1, -1)[..., None], f"{chosen}-by-{strength:g}"


@kind
def page(rng: np.random.Generator, height: int, width: int) -> Made:
    """Black text on white around a photograph."""
    (ink, chosen), inside = _text(rng, height, width), _region(rng, height, width)
    array = np.repeat(255 - 255 * ink[..., None], 3, -1)
    array[inside] = _photograph(rng, *array[inside].shape[:2])
    return array, chosen


# little and much


@kind
def flat(rng: np.random.Generator, height: int, width: int) -> Made:
    return np.full((height, width, 3), 1.0) * _colours(rng)[1], ""


@kind
def odd_pixels(rng: np.random.Generator, height: int, width: int) -> Made:
    """A flat picture but for one pixel, or a few."""
    count, (background, colour) = int(rng.choice([1, 1, 3, 10])), _colours(rng)
    if rng.integers(3) == 0:
        colour = np.clip(background + rng.choice([-3, 3]), 0, 255)  # hardly to be seen
    array = np.full((height, width, 3), 1.0) * background
    array[rng.integers(0, height, count), rng.integers(0, width, count)] = colour
    return array, f"{count}"


@kind
def gradient(rng: np.random.Generator, height: int, width: int) -> Made:
    y, x = _grid(height, width)
    if round_ := bool(rng.integers(2)):
        share = np.hypot(y - height / 3, x - width / 2)
    else:
        share = _along(height, width, float(rng.integers(360)))
    share = (share - share.min()) / max(np.ptp(share), 1)
    return _between(rng, share), "round" if round_ else "straight"


@kind
def primaries(rng: np.random.Generator, height: int, width: int) -> Made:
    """Areas of the purest colours, which meet in hard edges."""
    rows, columns = (int(n) for n in rng.integers(1, 7, 2))
    corners = 255 * rng.integers(0, 2, (rows, columns, 3))
    y, x = np.arange(height) * rows // height, np.arange(width) * columns // width
    return corners[y[:, None], x], f"{columns}x{rows}"


@kind
def saturated_checker(rng: np.random.Generator, height: int, width: int) -> Made:
    """Two complementary pure colours in squares of one or two pixels: as much detail in colour as there can be."""
    side, corner = int(rng.choice([1, 1, 2])), np.array([int(rng.integers(1, 7)) >> k & 1 for k in range(3)])
    y, x = _grid(height, width)
    squares = ((y // side + x // side) % 2)[..., None]
    return 255 * np.where(squares > 0, corner, 1 - corner), f"{side}px"
