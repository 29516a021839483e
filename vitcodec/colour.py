"""Colours of images: from the space of an ICC profile to sRGB and back, by Little CMS.

The model sees sRGB. If an image carries an ICC profile, its pixels are converted to sRGB on reading, and the profile
is kept. On writing they are converted back and the profile goes into the file, so that the picture looks the same
everywhere. Where a profile cannot be kept (the file format has no room for it, it describes CMYK, or it is to be
stripped), the file holds plain sRGB.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageCms

_SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_SPACES = {"L": ("GRAY", "RGB"), "CMYK": ("CMYK",), "LAB": ("Lab",)}  # of profiles, by mode; for others RGB


def to_srgb(image: Image.Image, icc: bytes | None) -> tuple[Image.Image, bytes | None, list[str]]:
    """An image of mode L, RGB, CMYK or LAB to sRGB.

    Returns the image, of mode L or RGB, the profile if it is to be kept, and notes for the user. A profile that is
    damaged, or for another kind of image, is ignored, which a note says.
    """
    profile, notes = None, []
    if icc:
        profile = _profile(icc)
        if profile is None or _space(profile) not in _SPACES.get(image.mode, ("RGB",)):
            notes.append("its ICC profile is damaged or for another kind of image: ignored")
            profile = None
    if image.mode == "LAB":
        profile = profile or ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    if image.mode in ("CMYK", "LAB"):
        notes.append(f"{image.mode} converted to sRGB")
        converted = _convert(image, profile, _SRGB, "RGB") if profile else None
        return converted or image.convert("RGB"), None, notes
    if profile is None:
        return image, None, notes
    if _is_srgb(profile):
        return image, icc, notes
    if image.mode == "L":
        whole = image if _space(profile) == "GRAY" else image.convert("RGB")
        converted = _convert(whole, profile, _SRGB, "RGB")
        converted = converted and converted.getchannel("G")
    else:
        converted = _convert(image, profile, _SRGB, "RGB")
    if converted is None:
        return image, None, [*notes, "its ICC profile cannot be converted from: ignored"]
    return converted, icc, notes


def from_srgb(image: Image.Image, icc: bytes) -> Image.Image | None:
    """An image of mode L or RGB, in sRGB, to the space of a profile; None where that is not possible."""
    profile = _profile(icc)
    if profile is None or (image.mode == "RGB" and _space(profile) != "RGB"):
        return None
    if _is_srgb(profile):
        return image
    if image.mode == "RGB":
        return _convert(image, _SRGB, profile, "RGB")
    if _space(profile) == "GRAY":
        return _convert(image.convert("RGB"), _SRGB, profile, "L")
    converted = _convert(image.convert("RGB"), _SRGB, profile, "RGB")
    return converted and converted.getchannel("G")


def _profile(icc: bytes) -> ImageCms.ImageCmsProfile | None:
    try:
        return ImageCms.ImageCmsProfile(io.BytesIO(icc))
    except (OSError, ImageCms.PyCMSError):
        return None


def _space(profile: ImageCms.ImageCmsProfile) -> str:
    return profile.profile.xcolor_space.strip()


def _convert(
    image: Image.Image, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile, mode: str
) -> Image.Image | None:
    try:
        return ImageCms.profileToProfile(image, source, target, renderingIntent=_INTENT, outputMode=mode)
    except (ImageCms.PyCMSError, ValueError, OSError):  # such as a scanner's profile, which has one direction only
        return None


def _is_srgb(profile: ImageCms.ImageCmsProfile) -> bool:
    """Whether colours stay as they are.

    Many profiles are sRGB by another name, and converting would only add rounding.
    """
    if _space(profile) != "RGB":
        return False
    axis = np.arange(0, 256, 51, dtype=np.uint8)
    colours = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(1, -1, 3)
    converted = _convert(Image.fromarray(colours), profile, _SRGB, "RGB")
    return converted is not None and int(np.abs(np.asarray(converted).astype(int) - colours).max()) <= 1
