"""Write the golden file of the current format and weights: python tests/make_golden.py.

For version 0 only, which may still change; from version 1 on a golden file is never made again.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from conftest import make_rgb

from vitcodec.codec import Codec
from vitcodec.images import Picture
from vitcodec.subbands import CODING_ORDER, Subbands

DATA = Path(__file__).parent / "data"


def digest(tokens: Subbands) -> str:
    """SHA-256 of all tokens as little-endian int32, the low band first, then levels 4 to 1, channels last."""
    h = hashlib.sha256()
    for level in CODING_ORDER:
        h.update(tokens[level].cpu().numpy().astype("<i4").tobytes())
    return h.hexdigest()


if __name__ == "__main__":
    codec = Codec.load(device="cpu")
    data = codec.encode(Picture(make_rgb(150, 90, seed=3)), quality=55)
    DATA.mkdir(exist_ok=True)
    (DATA / "golden-0.vitc").write_bytes(data)
    np.savez_compressed(DATA / "golden-0.npz", rgb=codec.decode(data).rgb)
    (DATA / "golden-0.json").write_text(
        json.dumps({"tokens": digest(codec.tokens(data)), "width": 150, "height": 90, "quality": 55}) + "\n"
    )
