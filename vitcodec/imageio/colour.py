"""Colours of images: kept as the file has them, with their profile; converted to sRGB only where that cannot be.

Values of RGB and gray are coded as they are, as JPEG, WebP and AVIF do. What is no RGB (CMYK, Lab) is converted to
sRGB, and so is what is far from the eye's steps (linear light), before its 16 bits are reduced to 8. On writing, values
are converted where the profile cannot go into the file. Tables are left to Little CMS; what is a matrix and curves is
computed here, where 16 bits are at hand or light is brighter than white.
"""

from __future__ import annotations

import functools
import io

import numpy as np
from PIL import Image, ImageCms

from . import cicp as code_points
from . import profiles
from .metadata import FileMetadata
from .profiles import SRGB, SRGB_CURVE, Space, make_profile
from .samples import Samples, to_8_bits

_INTENT = ImageCms.Intent.RELATIVE_COLORIMETRIC
_SPACES = {"L": ("GRAY", "RGB"), "CMYK": ("CMYK",), "LAB": ("Lab",)}  # of profiles, by mode; for others RGB
_LINEAR_LIKE = 166  # what 128 becomes in sRGB at gamma 1.4: from there on 8 bits are too few for dark tones
_OUTSIDE = 2e-3  # by which linear light may leave 0..1 and still count as within sRGB
_UNUSABLE = "its ICC profile cannot be converted from: ignored"
_STRIP = 1 << 20  # pixels computed at once


def settle(samples: Samples, metadata: FileMetadata) -> tuple[np.ndarray, bytes | None, bytes | None, list[str]]:
    """Samples as a file has them -> (the values to code, their profile, their code points, notes).

    Values: (H, W) or (H, W, 3) uint8. A profile that is damaged, or for another kind of image, is ignored, which a note
    says.
    """
    notes: list[str] = []
    icc = metadata.icc
    profile = _profile(icc) if icc else None
    if icc and (profile is None or _space(profile) not in _SPACES.get(samples.mode, ("RGB",))):
        notes.append("its ICC profile is damaged or for another kind of image: ignored")
        profile = icc = None
    if samples.mode in ("CMYK", "LAB"):
        return _to_rgb(samples, profile, notes), None, None, [*notes, f"{samples.mode} converted to sRGB"]
    points = metadata.cicp
    if points is not None:
        return _by_code_points(samples, icc, points, notes)
    if icc and (hdr := profiles.hdr_of(icc)):
        notes.append(_hdr_note(hdr))
    if icc and profile is not None:
        if _mid(samples.mode, profile) < _LINEAR_LIKE:
            return to_8_bits(samples.colours), icc, None, notes
        return (
            *_display_like(samples, profiles.space_of(icc), profile),
            None,
            [*notes, "linear light converted to sRGB"],
        )
    if metadata.numbers is not None:
        return _by_numbers(samples, metadata, notes)
    return to_8_bits(samples.colours), None, None, notes


def _by_numbers(
    samples: Samples, metadata: FileMetadata, notes: list[str]
) -> tuple[np.ndarray, bytes | None, bytes | None, list[str]]:
    """By the profile that gAMA and cHRM make: kept for primaries of their own, else converted to sRGB."""
    assert metadata.numbers is not None
    space, profile = profiles.space_of(metadata.numbers), _profile(metadata.numbers)
    if space is None or space.matrix is None or profile is None:
        return to_8_bits(samples.colours), None, None, [*notes, f"{metadata.numbers_name}: not understood"]
    plain = samples.mode == "L" or np.abs(space.matrix - SRGB.matrix).max() < 1e-3
    if not plain and _mid("RGB", profile) < _LINEAR_LIKE:
        note = f"{metadata.numbers_name}: kept in an ICC profile"
        return to_8_bits(samples.colours), metadata.numbers, None, [*notes, note]
    colours, icc = _display_like(samples, space, None)
    return colours, icc, None, [*notes, f"{metadata.numbers_name}: converted to sRGB"]


