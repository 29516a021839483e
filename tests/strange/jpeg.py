"""JPEG files with segments of every kind put in."""

from __future__ import annotations

import struct
from random import Random

import numpy as np
from PIL import Image

from .metadata import (
    DPI,
    EXIF,
    ICC,
    IPTC,
    TEXT,
    XMP,
    Block,
    exif_block,
    iptc_bytes,
    profile_block,
    srgb,
    text_bytes,
    wide,
    xmp_block,
)
from .pictures import Strange, samples_of, stored, values


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def jpeg(rng: Random) -> Strange:
    mode = rng.choice(["RGB", "RGB", "L", "CMYK"])
    samples = samples_of(rng, {"RGB": 3, "L": 1, "CMYK": 4}[mode], 255).astype(np.uint8)
    image = Image.frombytes(mode, samples.shape[1::-1], samples.tobytes())
    options = {"quality": rng.choice([30, 75, 95]), "progressive": bool(rng.randrange(2))}
    plain = stored(image, "JPEG", **options, subsampling=rng.randrange(3) if mode == "RGB" else -1)
    out = Strange(f"JPEG {mode}", b"", values(plain), says="CMYK" if mode == "CMYK" else "")
    extras = b"".join(_jpeg_extra(rng, out, mode) for _ in range(rng.choice([0, 1, 1, 2, 3])))
    at = 2 if rng.randrange(2) else 2 + 2 + int.from_bytes(plain[4:6], "big")  # before the first segment or after it
    out.data = plain[:at] + extras + plain[at:] + rng.choice([b"", b"", b"", b"\0" * 9, rng.randbytes(50), plain])
    return out


def _jpeg_extra(rng: Random, out: Strange, mode: str) -> bytes:
    name = rng.choice(["EXIF", "EXIF", "EXIF", "XMP", "ICC", "COM", "IPTC", "MPF", "extended XMP", "rest", "density"])
    if any(name in (b.key, "EXIF", "XMP") and b.key in (EXIF, XMP, ICC) for b in out.blocks):
        name = "rest"
    match name:
        case "EXIF":
            block = exif_block(rng)
            data = segment(0xE1, b"Exif\0\0" + block.data)
        case "XMP":
            block = xmp_block(rng)
            data = segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + block.data)
        case "ICC":
            block, data = _jpeg_profile(rng, mode)
        case "COM":
            block = Block(TEXT, "COM", b"")
            data = segment(0xFE, text_bytes(rng))
        case "IPTC":
            block = Block(IPTC, "Photoshop 3.0", b"")
            data = segment(0xED, b"Photoshop 3.0\0" + iptc_bytes(rng))
        case "MPF":
            block = Block(TEXT, "MPF", b"", claimed=False)
            data = segment(0xE2, b"MPF\0" + rng.choice([rng.randbytes(40), exif_block(rng).data]))
        case "extended XMP":
            block = Block(TEXT, "extended XMP", b"", claimed=False)
            data = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + rng.randbytes(60))
        case "density":
            block = Block(DPI, "odd JFIF", b"", claimed=False)
            unit, x, y = rng.choice([(0, 1, 1), (1, 0, 0), (1, 72, 65535), (2, 118, 118), (9, 300, 300)])
            data = segment(0xE0, b"JFIF\0\1\1" + struct.pack(">BHHBB", unit, x, y, 0, 0))
        case _:
            block = Block(TEXT, "rest", b"", claimed=False)
            marker = rng.choice([0xE0, 0xE1, 0xE2, 0xE3, 0xE5, 0xEB, 0xEF])
            head = rng.choice(
                [b"", b"JFXX\0\x10", b"Exif\0", b"ICC_PROFILE\0", b"FPXR\0", b"JP", b"http://ns.adobe.com/xap/"]
            )
            data = segment(marker, head + rng.randbytes(rng.choice([0, 1, 30])))
            if head == b"ICC_PROFILE\0":
                block = Block(ICC, "a part of a profile", b"", claimed=False)
    out.blocks.append(block)
    out.name += f", {name} {block.name}"
    return data


def _jpeg_profile(rng: Random, mode: str) -> tuple[Block, bytes]:
    """A profile in one to three parts, or with parts that do not fit together."""
    if rng.randrange(2):
        block = profile_block(rng)
        count = rng.randrange(1, 4)
        size = -(-len(block.data) // count)
        parts = [(i + 1, count, block.data[i * size : (i + 1) * size]) for i in range(count)]
        rng.shuffle(parts)
        block = Block(ICC, f"{block.name}, {count} parts", block.data)
    else:
        block = Block(ICC, "parts that do not fit", b"")
        third = len(srgb()) // 3
        parts = rng.choice(
            [
                [(1, 2, srgb()[:third])],
                [(0, 0, srgb())],
                [(1, 1, b"")],
                [(2, 1, srgb())],
                [(1, 1, srgb()), (1, 1, wide())],
            ]
        )
    return block, b"".join(segment(0xE2, b"ICC_PROFILE\0" + bytes([i, n]) + data) for i, n, data in parts)
