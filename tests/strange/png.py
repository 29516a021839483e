"""PNG files of every colour type and depth, written chunk by chunk."""

from __future__ import annotations

import struct
import zlib
from random import Random

import numpy as np

from .metadata import (
    DPI,
    EXIF,
    HDR,
    ICC,
    IPTC,
    TEXT,
    XMP,
    Block,
    exif_block,
    iptc_bytes,
    linear,
    profile_block,
    text_bytes,
    xmp_block,
)
from .pictures import UNKNOWN, Array, Strange, as_rgb, packed, samples_of, scaled


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


ADAM7 = ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1))
PNG_TYPES = {0: (1, (1, 2, 4, 8, 16)), 2: (3, (8, 16)), 3: (1, (1, 2, 4, 8)), 4: (2, (8, 16)), 6: (4, (8, 16))}


def png_image_data(samples: Array, depth: int, interlaced: bool) -> bytes:
    passes = [samples[y::dy, x::dx] for y, x, dy, dx in ADAM7] if interlaced else [samples]
    rows = (row for part in passes if part.size for row in packed(part, depth))
    return zlib.compress(b"".join(b"\0" + row for row in rows))


def png(rng: Random) -> Strange:
    kind = rng.choice([*PNG_TYPES])
    channels, depths = PNG_TYPES[kind]
    depth, interlaced = rng.choice(depths), rng.randrange(4) == 0
    most = (1 << depth) - 1
    samples = samples_of(rng, channels, most)
    out = Strange(f"PNG type {kind}, {depth} bits{', interlaced' if interlaced else ''}", b"", tolerance=depth == 16)
    out.says = "16-bit" if depth == 16 else ""
    before, middle = b"", b""
    if kind == 3:
        colours = np.random.default_rng(rng.getrandbits(64)).integers(0, 256, (rng.randrange(1, most + 2), 3), np.uint8)
        samples %= len(colours)
        middle = chunk(b"PLTE", colours.tobytes())
        out.rgb = colours[samples[..., 0]]
    else:
        values = scaled(samples, most)
        out.rgb = as_rgb(values[..., 0]) if kind in (0, 4) else values[..., :3]
        out.alpha = values[..., -1] if kind in (4, 6) else None
    if kind < 4 and rng.randrange(2):
        middle += _transparent(rng, out, samples, kind, most)
    exact = out.rgb.astype(float) if kind == 3 else samples[..., :3] * (255 / most) if kind in (2, 6) else None
    exact = samples[..., [0, 0, 0]] * (255 / most) if exact is None else exact
    colour = _png_colour(rng, out, exact) if rng.randrange(3) == 0 else b""
    extras = [_png_extra(rng, out) for _ in range(rng.choice([0, 1, 1, 2, 3]))]
    early = b"".join(extras[::2])
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", *samples.shape[1::-1], depth, kind, 0, 0, interlaced))
    body = chunk(b"IDAT", png_image_data(samples, depth, interlaced))
    out.data = b"\x89PNG\r\n\x1a\n" + head + colour + early + before + middle + body + b"".join(extras[1::2])
    out.data += chunk(b"IEND", b"")
    return out


def _transparent(rng: Random, out: Strange, samples: Array, kind: int, most: int) -> bytes:
    """A tRNS chunk, of the right length or of another."""
    assert out.rgb is not None
    if rng.randrange(6) == 0:
        out.name += ", tRNS of a wrong length"
        out.alpha, out.may_refuse = UNKNOWN, True
        return chunk(b"tRNS", rng.randbytes(rng.choice([0, 1, 3, 5, 300])))
    out.name += ", tRNS"
    if kind == 3:
        entries = np.frombuffer(rng.randbytes(rng.randrange(1, int(samples.max()) + 2)), np.uint8)
        whole = np.concatenate([entries, np.full(256, 255, np.uint8)])
        out.alpha = whole[samples[..., 0]]
        return chunk(b"tRNS", entries.tobytes())
    value = samples[0, 0] if rng.randrange(4) else np.array([rng.randrange(most + 1) for _ in samples[0, 0]])
    out.alpha = np.where((samples == value).all(-1), 0, 255).astype(np.uint8)
    return chunk(b"tRNS", value.astype(">u2").tobytes())


