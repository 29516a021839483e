"""Write the files that the JavaScript decoder is tested with, and what Python makes of them:

    python web/tools/make_cases.py            # web/test/cases: NAME.vitc, and cases.json with SHA-256 of their pixels

A case is a file and ways to decode it. Pixels are hashed as RGBA, as a canvas holds them.
"""

from __future__ import annotations

import functools
import hashlib
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

import vitcodec
from vitcodec import Codec, Picture, Region, Tokens
from vitcodec.bitstream import container
from vitcodec.bitstream.chunks import pack_chunk, varint
from vitcodec.bitstream.container import Contents
from vitcodec.errors import VitcodecError
from vitcodec.lossless import LosslessCodec
from vitcodec.pretrained import registry

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parents[1] / "test" / "cases"
sys.path.insert(0, str(ROOT / "tests"))
from conftest import make_rgb  # noqa: E402

Way = dict[str, Any]  # reduce, region, salvage


@dataclass
class Case:
    """A file, and the ways to decode it; the whole of it where there are none."""

    make: Callable[[], bytes]
    ways: list[Way] = field(default_factory=lambda: [{}])


@functools.cache
def codec_of(model: str) -> Codec:
    return Codec.from_pretrained(model, "cpu", 1)


def swin() -> Codec:
    return codec_of("swin")


def photo(name: str, box: tuple[int, int, int, int]) -> Picture:
    return Picture(np.asarray(Image.open(ROOT / "examples" / name).convert("RGB").crop(box)))


def drawn(width: int, height: int, **more: Any) -> Picture:
    return Picture(make_rgb(width, height, seed=7), **more)


def encoded(picture: Picture, model: str = "swin", **options: Any) -> Callable[[], bytes]:
    return lambda: codec_of(model).encode(picture, **({"coding": "tokens", "effort": 1} | options))


def gray(width: int, height: int, alpha: bool = False) -> Picture:
    picture = drawn(width, height, gray=True)
    picture.rgb[:] = picture.rgb[..., 1:2]
    picture.alpha = soft_alpha(width, height) if alpha else None
    return picture


