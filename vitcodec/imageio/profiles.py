"""Colour spaces as numbers: read from ICC profiles, made into ICC profiles, and the well-known ones by number.

A Space is what a matrix profile says (ICC.1:2022, F.3): a curve for each channel to linear light, then a matrix to the
XYZ of the profile connection space (D50). Profiles with tables (A2B0) are left to Little CMS.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .names import PROFILES

Curve = Callable[[np.ndarray], np.ndarray]  # encoded 0..1 -> linear light 0..1

D65, _D50 = (0.3127, 0.3290), (0.3457, 0.3585)
D50_XYZ = np.array([0.9642, 1.0, 0.8249])
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])
SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)  # g, a, b, c, d of a "para" curve of type 3
_SAME = 0.75  # levels of 8 bits by which no colour may differ in two profiles that count as one


@dataclass(frozen=True)
class Space:
    """matrix: (3, 3), linear RGB to XYZ (D50); None for gray. curves: one for each channel."""

    matrix: np.ndarray | None
    curves: tuple[Curve, ...]


def power(gamma: float) -> Curve:
    """The curve of a plain gamma."""
    return lambda x: np.power(np.maximum(x, 0), gamma)


def parametric(parameters: Sequence[float]) -> Curve:
    """(a x + b) ** g from d on, c x below: ICC's "para" curve of type 3; with e and f of type 4."""
    g, a, b, c, d, e, f = (*parameters, 0.0, 0.0)[:7]
    return lambda x: np.where(x >= d, np.power(np.maximum(a * x + b, 0), g) + e, c * x + f)


def primaries_matrix(xy: Sequence[float], white: Sequence[float]) -> np.ndarray:
    """Linear RGB to XYZ (D50), from the chromaticities of red, green, blue and white, adapted by Bradford's matrix.

    Raises ValueError where these are no primaries.
    """
    if min(xy[1::2]) <= 0 or white[1] <= 0:
        raise ValueError("chromaticities with y = 0")
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in zip(xy[::2], xy[1::2], strict=True)]).T
    target = np.array([white[0] / white[1], 1, (1 - white[0] - white[1]) / white[1]])
    try:
        matrix = columns * np.linalg.solve(columns, target)
    except np.linalg.LinAlgError:
        raise ValueError("chromaticities on one line") from None
    cone = (_BRADFORD @ D50_XYZ) / (_BRADFORD @ target)
    adapted: np.ndarray = np.linalg.inv(_BRADFORD) @ (cone[:, None] * (_BRADFORD @ matrix))
    return adapted


_BT709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
SRGB = Space(primaries_matrix(_BT709, D65), (parametric(SRGB_CURVE),) * 3)


# ---- ICC profiles, read


def space_of(icc: bytes) -> Space | None:
    """The Space of a profile; None if it is damaged, has tables, or is for another kind of image."""
    try:
        tags = _tags(icc)
        if icc[16:20] not in (b"RGB ", b"GRAY") or icc[20:24] != b"XYZ " or tags.keys() & {b"A2B0", b"D2B0", b"A2B1"}:
            return None
        if icc[16:20] == b"GRAY":
            return Space(None, (_curve(tags[b"kTRC"]),))
        matrix = np.array([struct.unpack_from(">3i", tags[t], 8) for t in (b"rXYZ", b"gXYZ", b"bXYZ")]).T / 65536
        np.linalg.inv(matrix)
        return Space(matrix, tuple(_curve(tags[t]) for t in (b"rTRC", b"gTRC", b"bTRC")))
    except (KeyError, ValueError, IndexError, ZeroDivisionError, struct.error, np.linalg.LinAlgError):
        return None


def hdr_of(icc: bytes) -> int | None:
    """The CICP transfer that a profile of ICC 4.4 names, if it has high dynamic range (16: PQ, 18: HLG)."""
    try:
        transfer = _tags(icc)[b"cicp"][9]
    except (KeyError, IndexError, struct.error):
        return None
    return transfer if transfer in (16, 18) else None