P3 = np.array([[0.4865709, 0.2656677, 0.1982173], [0.2289746, 0.6917385, 0.0792869], [0, 0.0451134, 1.0439444]])
SRGB = np.array(
    [[0.4123908, 0.3575843, 0.1804808], [0.212639, 0.7151687, 0.0721923], [0.0193308, 0.1191948, 0.9505322]]
)


def in_srgb(rgb: Array, gamma: float | None, matrix: Array = SRGB) -> Array:
    """What is seen of values with a plain gamma (None: sRGB's curve) and linear RGB to XYZ by a matrix."""
    x = rgb / 255
    light = x**gamma if gamma else np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    light = np.clip(light @ (np.linalg.inv(SRGB) @ matrix).T, 0, 1)
    encoded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded).astype(np.uint8)


def _png_colour(rng: Random, out: Strange, exact: Array) -> bytes:
    """Colour said by gAMA, cHRM, sRGB, cICP or iCCP. exact: the values, 0..255, before they are rounded."""
    assert out.rgb is not None
    p3 = struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)
    usual = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    name = rng.choice(
        ["gAMA", "gAMA", "gAMA of sRGB", "gAMA odd", "cHRM", "cHRM odd", "sRGB", "cICP", "cICP odd", "iCCP", "linear"]
    )
    if out.alpha is UNKNOWN and name != "iCCP":  # too much at once
        return b""
    out.name += f", {name}"
    match name:
        case "gAMA":
            gamma = rng.choice([100000, 55556, 71429])
            out.rgb, out.seen, out.tolerance = in_srgb(exact, 100000 / gamma), True, 3
            return chunk(b"gAMA", struct.pack(">I", gamma))
        case "gAMA of sRGB":  # so near to sRGB's curve that most readers leave it
            out.seen, out.tolerance = True, 8
            return chunk(b"gAMA", struct.pack(">I", rng.choice([45455, 45454, 45000]))) + chunk(b"cHRM", usual)
        case "gAMA odd":
            out.tolerance = 255 if rng.randrange(2) else out.tolerance
            values = [0, 1, 0xFFFFFFFF, 0x7FFFFFFF] if out.tolerance == 255 else [0]
            return chunk(b"gAMA", struct.pack(">I", rng.choice(values)))
        case "cHRM":
            gamma = chunk(b"gAMA", struct.pack(">I", 45455))
            # too colourful for sRGB is cut off there, which is not what is tested here
            out.rgb, out.seen, out.tolerance = None, True, 4
            return gamma + chunk(b"cHRM", p3)
        case "cHRM odd":
            return chunk(b"cHRM", rng.choice([bytes(32), b"\xff" * 32, p3[:31], b"", usual]))
        case "sRGB":
            wrong = chunk(b"gAMA", struct.pack(">I", 45455))
            return chunk(b"sRGB", bytes([rng.choice([0, 1, 3, 9, 255])])) + wrong
        case "cICP":
            code, hdr = rng.choice([((1, 13, 0, 1), False), ((9, 16, 0, 1), True), ((9, 18, 0, 1), True)])
            if hdr:
                out.blocks.append(Block(HDR, "cICP", b""))
                out.rgb = None
            return chunk(b"cICP", bytes(code))
        case "cICP odd":
            out.rgb = None
            return chunk(b"cICP", rng.choice([b"", b"\1", b"\xff" * 4, bytes([1, 13, 5, 0]), bytes(40)]))
    block = profile_block(rng)
    if name == "linear":  # may be kept or converted
        block = Block(ICC, "linear", linear(), claimed=False)
        out.rgb, out.seen, out.tolerance = in_srgb(exact, 1.0), True, 3
    data = zlib.compress(block.data)
    if name == "iCCP" and rng.randrange(5) == 0:
        block, data = Block(ICC, "not deflated", b""), data[:10]
    out.blocks.append(block)
    out.name += f" {block.name}"
    return chunk(b"iCCP", rng.choice([b"name", b"", b"n" * 79]) + b"\0\0" + data)


LONG_TEXT = zlib.compress(bytes(1_200_000))