def _by_code_points(
    samples: Samples, icc: bytes | None, points: bytes, notes: list[str]
) -> tuple[np.ndarray, bytes | None, bytes | None, list[str]]:
    colours = samples.colours
    if not points[3]:  # 16..235, of which no format but PNG would know
        low, span = (16, 219) if colours.dtype == np.uint8 else (4096, 56064)
        top = np.iinfo(colours.dtype).max
        colours = np.clip(np.rint((colours.astype(np.float32) - low) * top / span), 0, top).astype(colours.dtype)
        points = bytes([*points[:3], 1])
        notes.append("limited range widened to full")
    if points[1] == code_points.LINEAR and (space := code_points.space_of(points)):
        whole = Samples(samples.mode, colours)
        return *_display_like(whole, space, None), None, [*notes, "linear light converted to sRGB"]
    if points[1] in code_points.HDR:
        notes.append(_hdr_note(points[1]))
    elif code_points.space_of(points) is None:
        notes.append(f"its colours (CICP {points[0]}/{points[1]}) are unknown here: kept as they are")
    return to_8_bits(colours), icc, points, notes


def _hdr_note(transfer: int) -> str:
    return f"HDR ({code_points.HDR[transfer]}): kept as values of 8 bits, which may show steps"


def _to_rgb(samples: Samples, profile: ImageCms.ImageCmsProfile | None, notes: list[str]) -> np.ndarray:
    """CMYK or Lab to sRGB."""
    image = Image.frombytes(samples.mode, samples.colours.shape[1::-1], samples.colours.tobytes())
    if samples.mode == "LAB":
        profile = profile or ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    converted = _convert(image, profile, _srgb(), "RGB") if profile else None
    if profile and not converted:
        notes.append(_UNUSABLE)
    return np.array(converted or image.convert("RGB"))


def _display_like(
    samples: Samples, space: Space | None, profile: ImageCms.ImageCmsProfile | None
) -> tuple[np.ndarray, bytes | None]:
    """Values with sRGB's curve, and the profile that they need then: none if they fit into sRGB.

    Colours outside sRGB keep their primaries. space None: by the profile's tables.
    """
    gray = samples.mode == "L"
    if space is None:
        image = Image.fromarray(to_8_bits(samples.colours))
        converted = profile and _convert(image.convert("RGB") if gray else image, profile, _srgb(), "RGB")
        out = np.array(converted or image)
        return (out[..., 1] if gray and out.ndim == 3 else out), None
    if gray:
        curve = space.curves[len(space.curves) // 2]
        return _encode_table(curve, samples.colours.dtype)[samples.colours], None
    assert space.matrix is not None and SRGB.matrix is not None
    to_srgb = np.linalg.inv(SRGB.matrix) @ space.matrix
    tables = [curve(_axis(samples.colours.dtype)).astype(np.float32) for curve in space.curves]
    out = np.empty(samples.colours.shape, np.uint8)
    for rows in _strips(out.shape):
        part = samples.colours[rows]
        light = np.stack([table[part[..., i]] for i, table in enumerate(tables)], -1) @ to_srgb.T.astype(np.float32)
        if light.min() < -_OUTSIDE or light.max() > 1 + _OUTSIDE:
            break
        out[rows] = _encode(light)
    else:
        return out, None
    planes = [_encode_table(c, samples.colours.dtype)[samples.colours[..., i]] for i, c in enumerate(space.curves)]
    return np.stack(planes, -1), make_profile("sRGB curve, own primaries", space.matrix, SRGB_CURVE)


def _axis(dtype: np.dtype) -> np.ndarray:
    return np.linspace(0, 1, int(np.iinfo(dtype).max) + 1)


def _encode_table(curve: profiles.Curve, dtype: np.dtype) -> np.ndarray:
    """Values -> sRGB's values of 8 bits, for one channel."""
    return _encode(curve(_axis(dtype)))


def _encode(light: np.ndarray) -> np.ndarray:
    """Linear light to sRGB's values of 8 bits."""
    light = np.clip(light, 0, 1)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * np.power(light, 1 / 2.4) - 0.055)
    return np.rint(encoded * 255).astype(np.uint8)


