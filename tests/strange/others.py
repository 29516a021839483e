"""GIF, BMP, WebP, JPEG 2000, AVIF and PNM files, and damaged files of every kind."""

from __future__ import annotations

import io
import struct
from dataclasses import replace
from random import Random

import numpy as np
from PIL import Image

from .metadata import DPI, EXIF, IPTC, TEXT, XMP, Block, exif_block, profile_block, text_bytes, xmp_block
from .pictures import Array, Strange, as_rgb, samples_of, scaled, stored, values


def _bytes(rng: Random, channels: int) -> Array:
    return samples_of(rng, channels, 255).astype(np.uint8)


def gif(rng: Random) -> Strange:
    colours = np.random.default_rng(rng.getrandbits(64)).integers(0, 256, (8, 3), np.uint8)
    index = samples_of(rng, 1, 7)[..., 0].astype(np.uint8)
    image = Image.fromarray(index)
    image.putpalette(colours.tobytes())
    out = Strange("GIF", b"", colours[index])
    options: dict[str, object] = {"optimize": False}
    if rng.randrange(3) == 0:
        out.name, options["transparency"] = "GIF, transparent", 3
        out.alpha = np.where(index == 3, 0, 255).astype(np.uint8)
    if rng.randrange(3) == 0:
        out.blocks.append(Block(TEXT, "GIF comment", b""))
        out.name += ", comment"
        options["comment"] = text_bytes(rng)[:250].replace(b"\0", b"") or b"c"
    elif rng.randrange(3) == 0:
        out.name, out.says = out.name + ", animated", "frame"
        other = Image.fromarray(7 - index)
        other.putpalette(colours.tobytes())
        options |= {"save_all": True, "append_images": [other]}
    out.data = stored(image, "GIF", **options)
    if rng.randrange(3) == 0:
        out.data = out.data[: 13 + 3 * 8] + _gif_extension(rng, out) + out.data[13 + 3 * 8 :]
    return out


def _gif_extension(rng: Random, out: Strange) -> bytes:
    """ICC in blocks of at most 255 bytes; XMP as it is, with a trailer that leads through it."""
    if rng.randrange(2):
        block = profile_block(rng)
        parts = [block.data[i : i + 255] for i in range(0, len(block.data), 255)]
        name, data = b"ICCRGBG1012", b"".join(bytes([len(part)]) + part for part in parts) + b"\0"
    else:
        block = xmp_block(rng)
        if b"\0" in block.data or not block.data.startswith(b"<"):
            block = Block(XMP, "good", b"<x:xmpmeta/>")
        name, data = b"XMP DataXMP", block.data + b"\1" + bytes(range(255, -1, -1)) + b"\0"
    out.blocks.append(replace(block, orientation=1 if block.orientation == 1 else None))
    out.name += f", {block.key} {block.name}"
    return b"!\xff\x0b" + name + data


def bmp(rng: Random) -> Strange:
    return _bmp_of_pillow(rng) if rng.randrange(2) else _bmp_by_hand(rng)


def _bmp_of_pillow(rng: Random) -> Strange:
    channels = rng.choice([1, 3])
    array = _bytes(rng, channels)
    image = Image.fromarray(array[..., 0] if channels == 1 else array)
    if channels == 1 and rng.randrange(2):
        image = image.convert("1", dither=Image.Dither.NONE)
    rgb = np.asarray(image.convert("RGB"))
    dpi = rng.choice([None, None, (300, 300)])
    blocks = [Block(DPI, "BMP", b"")] if dpi else []
    return Strange(f"BMP {image.mode}", stored(image, "BMP", **({"dpi": dpi} if dpi else {})), rgb, blocks=blocks)


