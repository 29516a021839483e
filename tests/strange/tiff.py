"""TIFF files of many depths and layouts in both byte orders, written tag by tag."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from random import Random

import numpy as np

from .metadata import DPI, EXIF, IPTC, TEXT, Block, exif_block, iptc_bytes, profile_block, xmp_block
from .pictures import UNKNOWN, Array, Strange, as_rgb, packed, samples_of, scaled

Tag = tuple[int, int, int, bytes]  # number, type, count, value
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, PALETTE, SEPARATED, LAB = 0, 1, 2, 3, 5, 8
# photometric, samples, bits
LAYOUTS = (
    *((WHITE_IS_ZERO, 1, n) for n in (1, 2, 4, 8, 16)),
    *((BLACK_IS_ZERO, 1, n) for n in (1, 2, 4, 8, 12, 12, 16)),
    *((RGB, n, 8) for n in (3, 3, 4)),
    *((RGB, n, 16) for n in (3, 4)),
    *((BLACK_IS_ZERO, 2, 8), (BLACK_IS_ZERO, 2, 16), (PALETTE, 1, 4), (PALETTE, 1, 8), (SEPARATED, 4, 8)),
)
# what Pillow may not know: SampleFormat and bits of one channel
UNUSUAL = ((1, 32), (2, 8), (2, 16), (2, 32), (3, 32), (3, 64))


def tiff_file(order: str, tags: list[Tag], strips: list[bytes], sort: bool = True, tiled: bool = False) -> bytes:
    """Header, strips, values that are too long for their entry, directory."""
    out = bytearray((b"II*\0" if order == "<" else b"MM\0*") + bytes(4))
    places = []
    for strip in strips:
        places.append(len(out))
        out += strip + bytes(len(strip) % 2)
    at, size = (324, 325) if tiled else (273, 279)
    tags = [*tags, numbers(order, at, LONG, *places), numbers(order, size, LONG, *map(len, strips))]
    entries = b""
    for number, kind, count, value in sorted(tags, key=lambda t: t[0]) if sort else tags:
        if len(value) > 4:
            at = len(out)
            out += value + bytes(len(value) % 2)
            value = struct.pack(order + "I", at)
        entries += struct.pack(order + "HHI", number, kind, count) + value.ljust(4, b"\0")
    struct.pack_into(order + "I", out, 4, len(out))
    return bytes(out) + struct.pack(order + "H", len(tags)) + entries + bytes(4)


def numbers(order: str, number: int, kind: int, *values: int) -> Tag:
    code = {BYTE: "B", SHORT: "H", LONG: "I", RATIONAL: "I"}[kind]
    return (
        number,
        kind,
        len(values) // (2 if kind == RATIONAL else 1),
        struct.pack(f"{order}{len(values)}{code}", *values),
    )


def blob(number: int, data: bytes, kind: int = UNDEFINED) -> Tag:
    return number, kind, len(data), data


def tiff(rng: Random) -> Strange:
    if rng.randrange(12) == 0:
        return _unusual(rng)
    order, (photometric, channels, bits) = rng.choice("<>"), rng.choice(LAYOUTS)
    samples = samples_of(rng, channels, (1 << bits) - 1)
    out = Strange(f"TIFF {order} photometric {photometric}, {channels}x{bits} bits", b"", tolerance=bits > 8)
    out.says = "CMYK" if photometric == SEPARATED else f"{bits}-bit" if bits > 8 else ""
    tags = _picture(rng, out, samples, photometric, bits, order)
    planar = channels > 1 and bits in (8, 16) and rng.randrange(4) == 0
    planes = [samples[..., i : i + 1] for i in range(channels)] if planar else [samples]
    tags += [numbers(order, 284, SHORT, 2)] if planar else []
    rows = rng.choice([1, 3, len(samples)])
    strips = [b"".join(packed(p[i : i + rows], bits, order)) for p in planes for i in range(0, len(p), rows)]
    tiled = bits in (8, 16) and rng.randrange(8) == 0
    strips = [b"".join(packed(t, bits, order)) for p in planes for t in _tiles(p)] if tiled else strips
    deflated = rng.randrange(3) == 0
    strips = [zlib.compress(s) for s in strips] if deflated else strips
    out.name += (
        f"{', planes' if planar else ''}{', deflated' if deflated else ''}, {'tiles' if tiled else f'strips of {rows}'}"
    )
    tags += _structure(samples, bits, photometric, rows, order, 8 if deflated else 1)
    for _ in range(rng.choice([0, 1, 1, 2])):
        tags += _extra(rng, out, order, {t[0] for t in tags})
    unsorted = rng.randrange(8) == 0
    out.name += ", tags in no order" if unsorted else ""
    if unsorted:
        rng.shuffle(tags)
    if tiled:
        tags = [t for t in tags if t[0] != 278] + [numbers(order, n, SHORT, 16) for n in (322, 323)]
    out.data = tiff_file(order, tags, strips, not unsorted, tiled)
    return out


def _tiles(samples: Array) -> list[Array]:
    """Parts of 16x16 pixels, row by row; those at the edges are filled with zeros."""
    height, width, _ = samples.shape
    whole = np.pad(samples, ((0, -height % 16), (0, -width % 16), (0, 0)))
    return [whole[y : y + 16, x : x + 16] for y in range(0, height, 16) for x in range(0, width, 16)]


def _structure(samples: Array, bits: int, photometric: int, rows: int, order: str, compression: int = 1) -> list[Tag]:
    height, width, channels = samples.shape
    return [
        numbers(order, 256, SHORT, width),
        numbers(order, 257, SHORT, height),
        numbers(order, 258, SHORT, *[bits] * channels),
        numbers(order, 259, SHORT, compression),
        numbers(order, 262, SHORT, photometric),
        numbers(order, 277, SHORT, channels),
        numbers(order, 278, SHORT, rows),
    ]


def _picture(rng: Random, out: Strange, samples: Array, photometric: int, bits: int, order: str) -> list[Tag]:
    """Sets what is to be seen, and returns the tags that say it."""
    most, channels = (1 << bits) - 1, samples.shape[-1]
    values = scaled(samples, most)
    if photometric == PALETTE:
        colours = np.random.default_rng(rng.getrandbits(64)).integers(0, 256, (3, most + 1)) * 257
        out.rgb = (colours.T // 257).astype(np.uint8)[samples[..., 0]]
        return [numbers(order, 320, SHORT, *colours.ravel().tolist())]
    if photometric == SEPARATED:
        ink, black = values[..., :3].astype(int), values[..., 3:].astype(int)
        # with a simple formula, of which there are two; profiles are for others
        out.rgb, out.tolerance = ((255 - ink) * (255 - black) / 255).astype(np.uint8), 64
        return []
    if photometric in (WHITE_IS_ZERO, BLACK_IS_ZERO):
        out.rgb = as_rgb(255 - values[..., 0] if photometric == WHITE_IS_ZERO else values[..., 0])
    else:
        out.rgb = values[..., :3]
    if channels not in (2, 4):
        return []
    extra = rng.choice([0, 1, 2, 2])
    out.name += f", extra sample {extra}"
    out.alpha = UNKNOWN if extra == 0 else values[..., -1]
    if extra == 1:  # premultiplied: all or nothing, so that 8 bits are exact
        hard = np.where(samples[..., -1:] > most // 2, most, 0)
        samples[..., -1:], samples[..., :-1] = hard, np.where(hard, samples[..., :-1], 0)
        out.alpha = scaled(hard[..., 0], most)
    return [numbers(order, 338, SHORT, extra)]


def _unusual(rng: Random) -> Strange:
    """Depths that may be refused, but never come back as another picture."""
    order, (sample_format, bits) = rng.choice("<>"), rng.choice(UNUSUAL)
    samples = samples_of(rng, 1, 100)
    out = Strange(f"TIFF {order} sample format {sample_format} of {bits} bits", b"", may_refuse=True)
    code = f"{order}{'uif'[sample_format - 1]}{bits // 8}"
    strip = (samples / 100 if sample_format == 3 else samples).astype(code).tobytes()
    tags = [*_structure(samples, bits, 1, len(samples), order), numbers(order, 339, SHORT, sample_format)]
    out.data = tiff_file(order, tags, [strip])
    return out


def _extra(rng: Random, out: Strange, order: str, used: set[int]) -> list[Tag]:
    name = rng.choice(
        [
            "turned",
            "Artist",
            "XMP",
            "ICC",
            "IPTC",
            "8BIM",
            "EXIF",
            "GPS",
            "private",
            "huge",
            "type",
            "resolution",
            "text",
        ]
    )
    odd = rng.choice([0, 1, 7, 8, 1 << 20, 0x7FFFFFFF, 0xFFFFFFFF])
    block, tags = Block(TEXT, name, b"", claimed=False), []
    match name:
        case "turned":
            turn = rng.choice([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 65535])
            block = Block(EXIF, f"turned {turn}", b"", turn if 1 <= turn <= 8 else 1, claimed=False)
            tags = [numbers(order, 274, SHORT, turn)]
        case "Artist":
            text = rng.choice(["Müller".encode(), "Müller".encode("latin-1"), b"", b"\xff\xfe\0a"]) + b"\0"
            block = Block(EXIF, "Artist", text.rstrip(b"\0"), claimed=len(text) > 1)
            tags = [blob(315, text, ASCII)]
        case "XMP":
            block = xmp_block(rng)
            # TIFF has a tag of its own that turns a picture; whether XMP counts where it is absent is in doubt
            block = replace(block, orientation=1 if block.orientation == 1 else None)
            tags = [blob(700, block.data, rng.choice([BYTE, UNDEFINED]))]
        case "ICC" if out.says != "CMYK":
            block = profile_block(rng)
            tags = [blob(34675, block.data)]
        case "IPTC" | "8BIM":
            block = Block(IPTC, name, iptc_bytes(rng))
            tags = [blob(33723 if name == "IPTC" else 34377, block.data, rng.choice([BYTE, UNDEFINED]))]
        case "EXIF" | "GPS":
            block = Block(EXIF, f"{name} at {odd}", b"", claimed=False)
            tags = [numbers(order, 34665 if name == "EXIF" else 34853, LONG, odd)]
        case "private":
            block = Block(EXIF, name, b"")
            data = exif_block(rng).data
            tags = [blob(rng.randrange(50000, 65000), data or b"x", rng.choice([BYTE, UNDEFINED]))]
        case "huge":
            tags = [
                (rng.choice([270, 306, 700, 33432, 65000]), rng.choice([1, 2, 7, 12]), odd, struct.pack(order + "I", 8))
            ]
        case "type":
            tags = [(rng.choice([270, 65000]), rng.choice([0, 13, 14, 16, 255, 65535]), 1, bytes(4))]
        case "resolution":
            ratio, claimed = rng.choice([((300, 1), True), ((0, 0), False), ((0xFFFFFFFF, 1), False)])
            unit = rng.choice([0, 1, 2, 3, 9])
            block = Block(DPI, f"{ratio} unit {unit}", b"", claimed=claimed and unit in (2, 3))
            tags = [numbers(order, n, RATIONAL, *ratio) for n in (282, 283)] + [numbers(order, 296, SHORT, unit)]
        case "text":
            block = Block(EXIF, "description", b"")
            tags = [blob(270, b"a description\0", ASCII)]
    if used & {t[0] for t in tags}:
        return []
    out.blocks.append(block)
    out.name += f", {name} {block.name}"
    return tags