def _tags(icc: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", icc, 128)
    entries = [struct.unpack_from(">4sII", icc, 132 + 12 * i) for i in range(min(count, 200))]
    return {tag: icc[offset : offset + size] for tag, offset, size in entries}


def _curve(tag: bytes) -> Curve:
    """Raises ValueError where the values are no light: a damaged profile's."""
    curve = _any_curve(tag)
    with np.errstate(all="ignore"):
        light = curve(np.linspace(0, 1, 257))
    if not (np.abs(light) < 2).all():
        raise ValueError("not a curve of light")
    return curve


def _any_curve(tag: bytes) -> Curve:
    if tag[:4] == b"para":
        kind, count = struct.unpack_from(">H", tag, 8)[0], 0
        count = (1, 3, 4, 5, 7)[kind]
        values = [v / 65536 for v in struct.unpack_from(f">{count}i", tag, 12)]
        g = values[0]
        if kind == 0:
            return power(g)
        if kind in (1, 2):  # (a x + b) ** g + c from -b / a on, and c below
            a, b, c = (*values[1:], 0.0)[:3]
            return parametric((g, a, b, 0.0, -b / a if a else math.inf, c, c))
        return parametric(values)
    if tag[:4] != b"curv":
        raise ValueError("not a curve")
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return lambda x: x
    points = np.array(struct.unpack_from(f">{count}H", tag, 12))
    if count == 1:
        return power(float(points[0]) / 256)
    return lambda x: np.interp(x, np.linspace(0, 1, count), points / 65535)


# ---- ICC profiles, made


def make_profile(name: str, matrix: np.ndarray | None, curve: Sequence[float] | np.ndarray) -> bytes:
    """An ICC profile (version 4.3) for a display, or for gray where matrix is None.

    curve: a gamma alone, the five parameters of a "para" curve of type 3, or an array of samples in 0..1.
    """
    if isinstance(curve, np.ndarray):
        table = np.round(curve * 65535).astype(">u2")
        trc = b"curv\0\0\0\0" + struct.pack(">I", len(table)) + table.tobytes()
    else:
        kind = 0 if len(curve) == 1 else 3
        trc = b"para\0\0\0\0" + struct.pack(">HH", kind, 0) + _fixed(*curve)
    tags = {b"desc": _text(name), b"cprt": _text("CC0"), b"wtpt": _xyz(*D50_XYZ)}
    if matrix is None:
        tags[b"kTRC"] = trc
    else:
        for i, channel in enumerate((b"r", b"g", b"b")):
            tags[channel + b"XYZ"] = _xyz(*matrix[:, i])
            tags[channel + b"TRC"] = trc
    offset = 128 + 4 + 12 * len(tags)
    index, data, places = b"", b"", dict[bytes, int]()
    for tag, value in tags.items():
        if value not in places:  # equal tags share their bytes
            places[value] = offset + len(data)
            data += value + bytes(-len(value) % 4)
        index += tag + struct.pack(">II", places[value], len(value))
    space = b"GRAY" if matrix is None else b"RGB "
    head = bytes(8) + struct.pack(">I4s4s4s12x4s28x", 0x04300000, b"mntr", space, b"XYZ ", b"acsp") + _fixed(*D50_XYZ)
    body = head.ljust(128, b"\0") + struct.pack(">I", len(tags)) + index + data
    return struct.pack(">I", len(body)) + body[4:]


def _fixed(*values: float) -> bytes:
    return struct.pack(f">{len(values)}i", *(round(v * 65536) for v in values))


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + _fixed(*values)


def _text(text: str) -> bytes:
    encoded = text.encode("utf-16-be")
    return b"mluc\0\0\0\0" + struct.pack(">II2s2sII", 1, 12, b"en", b"US", len(encoded), 28) + encoded


# ---- the well-known ones

_ADOBE = (0.64, 0.33, 0.21, 0.71, 0.15, 0.06)
_P3 = (0.680, 0.320, 0.265, 0.690, 0.150, 0.060)
_PROPHOTO = (0.734699, 0.265301, 0.159597, 0.840403, 0.036598, 0.000105)
# number in a .vitc file -> name, primaries (None for gray), white, curve; numbers are never given anew
WELL_KNOWN: dict[int, tuple[str, tuple[float, ...] | None, tuple[float, float], tuple[float, ...]]] = {
    1: (PROFILES[1], _BT709, D65, SRGB_CURVE),
    2: (PROFILES[2], _P3, D65, SRGB_CURVE),
    3: (PROFILES[3], _ADOBE, D65, (563 / 256,)),
    4: (PROFILES[4], None, D65, (2.2,)),
    5: (PROFILES[5], None, D65, SRGB_CURVE),
    6: (PROFILES[6], _PROPHOTO, _D50, (1.8,)),
}


@functools.cache
def well_known(number: int) -> bytes | None:
    """The profile of a number, made here; None for an unknown one."""
    if number not in WELL_KNOWN:
        return None
    name, primaries, white, curve = WELL_KNOWN[number]
    return make_profile(name, None if primaries is None else primaries_matrix(primaries, white), curve)


@functools.lru_cache(maxsize=16)
def number_of(icc: bytes) -> int | None:
    """The number of the well-known profile that a profile equals, in that no colour of 8 bits differs by 0.75 levels.

    Profiles with tables equal none. None where there is none.
    """
    space = space_of(icc)
    if space is None:
        return None
    for number in WELL_KNOWN:
        other = space_of(well_known(number) or b"")
        if other is not None and _difference(space, other) < _SAME:
            return number
    return None


def _difference(a: Space, b: Space) -> float:
    """By how many levels of 8 bits, at most, the same values have to differ to be one colour in both spaces."""
    if (a.matrix is None) != (b.matrix is None):
        return math.inf
    levels = np.arange(256) / 255
    encode = [_inverse(curve) for curve in b.curves]
    gray = max(float(np.abs(back(curve(levels)) - levels).max()) for curve, back in zip(a.curves, encode, strict=True))
    if a.matrix is None or b.matrix is None or gray * 255 >= _SAME:
        return gray * 255
    axis = np.linspace(0, 1, 9)
    grid = np.stack(np.meshgrid(axis, axis, axis), -1).reshape(-1, 3)
    linear = np.stack([curve(grid[:, i]) for i, curve in enumerate(a.curves)], -1)
    linear = linear @ (np.linalg.inv(b.matrix) @ a.matrix).T
    encoded = np.stack([back(linear[:, i]) for i, back in enumerate(encode)], -1)
    # what lies a little outside differs by no more than clipping takes
    inside = (linear > -1e-3) & (linear < 1 + 2e-3)
    return math.inf if not inside.all() else float(np.abs(encoded - grid).max()) * 255


def _inverse(curve: Curve) -> Curve:
    """The inverse of a curve that rises, by a table."""
    x = np.linspace(0, 1, 8193) ** 2  # denser where curves are steep
    y = np.maximum.accumulate(curve(x))
    return lambda value: np.interp(value, y, x)