def _bmp_by_hand(rng: Random) -> Strange:
    """Rows from the top, 16 bits a pixel, a fourth byte that is alpha or nothing."""
    kind = rng.choice(["24", "16", "32", "32 with alpha"])
    array = _bytes(rng, 4)
    height, width = array.shape[:2]
    out = Strange(f"BMP of {kind} bits", b"", array[..., :3])
    masks, profile = b"", b""
    match kind:
        case "24":
            rows = array[..., [2, 1, 0]]
        case "16":
            five = samples_of(rng, 3, 31)
            height, width = five.shape[:2]
            rows = (five[..., 0] << 10 | five[..., 1] << 5 | five[..., 2]).astype("<u2").view(np.uint8)
            out.rgb, out.tolerance = scaled(five, 31), 4
        case "32":  # the fourth byte means nothing, and is mostly 0
            rows = np.concatenate([array[..., [2, 1, 0]], np.zeros_like(array[..., :1])], -1)
        case _:
            rows, out.alpha = array[..., [2, 1, 0, 3]], array[..., 3]
            masks = struct.pack("<4I", 0xFF0000, 0xFF00, 0xFF, 0xFF000000) + b"BGRs" + bytes(48)
    rows = rows.reshape(height, -1)
    rows = np.pad(rows, ((0, 0), (0, -rows.shape[1] % 4)))
    down = bool(rng.randrange(2))
    bits, compression = int(kind[:2]), 3 if masks else 0  # before masks of zeros
    size = height if not down else -height
    if rng.randrange(4) == 0:  # BITMAPV5HEADER
        block = profile_block(rng)
        profile, masks = block.data, masks[:16] or bytes(16)
        masks += b"DEBM" + bytes(48) + struct.pack("<IIII", 4, 124 + rows.size, len(profile), 0)
        out.name += f", {block.key} {block.name}"
        out.blocks.append(block)
    head = (
        struct.pack("<IiiHHIIiiII", 40 + len(masks), width, size, 1, bits, compression, rows.size, 0, 0, 0, 0) + masks
    )
    at = 14 + len(head)
    pixels = (rows if down else rows[::-1]).tobytes()
    out.data = b"BM" + struct.pack("<IHHI", at + len(pixels), 0, 0, at) + head + pixels + profile
    return out


PILLOW_TIFF = {  # mode -> compressions
    "1": ("group4", "tiff_lzw", "packbits"),
    "L": ("tiff_lzw", "packbits", "tiff_adobe_deflate", "raw"),
    "P": ("tiff_lzw", "raw"),
    "LA": ("tiff_lzw", "raw"),
    "RGB": ("tiff_lzw", "packbits", "jpeg", "zstd", "raw"),
    "RGBA": ("tiff_lzw", "raw"),
    "CMYK": ("tiff_lzw", "raw"),
    "I;16": ("tiff_lzw", "raw"),
    "LAB": ("raw",),
}


def tiff_of_pillow(rng: Random) -> Strange:
    """What libtiff has to read: other compressions, BigTIFF, pages."""
    mode = rng.choice([*PILLOW_TIFF])
    compression, big = rng.choice(PILLOW_TIFF[mode]), rng.randrange(4) == 0
    out = Strange(f"TIFF of Pillow, {mode} {compression}{' big' if big else ''}", b"")
    if mode == "I;16":
        samples = samples_of(rng, 1, 65535)
        image, out.rgb, out.says, out.tolerance = Image.fromarray(samples[..., 0].astype(np.uint16)), None, "16-bit", 1
        out.rgb = as_rgb(scaled(samples[..., 0], 65535))
    else:
        channels = {"1": 1, "P": 1}.get(mode, len(mode))
        array = _bytes(rng, channels)
        image = Image.frombytes("L" if channels == 1 else mode, array.shape[1::-1], array.tobytes())
        image = image.convert("1", dither=Image.Dither.NONE) if mode == "1" else image
        if mode == "P":
            image.putpalette(np.random.default_rng(rng.getrandbits(64)).integers(0, 256, 768, np.uint8).tobytes())
        out.rgb = None if mode in ("CMYK", "LAB") or compression == "jpeg" else np.asarray(image.convert("RGB"))
        out.alpha = array[..., -1] if mode in ("LA", "RGBA") else None
        out.says = mode if mode == "CMYK" else "Lab|LAB" if mode == "LAB" else ""
    options: dict[str, object] = {"compression": compression, "big_tiff": big}
    if rng.randrange(4) == 0 and not out.says:
        out.name, out.says = out.name + ", pages", "frame|page"
        options |= {"save_all": True, "append_images": [image]}
    if rng.randrange(3) == 0 and mode != "CMYK":
        block = rng.choice([profile_block, xmp_block])(rng)
        options |= {"tiffinfo": {700 if block.key == XMP else 34675: block.data}}
        out.blocks.append(replace(block, orientation=1 if block.orientation == 1 else None))
        out.name += f", {block.key} {block.name}"
    out.data = stored(image, "TIFF", **options)
    return out