def _strips(shape: tuple[int, ...]) -> list[slice]:
    rows = max(1, _STRIP // max(shape[1], 1))
    return [slice(y, y + rows) for y in range(0, shape[0], rows)]


def to_srgb(values: np.ndarray, icc: bytes | None, cicp: bytes | None) -> tuple[np.ndarray, list[str]]:
    """Values of a picture, (H, W) or (H, W, 3) uint8, in sRGB, and notes.

    Of high dynamic range, what is brighter than diffuse white is cut off.
    """
    gray = values.ndim == 2
    if cicp is not None and cicp[1] in code_points.HDR and (space := code_points.space_of(cicp)):
        return _cut(values, space), [f"HDR ({code_points.HDR[cicp[1]]}) converted to sRGB: highlights are cut off"]
    if cicp is not None and not code_points.is_srgb(cicp):
        icc = code_points.profile_of(cicp, gray) or icc
    profile = _profile(icc) if icc else None
    if icc is None or profile is None or _is_srgb(icc):
        return values, []
    image = Image.fromarray(values)
    if gray and _space(profile) != "GRAY":
        image = image.convert("RGB")
    converted = _convert(image, profile, _srgb(), "RGB")
    if converted is None:
        return values, [_UNUSABLE]
    return np.array(converted.getchannel("G") if gray else converted), []


def _cut(values: np.ndarray, space: Space) -> np.ndarray:
    table = space.curves[0](_axis(values.dtype)).astype(np.float32)
    if values.ndim == 2:
        return _encode(table)[values]
    assert space.matrix is not None and SRGB.matrix is not None
    matrix = (np.linalg.inv(SRGB.matrix) @ space.matrix).T.astype(np.float32)
    out = np.empty_like(values)
    for rows in _strips(values.shape):
        out[rows] = _encode(table[values[rows]] @ matrix)
    return out


def is_srgb(icc: bytes | None, cicp: bytes | None) -> bool:
    """Whether values are sRGB as they are."""
    if cicp is not None:
        return code_points.is_srgb(cicp)
    return icc is None or _is_srgb(icc)


def gray_profile(icc: bytes) -> bytes:
    """For gray values, which some formats allow no RGB profile: its curve alone.

    As it is where it has tables, where its white is none, or where Little CMS cannot use it.
    """
    space, profile = profiles.space_of(icc), _profile(icc)
    usable = profile and _convert(Image.new("RGB", (1, 1)), profile, _srgb(), "RGB")
    if space is None or space.matrix is None or not usable:
        return icc
    if np.abs(space.matrix.sum(1) - profiles.D50_XYZ).max() > 0.02:
        return icc
    number = {1: 5, 2: 5}.get(profiles.number_of(icc) or 0)
    known = profiles.well_known(number) if number else None
    return known or make_profile("Gray", None, np.clip(space.curves[1](np.linspace(0, 1, 1025)), 0, 1))


def rgb_profile(icc: bytes) -> bytes | None:
    """For gray values in a format that has RGB only: a gray profile's curve with sRGB's primaries; None for tables."""
    space, profile = profiles.space_of(icc), _profile(icc)
    if profile is None or _space(profile) != "GRAY":
        return icc
    if space is None or space.matrix is not None:
        return None
    return make_profile("Gray, as RGB", SRGB.matrix, np.clip(space.curves[0](np.linspace(0, 1, 1025)), 0, 1))


@functools.cache
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


def _profile(icc: bytes) -> ImageCms.ImageCmsProfile | None:
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(icc))
        return profile if _space(profile) else None
    except (OSError, ValueError, ImageCms.PyCMSError):  # ValueError: its space is no text
        return None


def _space(profile: ImageCms.ImageCmsProfile) -> str:
    return str(profile.profile.xcolor_space).strip()


def _mid(mode: str, profile: ImageCms.ImageCmsProfile) -> int:
    """What the value 128 of gray becomes in sRGB; 128 where the profile cannot tell."""
    gray = Image.new("L" if mode == "L" and _space(profile) == "GRAY" else "RGB", (1, 1), 128 if mode == "L" else 0)
    if gray.mode == "RGB":
        gray.paste((128, 128, 128), (0, 0, 1, 1))
    converted = _convert(gray, profile, _srgb(), "RGB")
    return converted.getpixel((0, 0))[1] if converted else 128  # type: ignore[index,return-value]


def _convert(
    image: Image.Image, source: ImageCms.ImageCmsProfile, target: ImageCms.ImageCmsProfile, mode: str
) -> Image.Image | None:
    try:
        return ImageCms.profileToProfile(image, source, target, renderingIntent=_INTENT, outputMode=mode)
    except (ImageCms.PyCMSError, ValueError, OSError):  # such as a scanner's profile, which has one direction only
        return None


@functools.lru_cache(maxsize=16)
def _is_srgb(icc: bytes) -> bool:
    """Whether colours stay as they are: many profiles are sRGB by another name, or gray with its curve."""
    number, profile = profiles.number_of(icc), _profile(icc)
    if number in (1, 5) or profile is None:
        return True
    if _space(profile) != "RGB":
        return False
    axis = np.arange(0, 256, 51, dtype=np.uint8)
    colours = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(1, -1, 3)
    converted = _convert(Image.fromarray(colours), profile, _srgb(), "RGB")
    return converted is not None and int(np.abs(np.asarray(converted).astype(int) - colours).max()) <= 1
