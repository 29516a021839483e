"""The pixels of an opened image: every kind that Pillow knows as gray, RGB, CMYK or Lab, with all their bits.

Pillow loads 16-bit colours as 8 bits. It unpacks either the first or the second byte of a sample, as the byte order
says: asked for both, one after the other, it gives all 16.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageFile, TiffImagePlugin

from ..errors import InputError
from . import png

OWN_DEPTH = ("PPM", "JPEG2000")  # formats whose header says the depth of gray, which Pillow scales to 16 bits
_TOP = 0xFFFF
_BITS, _PHOTOMETRIC, _PLANAR, _FORMAT = 258, 262, 284, 339  # tags of TIFF
_SWAPPED = {"B": "L", "L": "B", "N": "B" if sys.byteorder == "little" else "L"}


@dataclass
class Samples:
    """mode: L, RGB, CMYK or LAB.

    colours: (H, W) for L, else (H, W, 3 or 4); uint16 only for L and RGB. alpha: (H, W) uint8.
    """

    mode: str
    colours: np.ndarray
    alpha: np.ndarray | None = None
    notes: list[str] = field(default_factory=list)


def read_samples(
    image: ImageFile.ImageFile, data: bytes, again: Callable[[], ImageFile.ImageFile], name: str
) -> Samples:
    """The pixels of an image that was opened from data and is not loaded.

    again: opens it once more. Raises InputError for kinds that are not supported; Pillow's errors for damaged files.
    """
    tags = image.tag_v2 if isinstance(image, TiffImagePlugin.TiffImageFile) else {}
    transparent = png.transparent(data) if image.format == "PNG" else None
    sixteen = "RGB;16" in _rawmode(image) or "RGBA;16" in _rawmode(image) or "RGBX;16" in _rawmode(image)
    if image.format == "PNG" and _rawmode(image) == "LA;16B":
        out = _gray_alpha_16(image)
    elif sixteen:
        out = _colours_16(image, again)
    elif image.mode.startswith(("I", "F")):
        out = _gray_16(image, tags, name)
    else:
        deep = ";16" in _rawmode(image)
        image.load()
        out = _samples_8(image)
        out.notes += ["16-bit reduced to 8"] if deep else []
    if transparent is not None:
        _make_transparent(out, transparent, data[24])
    return out


def samples_of(image: Image.Image) -> Samples:
    """The pixels of an image in memory. Raises InputError for modes F and I, whose values have no range."""
    image.load()
    if image.mode.startswith("I;16"):
        out = Samples("L", np.asarray(image).astype(np.uint16), None, ["16-bit reduced to 8"])
    elif image.mode in ("F", "I"):
        raise InputError(f"samples of mode {image.mode} are not supported; convert it to 8 or 16 bits")
    else:
        out = _samples_8(image)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int) and (image.mode == "1" or image.mode.startswith("I;16")):
        values = image.convert("L") if image.mode == "1" else image
        out.alpha = np.where(np.asarray(values) == transparent, 0, 255).astype(np.uint8)
    return out


def to_8_bits(values: np.ndarray) -> np.ndarray:
    """Scaled, not cut: 65535 becomes 255."""
    return values if values.dtype == np.uint8 else ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)


def _rawmode(image: ImageFile.ImageFile) -> str:
    """How Pillow unpacks the file's samples."""
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    args = (tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in tiles)
    return next((part for some in args for part in some if isinstance(part, str)), "")


def _ask(image: ImageFile.ImageFile, rawmode: Callable[[str], str]) -> np.ndarray:
    """The image's pixels, unpacked in another way."""

    def changed(args: tuple[Any, ...] | str | None) -> tuple[Any, ...] | str | None:
        if isinstance(args, tuple):
            return tuple(rawmode(a) if isinstance(a, str) and ";" in a else a for a in args)
        return rawmode(args) if isinstance(args, str) else args

    image.tile = [tile._replace(args=changed(tile.args)) for tile in image.tile]
    image.load()
    return np.asarray(image)


def _colours_16(image: ImageFile.ImageFile, again: Callable[[], ImageFile.ImageFile]) -> Samples:
    with again() as second:
        low = _ask(second, lambda raw: raw[:-1] + _SWAPPED.get(raw[-1], raw[-1]))
    image.load()
    both = np.asarray(image).astype(np.uint16) << 8 | low
    alpha = to_8_bits(both[..., 3]) if image.mode == "RGBA" else None
    return Samples("RGB", both[..., :3], alpha, ["16-bit reduced to 8"])


def _gray_alpha_16(image: ImageFile.ImageFile) -> Samples:
    four = _ask(image, lambda raw: "RGBA").astype(np.uint16)
    both = four[..., ::2] << 8 | four[..., 1::2]
    return Samples("L", both[..., 0], to_8_bits(both[..., 1]), ["16-bit reduced to 8"])


def _gray_16(image: ImageFile.ImageFile, tags: object, name: str) -> Samples:
    """Gray of 9 to 16 bits, scaled to 16."""
    number = _numbers(tags)
    bits, kind = number(_BITS, 16), number(_FORMAT, 1)
    what = {3: "floating-point", 2: "signed"}.get(kind, "floating-point" if image.mode == "F" else "")
    if what:
        raise InputError(f"{name}: {what} samples are not supported; convert it to 8 or 16 bits")
    image.load()
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > _TOP:
        raise InputError(f"{name}: 32-bit samples are not supported; convert it to 8 or 16 bits")
    if 8 < bits < 16:
        top = (1 << bits) - 1
        values = (values * _TOP + top // 2) // top
    if number(_PHOTOMETRIC, 1) == 0:  # white is zero, which Pillow heeds in 8 bits only
        values = _TOP - values
    notes = [] if image.format in OWN_DEPTH else [f"{bits if bits < 16 else 16}-bit reduced to 8"]
    return Samples("L", values.astype(np.uint16), None, notes)


def _numbers(tags: object) -> Callable[[int, int], int]:
    def number(tag: int, default: int) -> int:
        value = tags.get(tag, default) if hasattr(tags, "get") else default
        value = value[0] if isinstance(value, tuple) and value else value
        return value if isinstance(value, int) else default

    return number


def _samples_8(image: Image.Image) -> Samples:
    mode = image.mode
    if mode == "1":
        image = image.convert("L", dither=None)
    elif mode in ("RGBa", "La", "PA") or (mode in ("P", "L", "RGB") and image.has_transparency_data):
        image = image.convert("LA" if mode in ("L", "La") else "RGBA")
    elif mode not in ("L", "RGB", "LA", "RGBA", "CMYK", "LAB"):  # P, RGBX, YCbCr, HSV
        image = image.convert("RGB")
    array = np.array(image)
    if image.mode in ("LA", "RGBA"):
        return Samples("L" if image.mode == "LA" else "RGB", _plain(array[..., :-1]), array[..., -1].copy())
    return Samples(image.mode, array)


def _plain(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array[..., 0] if array.shape[-1] == 1 else array)


def _make_transparent(samples: Samples, colour: tuple[int, ...], bits: int) -> None:
    """Alpha 0 where the samples have the colour that tRNS names."""
    if samples.alpha is not None or samples.mode not in ("L", "RGB"):
        return
    scale = 255 // ((1 << bits) - 1) if bits < 8 else 1
    wanted = [value * scale for value in colour]
    planes = [samples.colours] if samples.mode == "L" else [samples.colours[..., i] for i in range(3)]
    if len(wanted) == len(planes):
        same = np.logical_and.reduce([plane == value for plane, value in zip(planes, wanted, strict=True)])
        samples.alpha = np.where(same, 0, 255).astype(np.uint8)
