"""Write the golden file of the current weights: python tests/make_golden.py.

Format 1 may still change, and so may weights. Once it is frozen its golden file is never made again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from conftest import make_rgb

from vitcodec.codec import Codec
from vitcodec.images import Picture
from vitcodec.subbands import CODING_ORDER, Subbands

DATA = Path(__file__).parent / "data"


def digest(tokens: Subbands[Any]) -> str:
    """SHA-256 of all tokens as little-endian int32, the low band first, then levels 4 to 1, channels last."""
    h = hashlib.sha256()
    for level in CODING_ORDER:
        h.update(np.asarray(tokens[level]).astype("<i4").tobytes())
    return h.hexdigest()


if __name__ == "__main__":
    codec = Codec.load("swin", device="cpu")
    data = codec.encode(Picture(make_rgb(150, 90, seed=3)), quality=55, tile=128)
    DATA.mkdir(exist_ok=True)
    (DATA / "golden-1.vitc").write_bytes(data)
    np.savez_compressed(DATA / "golden-1.npz", rgb=codec.decode(data).rgb)
    (DATA / "golden-1.json").write_text(
        json.dumps({"tokens": digest(codec.tokens(data)), "width": 150, "height": 90, "quality": 55}) + "\n"
    )
