"""What size and PSNR of a picture have to do from quality to quality."""

from __future__ import annotations

from itertools import pairwise

from .measure import Point

LEAST = 36.0  # dB from quality 90 on
GOOD = 90
EXACT = 100.0  # dB: stands for a picture that comes back without any error


def failures(points: list[Point]) -> list[str]:
    """What is less good than it has to be, and where size or PSNR falls."""
    low = [
        f"{p['image']}: {p['psnr']:.2f} dB at quality {p['setting']}, less than {LEAST:g}"
        for p in points
        if p["setting"] >= GOOD and p["psnr"] < LEAST
    ]
    return low + [f"{a['image']}: {what} from quality {a['setting']} to {b['setting']}" for what, a, b in drops(points)]


def drops(points: list[Point]) -> list[tuple[str, Point, Point]]:
    """Where size or PSNR falls from one quality to the next of a picture: (what, before, after).

    A picture that comes back exactly has nowhere to rise to, and its size may stay.
    """
    steps = [(a, b) for a, b in pairwise(points) if a["image"] == b["image"]]
    sizes = [(f"size falls ({a['bytes']:,} to {b['bytes']:,})", a, b) for a, b in steps if b["bytes"] < a["bytes"]]
    levels = [(f"PSNR falls ({a['psnr']:.2f} to {b['psnr']:.2f})", a, b) for a, b in steps if b["psnr"] < a["psnr"]]
    return sizes + levels