def webp(rng: Random) -> Strange:
    channels = rng.choice([3, 3, 4])
    array = _bytes(rng, channels)
    out = Strange(f"WebP of {channels}", b"", array[..., :3], array[..., 3] if channels == 4 else None)
    options: dict[str, object] = {"lossless": True, "exact": True}
    for name, make in (("exif", exif_block), ("xmp", xmp_block), ("icc_profile", profile_block)):
        if rng.randrange(3) == 0:
            block = make(rng)
            if name == "xmp" and block.orientation != 1 and out.blocks:
                block = replace(block, orientation=None)  # what counts beside EXIF is another question
            out.blocks.append(block)
            out.name += f", {block.key} {block.name}"
            options[name] = block.data
    if rng.randrange(6) == 0:
        out.name, out.says = out.name + ", animated", "frame"
        options |= {"save_all": True, "append_images": [Image.fromarray(255 - array)]}
    out.data = stored(Image.fromarray(array), "WEBP", **options)
    return out


def jpeg2000(rng: Random) -> Strange:
    channels = rng.choice([1, 2, 3, 4])
    array = _bytes(rng, channels)
    image = Image.fromarray(array[..., 0] if channels == 1 else array)
    alpha = array[..., -1] if channels in (2, 4) else None
    rgb = as_rgb(array[..., 0]) if channels < 3 else array[..., :3]
    data = stored(image, "JPEG2000", irreversible=False, no_jp2=channels in (1, 3) and bool(rng.randrange(2)))
    out = Strange(f"JPEG2000 of {channels}", data, rgb, alpha)
    at = data.find(b"jp2c") - 4
    if at > 0 and rng.randrange(2):
        block = rng.choice([exif_block, xmp_block])(rng)
        name = b"JpgTiffExif->JP2" if block.key == EXIF else bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
        if rng.randrange(4) == 0:
            block, name = Block(IPTC, "uuid", b""), bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38")
        box = struct.pack(">I4s", 24 + len(block.data), b"uuid") + name + block.data
        out.data = data[:at] + box + data[at:]
        out.blocks.append(block)
        out.name += f", {block.key} {block.name}"
    return out


def avif(rng: Random) -> Strange:
    array = _bytes(rng, rng.choice([3, 4]))
    image, options = Image.fromarray(array), {"quality": 90, "speed": 10}
    plain = stored(image, "AVIF", **options)
    alpha = np.asarray(Image.open(io.BytesIO(plain)).convert("RGBA"))[..., 3]
    out = Strange("AVIF", plain, values(plain), alpha if array.shape[-1] == 4 else None)
    make, name = rng.choice([(xmp_block, "xmp"), (profile_block, "icc_profile")])
    block = make(rng)
    if (block.orientation == 1 and block.data[36:40] == b"acsp") or name == "xmp":
        # AVIF has a property of its own that turns a picture; what XMP says does not count
        turned = None if block.orientation != 1 else 1
        out.blocks.append(replace(block, orientation=turned))
        out.name += f", {block.key} {block.name}"
        out.data = stored(image, "AVIF", **options, **{name: block.data})
    return out


def pnm(rng: Random) -> Strange:
    kind = rng.choice([1, 2, 3, 4, 5, 6])
    most = 1 if kind in (1, 4) else rng.choice([1, 3, 100, 255, 255, 1000, 4095, 65535])
    samples = samples_of(rng, 3 if kind in (3, 6) else 1, most)
    height, width = samples.shape[:2]
    comment = rng.choice([b"", b"# a comment\n", b"#\xff\n"])
    head = b"P%d\n%s%d %d\n" % (kind, comment, width, height) + (b"" if kind in (1, 4) else b"%d\n" % most)
    if kind in (1, 2, 3):
        body = b" ".join(b"%d" % v for v in samples.ravel()) + b"\n"
    elif kind == 4:
        body = np.packbits(samples[..., 0].astype(np.uint8), axis=1).tobytes()
    else:
        body = samples.astype(">u2" if most > 255 else "u1").tobytes()
    values = scaled(most - samples if kind in (1, 4) else samples, most)
    rgb = values if kind in (3, 6) else as_rgb(values[..., 0])
    blocks = [Block(TEXT, "PNM comment", b"", claimed=False)]
    return Strange(f"PNM {kind} up to {most}", head + body, rgb, blocks=blocks, tolerance=most > 255)