def _raw_profile(kind: bytes, data: bytes) -> bytes:
    text = data.hex()
    lines = "\n".join(text[i : i + 72] for i in range(0, len(text), 72))
    return b"Raw profile type %s\0\0" % kind + zlib.compress(f"\n{kind.decode()}\n{len(data):8}\n{lines}\n".encode())


def _png_extra(rng: Random, out: Strange) -> bytes:
    """A chunk beside those of the picture, with its block."""
    name = rng.choice(
        ["eXIf", "eXIf", "eXIf", "XMP", "tEXt", "zTXt", "iTXt", "long", "raw exif", "raw other", "pHYs", "rest", "acTL"]
    )
    if name in ("eXIf", "XMP", "raw exif") and any(b.key in (EXIF, XMP) for b in out.blocks):
        name = "rest"  # which of two blocks is read is another question
    match name:
        case "eXIf":
            block = exif_block(rng)
            data = chunk(b"eXIf", block.data)
        case "XMP":
            block = xmp_block(rng)
            packed = rng.randrange(2)
            text = zlib.compress(block.data) if packed else block.data
            data = chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes([packed, 0]) + b"\0\0" + text)
        case "tEXt":
            block = Block(TEXT, "tEXt", b"")
            data = chunk(b"tEXt", rng.choice([b"Comment\0", b"Author\0"]) + text_bytes(rng).replace(b"\0", b""))
        case "zTXt":
            block = Block(TEXT, "zTXt", b"")
            broken = rng.randrange(2)
            text = rng.randbytes(20) if broken else zlib.compress(text_bytes(rng))
            data = chunk(b"zTXt", b"Comment\0" + bytes([rng.choice([0, 0, 0, 7])]) + text)
        case "iTXt":
            block = Block(TEXT, "iTXt", b"")
            rest = rng.choice(
                [b"\0\0\0\0" + text_bytes(rng), b"\1\0\0\0" + rng.randbytes(9), b"\0", b"\7\7no end", b""]
            )
            data = chunk(b"iTXt", b"Comment\0" + rest)
        case "long":
            block = Block(TEXT, "1.2 MB of text", b"")
            data = chunk(b"zTXt", b"workflow\0\0" + LONG_TEXT)
        case "raw exif":
            block = exif_block(rng)
            if rng.randrange(2):
                data = chunk(b"zTXt", _raw_profile(b"exif", b"Exif\0\0" + block.data))
            else:
                block = Block(EXIF, "raw profile, broken", b"")
                text = rng.choice([b"\nexif\n      10\n45786966zz\n", b"", b"\nexif\n", b"\nexif\nxx\n00", b"\xff\xfe"])
                data = chunk(b"tEXt", b"Raw profile type exif\0" + text)
        case "raw other":
            kind = rng.choice([b"iptc", b"8bim", b"xmp", b"icc", b"x" * 60])
            block = Block(IPTC, f"raw profile {kind[:4].decode()}", b"", claimed=kind in (b"iptc", b"8bim"))
            text = rng.choice([iptc_bytes(rng), rng.randbytes(30), b""])
            data = chunk(b"zTXt", _raw_profile(kind, text))
        case "pHYs":
            values, claimed = rng.choice([((11811, 11811, 1), True), ((2835, 5669, 1), True), ((1, 2, 0), False)])
            odd = rng.choice([None, b"", bytes(9), b"\xff" * 9, bytes(8) + b"\1"])
            block = Block(DPI, "pHYs", b"", claimed=claimed and odd is None)
            data = chunk(b"pHYs", struct.pack(">IIB", *values) if odd is None else odd)
        case "acTL":
            block = Block(TEXT, "acTL", b"", claimed=False)
            frames = rng.choice([b"", bytes(8), struct.pack(">II", 0x7FFFFFFF, 1), struct.pack(">II", 3, 0)])
            data = chunk(b"acTL", frames)
        case _:
            kind = rng.choice([b"tIME", b"sBIT", b"bKGD", b"hIST", b"vpAg", b"iDOT", b"caBX", b"sPLT", b"oFFs"])
            block = Block(TEXT, kind.decode(), b"", claimed=False)
            data = chunk(kind, rng.randbytes(rng.choice([0, 1, 4, 7, 60])))
    out.blocks.append(block)
    out.name += f", {name} {block.name}"
    return data