def soft_alpha(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    return np.clip(400 - 6 * np.hypot(x - width / 2, y - height / 2), 0, 255).astype(np.uint8)


def screenshot(width: int, height: int) -> Picture:
    """Few colours, straight lines, repetitions."""
    rgb = np.full((height, width, 3), 250, np.uint8)
    for y in range(0, height, 12):
        for x in range(3, width - 20, 23):
            rgb[y + 2 : y + 8, x : x + 5 + (x * y) % 13] = (20, 30 + 10 * (y % 7), 90)
    rgb[: height // 8] = (40, 90, 160)
    return Picture(rgb)


def gradient(width: int, height: int) -> Picture:
    """All transforms of WebP have something to do in it."""
    y, x = np.mgrid[:height, :width]
    return Picture(np.stack((x * 2 + y, x + y, 255 - x + (x * y) % 5), -1).astype(np.uint8))


def lossless(picture: Picture, tile: int | None = None) -> bytes:
    return LosslessCodec().encode(picture, tile=tile)


def with_profile() -> bytes:
    picture = drawn(60, 44, exif=b"II*\0exif", xmp=b"<x/>", dpi=(72.0, 96.0))
    picture.cicp = bytes([12, 13, 0, 1])
    return encoded(picture, quality=45)()


def extreme() -> bytes:
    """Values that no picture has: the longest escapes, bypass bits, scale offsets."""
    codec, rng = swin(), np.random.default_rng(5)
    tokens = codec.encode_tokens(drawn(64, 64), quality=30, effort=1)

    def wild(band: np.ndarray) -> np.ndarray:
        large = rng.integers(-40000, 40000, band.shape) >> rng.integers(0, 16, band.shape)
        return np.where(rng.random(band.shape) < 0.3, large, band).astype(np.int32)

    return codec.compress(Tokens(tokens.bands.map(wild), tokens.header, tokens.metadata))


def masked() -> bytes:
    """Erased tokens, which no encoder writes with a model of integers, but every decoder fills in."""
    codec, rng = swin(), np.random.default_rng(6)
    tokens = codec.encode_tokens(drawn(100, 70), quality=40, effort=1)
    h, w = tokens.bands.grid
    mask = np.packbits(rng.random((h, w)) < 0.4).tobytes()
    return codec.compress(Tokens(tokens.bands, tokens.header, tokens.metadata | {"MASK": mask}))


def noisy() -> bytes:
    """Mispredicted, so that payloads begin with scale offsets."""
    rgb = np.random.default_rng(8).integers(0, 256, (80, 112, 3)).astype(np.uint8)
    return encoded(Picture(rgb), quality=60, effort=2)()


def own_qualities() -> bytes:
    return encoded(drawn(300, 140), quality=30, tile=128, roi=[Region(140, 20, 30, 30)], roi_quality=80)()


def tiles() -> bytes:
    return encoded(drawn(300, 200), quality=55, tile=128)()


def chunk_at(data: bytes, number: int) -> container.Chunk:
    return container.describe(data).chunks[number]


def without(data: bytes, *types: str, skip: int = 0) -> bytes:
    """A file in which a byte of a chunk of each type is changed; skip: how many of it stay as they are."""
    out = bytearray(data)
    for type in types:
        chunk = [c for c in container.describe(data).chunks if c.type == type][skip]
        out[chunk.offset + chunk.size - 5] ^= 255
    return bytes(out)


def cut(data: bytes, type: str) -> bytes:
    """A file that ends within the first chunk of a type."""
    chunk = next(c for c in container.describe(data).chunks if c.type == type)
    return data[: chunk.offset + chunk.size // 2]


def flat(width: int, height: int) -> Picture:
    return Picture(np.full((height, width, 3), (30, 120, 200), np.uint8))


INTEGERS = {config.name for config in registry.available() if config.integers}  # MODELS of build.mjs
SMALL = encoded(drawn(70, 50), quality=50)
REDUCED = [{"reduce": k} for k in range(5)]
SALVAGE = [{"salvage": True}]

CASES: dict[str, Case] = {
    "one-pixel": Case(encoded(drawn(1, 1), quality=50), REDUCED),
    "odd": Case(encoded(drawn(33, 17), quality=50), REDUCED),
    "one-row": Case(encoded(drawn(131, 1), quality=30), [{}, {"reduce": 3}]),
    "coarsest": Case(encoded(drawn(100, 60), quality=1)),
    "finest": Case(encoded(drawn(60, 100), quality=100)),
    "flat": Case(encoded(flat(96, 64), quality=50)),
    "photo": Case(encoded(photo("chelsea.png", (60, 20, 250, 160)), quality=60, effort=3), REDUCED),
    "photo-high": Case(encoded(photo("coffee.png", (180, 120, 308, 216)), quality=90, effort=2)),
    "ssimulacra2": Case(encoded(photo("chelsea.png", (60, 20, 250, 160)), "swin-ssimulacra2", quality=40), REDUCED),
    "ssimulacra2-2": Case(encoded(photo("coffee.png", (60, 40, 200, 150)), "swin-ssimulacra2-2", quality=55)),
    "ssimulacra2-3": Case(encoded(photo("coffee.png", (60, 40, 200, 150)), "swin-ssimulacra2-3", quality=55)),
    "ms-ssim-3": Case(encoded(photo("chelsea.png", (120, 60, 248, 156)), "swin-ms-ssim-3", quality=40)),
    "ms-ssim": Case(encoded(photo("coffee.png", (100, 20, 228, 116)), "swin-ms-ssim-2", quality=70)),
    "gray": Case(encoded(gray(70, 50), quality=40), [{}, {"reduce": 1}]),
    "gray-alpha": Case(encoded(gray(45, 61, alpha=True), quality=40), REDUCED),
    "alpha": Case(
        encoded(drawn(90, 60, alpha=soft_alpha(90, 60)), quality=35), [*REDUCED, {"region": [20, 11, 37, 25]}]
    ),
    "tiles": Case(tiles, [{}, {"reduce": 2}, {"region": [100, 90, 60, 77]}, {"region": [3, 5, 9, 8], "reduce": 1}]),
    "own-qualities": Case(own_qualities, [{}, {"reduce": 1}]),
    "wide": Case(  # more than a block of the synthesis' middle
        encoded(drawn(1360, 64), quality=25), [{}, {"region": [1000, 0, 50, 64]}, {"region": [1300, 10, 500, 20]}]
    ),
    "tall": Case(encoded(drawn(40, 1180), quality=20), [{}, {"region": [0, 900, 40, 200], "reduce": 2}]),
    "profile": Case(with_profile, [{}, {"reduce": 4}]),
    "extreme": Case(extreme, [{}, {"reduce": 2}]),
    "noise": Case(noisy),
    "masked": Case(masked, [{}, {"reduce": 1}, {"region": [40, 20, 30, 30]}]),
    "lossless-drawing": Case(lambda: lossless(screenshot(211, 130)), [{}, {"reduce": 2}, {"region": [50, 40, 70, 33]}]),
    "lossless-tiles": Case(lambda: lossless(gradient(300, 170), 128), [*REDUCED, {"region": [100, 100, 90, 60]}]),
    "lossless-alpha": Case(
        lambda: lossless(replace(gradient(77, 60), alpha=soft_alpha(77, 60))), [*REDUCED, {"region": [9, 30, 41, 20]}]
    ),
    "lossless-gray": Case(lambda: lossless(gray(50, 40)), [{}, {"reduce": 1}]),
    "lossless-photo": Case(lambda: lossless(photo("chelsea.png", (100, 60, 164, 108)))),
    "cut-level-1": Case(lambda: cut(SMALL(), "TOKA"), [{}, {"reduce": 1}, *SALVAGE]),
    "cut-level-3": Case(lambda: cut(SMALL(), "TOKC"), [{}, {"reduce": 3}, *SALVAGE]),
    "damaged-low-band": Case(
        lambda: without(tiles(), "TOKL", "TOKB", skip=1), [{}, *SALVAGE, {"salvage": True, "reduce": 2}]
    ),
    "damaged-index": Case(lambda: without(tiles(), "INDX"), [{}, *SALVAGE]),
    "damaged-lossless": Case(lambda: without(lossless(gradient(300, 170), 128), "PIXL", skip=2), [{}, *SALVAGE]),
    "nothing-left": Case(lambda: without(SMALL(), "TOKL"), [{}, *SALVAGE]),
    "trailing": Case(lambda: SMALL() + b"x", [{}, *SALVAGE]),
    "wrong-token-data": Case(lambda: other_payload(SMALL())),
    "not-vitc": Case(lambda: b"\x89PNG\r\n\x1a\n" + bytes(100)),
    "text-mode": Case(lambda: SMALL().replace(b"\r\n", b"\n")),
    "empty": Case(lambda: b""),
    "version-2": Case(lambda: SMALL()[:8] + b"\2" + SMALL()[9:]),
    "unknown-chunk": Case(lambda: with_chunk(SMALL(), "ZZZZ"), [{}, *SALVAGE]),
    "ancillary-chunk": Case(lambda: with_chunk(SMALL(), "zZZZ")),
    "reserved-flag": Case(lambda: with_flags(SMALL(), 64)),
    # where the model has no enhancement yet, files that name it are refused
    "enhanced": Case(
        lambda: with_enhancement(encoded(photo("chelsea.png", (60, 20, 250, 160)), quality=30)(), 1),
        [*REDUCED, {"region": [33, 18, 71, 64]}],
    ),
    "enhanced-odd": Case(lambda: with_enhancement(encoded(drawn(33, 17), quality=50)(), 1)),
    "enhanced-one-pixel": Case(lambda: with_enhancement(encoded(drawn(1, 1), quality=50)(), 1)),
    "enhanced-gray": Case(lambda: with_enhancement(encoded(gray(70, 50), quality=40)(), 1), [{}, {"reduce": 1}]),
    "enhanced-tiles": Case(
        lambda: with_enhancement(tiles(), 1), [{}, {"region": [100, 90, 60, 77]}, {"region": [128, 112, 32, 32]}]
    ),
    "enhanced-qualities": Case(
        lambda: with_enhancement(own_qualities(), 1), [{}, {"region": [112, 10, 90, 120]}, *SALVAGE]
    ),
    "enhanced-high": Case(
        lambda: with_enhancement(encoded(photo("coffee.png", (180, 120, 308, 216)), quality=95)(), 1)
    ),
    "enhanced-extreme": Case(lambda: with_enhancement(extreme(), 1)),
    "enhanced-wide": Case(  # more than a block
        lambda: with_enhancement(encoded(drawn(1360, 64), quality=25)(), 1), [{}, {"region": [1000, 0, 50, 64]}]
    ),
    "enhanced-tall": Case(
        lambda: with_enhancement(encoded(drawn(40, 1180), quality=20)(), 1), [{}, {"region": [0, 850, 40, 200]}]
    ),
    "not-enhanced": Case(
        lambda: with_enhancement(own_qualities(), 0), [{}, {"region": [112, 10, 90, 120]}, {"reduce": 2}]
    ),
    "golden": Case(lambda: (ROOT / "tests/data/golden/tiles.vitc").read_bytes()),  # of before there were any
    "unknown-enhancement": Case(lambda: with_enhancement(SMALL(), 7), [{}, {"reduce": 1}, *SALVAGE]),
    "enhanced-lossless": Case(lambda: with_enhancement(lossless(screenshot(40, 30)), 1)),
    "too-large": Case(lambda: claim(SMALL(), 60000, 60000)),
    "other-weights": Case(lambda: other_weights(SMALL())),
    "floating-point": Case(lambda: (ROOT / "tests/data/golden/cnn.vitc").read_bytes()),
}


def with_chunk(data: bytes, type: str) -> bytes:
    end = chunk_at(data, 0).offset + chunk_at(data, 0).size
    return data[:end] + pack_chunk(type, b"abc") + data[end:]


def with_head(data: bytes, change: Callable[[bytes], bytes]) -> bytes:
    head = chunk_at(data, 0)
    payload = data[head.offset + 5 : head.offset + 5 + head.length]
    return data[: head.offset] + pack_chunk("HEAD", change(payload)) + data[head.offset + head.size :]


def with_flags(data: bytes, flags: int) -> bytes:
    return with_head(data, lambda head: head[:3] + bytes([head[3] | flags]) + head[4:])


def with_enhancement(data: bytes, number: int) -> bytes:
    """A file that says that its pixels are made with an enhancement of its model; 0: with none."""
    header = container.read_header(data)
    at = len(varint(header.width) + varint(header.height)) + 1  # the flags are behind the quality

    def change(head: bytes) -> bytes:
        return head[:at] + bytes([head[at] & ~(7 << 3) | number << 3]) + head[at + 1 :]

    return with_head(data, change)


def claim(data: bytes, width: int, height: int) -> bytes:
    return with_head(data, lambda head: varint(width) + varint(height) + head[2:])


def other_weights(data: bytes) -> bytes:
    return with_head(data, lambda head: head[:-8] + bytes(8))


def other_payload(data: bytes) -> bytes:
    """Right checksums, and a payload that no encoder wrote."""
    contents = container.unpack(data)
    payloads = contents.payloads | {(1, 0): bytes(range(200))}
    return container.pack(Contents(contents.header, contents.metadata, payloads))


def decoded(data: bytes, way: Way) -> Picture:
    header = container.read_header(data)
    own = header.model if header.model in INTEGERS else "swin"  # refuses files of others, as a browser does
    codec = LosslessCodec() if header.lossless else codec_of(own)
    region = Region(*way["region"]) if "region" in way else None
    options = {"reduce": way.get("reduce", 0), "region": region}
    if way.get("salvage"):
        return codec.decode(vitcodec.salvage(data, options["reduce"] + 1).contents, **options)
    return codec.decode(data, **options)


def expected(data: bytes, way: Way) -> dict[str, Any]:
    """What decoding gives: the size and the hash of the pixels, or the class of the error."""
    try:
        rgba = pixels(decoded(data, way))
    except VitcodecError as error:
        return way | {"error": type(error).__mro__[0].__name__.replace("Truncated", "FormatError")}
    return way | {"width": rgba.shape[1], "height": rgba.shape[0], "sha256": hashlib.sha256(rgba.tobytes()).hexdigest()}


def pixels(picture: Picture) -> np.ndarray:
    alpha = np.full(picture.rgb.shape[:2], 255, np.uint8) if picture.alpha is None else picture.alpha
    return np.ascontiguousarray(np.concatenate((picture.rgb, alpha[..., None]), -1))


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    found = {}
    for name, case in CASES.items():
        data = case.make()
        (FOLDER / f"{name}.vitc").write_bytes(data)
        found[name] = [expected(data, way) for way in case.ways]
        print(name, len(data), [way.get("error", "pixels") for way in found[name]], flush=True)
    (FOLDER / "cases.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
