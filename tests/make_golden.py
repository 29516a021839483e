"""Add golden files: python tests/make_golden.py.

Format 1 is frozen, and so are released weights: a golden file is never made again. What is there stays; files that are
new in CASES are added. Each has its tokens' and pixels' hashes in golden.json; pixels of models in floating point are
in a PNG beside it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from conftest import make_rgb
from PIL import Image

from vitcodec.adaptive_filter import PAIRS, pack
from vitcodec.bitstream import container
from vitcodec.codec import Codec
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.regions import Plan
from vitcodec.subbands import CODING_ORDER, Subbands
from vitcodec.tiles import TileGrid

DATA = Path(__file__).parent / "data" / "golden"
KNOWN = DATA / "golden.json"


def digest(tokens: Subbands[Any]) -> str:
    """SHA-256 of all tokens as little-endian int32, the low band first, then levels 4 to 1, channels last."""
    h = hashlib.sha256()
    for level in CODING_ORDER:
        h.update(np.asarray(tokens[level]).astype("<i4").tobytes())
    return h.hexdigest()


def pixels_digest(picture: Picture) -> str:
    """SHA-256 of (H, W, 3) and alpha, as far as there is any."""
    alpha = b"" if picture.alpha is None else np.ascontiguousarray(picture.alpha).tobytes()
    return hashlib.sha256(np.ascontiguousarray(picture.rgb).tobytes() + alpha).hexdigest()


def encoded(model: str, size: tuple[int, int], **options: Any) -> Callable[[], bytes]:
    """A test picture of a size (width, height) by a model."""
    return lambda: Codec.from_pretrained(model, "cpu").encode(test_picture(*size), coding="tokens", **options)


def test_picture(width: int, height: int) -> Picture:
    return Picture(make_rgb(width, height, seed=3))


def gray() -> bytes:
    picture = test_picture(70, 50)
    picture.rgb[:] = picture.rgb[..., 1:2]
    picture.gray = True
    return Codec.from_pretrained("swin", "cpu").encode(picture, quality=40, coding="tokens")


def with_alpha(coding: str) -> bytes:
    picture = test_picture(90, 60)
    picture.alpha = make_rgb(90, 60, seed=4)[..., 0]
    picture.exif = b"II*\0exif"
    return Codec.from_pretrained("swin", "cpu").encode(picture, quality=35, coding=coding)


def own_qualities() -> bytes:
    encoder, options = (
        Codec.from_pretrained("swin", "cpu")._coder.encoder,
        EncodeOptions(quality=50, effort=1, tile=128),
    )
    plan = Plan(TileGrid(200, 140, 128), np.array([10, 90, 60, 35]))
    return container.pack(encoder._encode_tokens(test_picture(200, 140), options, plan))


def filtered() -> bytes:
    codec, rng = Codec.from_pretrained("swin", "cpu"), np.random.default_rng(0)
    contents = codec.read(codec.encode(test_picture(90, 60), quality=30, effort=1, coding="tokens"))
    first, second, third = (rng.integers(-9, 10, (2, len(p))) for p in PAIRS)
    contents.metadata["FILTER"] = pack((first, second, third))
    return container.pack(contents)


def enhanced(number: int) -> bytes:
    """Whether or not the encoder would have asked for it."""
    codec = Codec.from_pretrained("swin", "cpu")
    contents = codec.read(codec.encode(test_picture(190, 140), quality=25, tile=128, coding="tokens"))
    contents.header = replace(contents.header, enhancement=number)
    return container.pack(contents)


CASES: dict[str, Callable[[], bytes]] = {
    "tiles": encoded("swin", (150, 90), quality=55, tile=128),
    "tiny": encoded("swin", (5, 3), quality=20),
    "quality-1": encoded("swin", (100, 60), quality=1),
    "quality-100": encoded("swin", (60, 100), quality=100, effort=1),
    "gray": gray,
    "alpha": lambda: with_alpha("tokens"),
    "own-qualities": own_qualities,
    "filtered": filtered,
    "enhanced-1": lambda: enhanced(1),
    "lossless": lambda: with_alpha("lossless"),
    "ms-ssim": encoded("swin-ms-ssim", (200, 192), quality=50, effort=1),
    "ssimulacra2": encoded("swin-ssimulacra2", (100, 130), quality=45, effort=1),
    "ssimulacra2-2": encoded("swin-ssimulacra2-2", (130, 100), quality=45, effort=3),
    "ssimulacra2-3": encoded("swin-ssimulacra2-3", (130, 100), quality=45, effort=3),
    "ms-ssim-3": encoded("swin-ms-ssim-3", (120, 110), quality=40, effort=1),
    "ms-ssim-2": encoded("swin-ms-ssim-2", (130, 100), quality=45, effort=1),
    "cnn": encoded("cnn", (90, 60), quality=50, effort=1),
    "vit": encoded("vit", (90, 60), quality=50, effort=1),
    "beit-erased": encoded("beit", (90, 60), quality=50, effort=1, keep_tokens=0.8),
}


def main() -> None:
    DATA.mkdir(parents=True, exist_ok=True)
    known: dict[str, dict[str, str]] = json.loads(KNOWN.read_text()) if KNOWN.exists() else {}
    for name, make in CASES.items():
        if name in known:
            continue
        data = make()
        header = Codec.info(data).header
        codec = Codec.from_pretrained(header.model or "swin", "cpu")
        picture = codec.decode(data)
        (DATA / f"{name}.vitc").write_bytes(data)
        known[name] = {} if header.lossless else {"tokens": digest(codec.decompress(data).bands)}
        if header.lossless or codec.config.integers:
            known[name]["pixels"] = pixels_digest(picture)
        else:
            Image.fromarray(picture.rgb).save(DATA / f"{name}.png")
    KNOWN.write_text(json.dumps(known, indent=1) + "\n")


if __name__ == "__main__":
    main()
