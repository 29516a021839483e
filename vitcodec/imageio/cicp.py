"""Colours by code points (ITU-T H.273), four bytes as in PNG's cICP: primaries, transfer, matrix, full range."""

from __future__ import annotations

import functools

import numpy as np

from .profiles import D65, SRGB_CURVE, Curve, Space, make_profile, parametric, power, primaries_matrix

_PRIMARIES: dict[int, tuple[tuple[float, ...], tuple[float, float]]] = {
    1: ((0.64, 0.33, 0.30, 0.60, 0.15, 0.06), D65),
    4: ((0.67, 0.33, 0.21, 0.71, 0.14, 0.08), (0.310, 0.316)),
    5: ((0.64, 0.33, 0.29, 0.60, 0.15, 0.06), D65),
    6: ((0.630, 0.340, 0.310, 0.595, 0.155, 0.070), D65),
    7: ((0.630, 0.340, 0.310, 0.595, 0.155, 0.070), D65),
    9: ((0.708, 0.292, 0.170, 0.797, 0.131, 0.046), D65),
    11: ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), (0.314, 0.351)),
    12: ((0.680, 0.320, 0.265, 0.690, 0.150, 0.060), D65),
    22: ((0.630, 0.340, 0.295, 0.605, 0.155, 0.077), D65),
}
_BT709_CURVE = (1 / 0.45, 1 / 1.099, 0.099 / 1.099, 1 / 4.5, 0.081)
_PQ, _HLG, LINEAR = 16, 18, 8
HDR = {_PQ: "PQ", _HLG: "HLG"}
# 1 where it is unspecified: what readers take such pictures for
_CURVES: dict[int, tuple[float, ...]] = {
    **dict.fromkeys((2, 13), SRGB_CURVE),
    **dict.fromkeys((1, 6, 14, 15), _BT709_CURVE),
    4: (2.2,),
    5: (2.8,),
    LINEAR: (1.0,),
}
_WHITE = 203  # cd/m2 of diffuse white in pictures of high dynamic range (ITU-R BT.2408)


def _pq(x: np.ndarray) -> np.ndarray:
    """Light of SMPTE ST 2084, 1 at diffuse white."""
    e = np.power(np.clip(x, 0, 1), 1 / 78.84375)
    light = np.power(np.maximum(e - 0.8359375, 0) / (18.8515625 - 18.6875 * e), 1 / 0.1593017578125)
    return light * (10000 / _WHITE)


def _hlg(x: np.ndarray) -> np.ndarray:
    """Light of ITU-R BT.2100 HLG, 1 at diffuse white; its system gamma is applied to each channel by itself."""
    scene = np.where(x <= 0.5, x * x / 3, (np.exp((x - 0.55991073) / 0.17883277) + 0.28466892) / 12)
    return np.power(scene, 1.2) * (1000 / _WHITE)


def is_srgb(cicp: bytes) -> bool:
    """Whether the code points say sRGB, or nothing."""
    return cicp[0] in (1, 2) and cicp[1] in (2, 13)


def space_of(cicp: bytes) -> Space | None:
    """The colour space of code points; None where it is unknown. Light above 1 is brighter than diffuse white."""
    primaries = _PRIMARIES.get(1 if cicp[0] == 2 else cicp[0])
    curve = _curve(cicp[1])
    if primaries is None or curve is None:
        return None
    return Space(primaries_matrix(*primaries), (curve,) * 3)


def _curve(transfer: int) -> Curve | None:
    if transfer in HDR:
        return _pq if transfer == _PQ else _hlg
    parameters = _CURVES.get(transfer)
    if parameters is None:
        return None
    return power(parameters[0]) if len(parameters) == 1 else parametric(parameters)


@functools.cache
def profile_of(cicp: bytes, gray: bool) -> bytes | None:
    """An ICC profile that says the same; None where none can."""
    primaries, curve = _PRIMARIES.get(1 if cicp[0] == 2 else cicp[0]), _CURVES.get(cicp[1])
    if primaries is None or curve is None:
        return None
    name = f"CICP {cicp[0]}/{cicp[1]}"
    return make_profile(name, None if gray else primaries_matrix(*primaries), curve)
