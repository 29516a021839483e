"""Pictures made by a program, and the default model loaded once."""

from __future__ import annotations

import numpy as np
import pytest


def make_rgb(width: int, height: int, seed: int = 0) -> np.ndarray:
    """A smooth picture with edges and texture, (height, width, 3) uint8."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(np.float64)
    waves = sum(np.sin(x[..., None] * rng.normal(0, 0.08, 3) + y[..., None] * rng.normal(0, 0.08, 3) + rng.uniform(0, 6, 3)) for _ in range(4))
    rgb = 128 + 25 * waves
    for _ in range(6):
        cx, cy, r = rng.uniform(0, width), rng.uniform(0, height), rng.uniform(4, max(5, min(width, height) / 3))
        rgb[(x - cx) ** 2 + (y - cy) ** 2 < r * r] = rng.uniform(0, 255, 3)
    return np.clip(rgb + rng.normal(0, 3, rgb.shape), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def codec():
    from vitcodec.codec import Codec

    return Codec.load(device="cpu")


@pytest.fixture(scope="session")
def picture():
    from vitcodec.images import Picture

    return Picture(make_rgb(200, 136), None, False, None, None, None, [])
