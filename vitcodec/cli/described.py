"""What `info` says of one file: for people, and as the object of --json. Neither torch, NumPy nor PIL is imported."""

from __future__ import annotations

import struct
from typing import Any

from ..bitstream import container
from ..bitstream.glance import Glance
from ..bitstream.header import Header
from ..errors import VitcodecError
from ..imageio import names
from ..pretrained import registry
from .output import one_line, size


def record_of(name: str, length: int, found: Glance) -> dict[str, Any]:
    """The object of --json. length: bytes of the whole file."""
    header, metadata = found.header, found.metadata
    profile, points = _profile(metadata), metadata.get("CICP")
    facts = names.exif_facts(metadata["EXIF"]) if "EXIF" in metadata else None
    qualities = metadata.get("QUAL", b"")
    here = None if header.lossless else _model_here(header)
    return {
        "file": name,
        "status": "done",
        "width": header.width,
        "height": header.height,
        "gray": header.gray,
        "lossless": header.lossless,
        "quality": None if header.lossless else header.quality,
        "model": header.model or None,
        "weights": header.weights.hex() or None,
        "tiles": header.grid.count,
        "bytes": length,
        "bpp": round(8 * length / (header.width * header.height), 5),
        "whole": found.whole,
        "alpha": found.has("ALPH"),
        "profile": profile,
        "cicp": list(points) if points else None,
        "dpi": _resolution(metadata.get("DPI ")),
        "exif": facts,
        "xmp_bytes": len(metadata["XMP "]) if "XMP " in metadata else None,
        "model_source": here,
        "model_available": None if header.lossless else here is not None,
        "tile": header.tile,
        "tile_qualities": [min(qualities), max(qualities)] if qualities else None,
        "regions": _regions(qualities, header),
        "level_bytes": found.level_bytes,
        "filter_bytes": next((chunk.length for chunk in found.chunks if chunk.type == "FILT"), None),
        "enhancement": header.enhancement or None,
        "scale_offsets": None if header.lossless else found.scale_offsets,
        "erased_share": _share(metadata["MASK"], header) if "MASK" in metadata else None,
    }


def line_of(record: dict[str, Any]) -> str:
    """The one line of a file."""
    kinds = "".join(f"{kind}, " for kind in ("gray", "alpha") if record[kind])
    low, high = record["tile_qualities"] or [record["quality"]] * 2
    quality = f"quality {low}" if low == high else f"quality {low} to {high}"
    coding = "lossless" if record["lossless"] else f"{quality}, model {record['model']}"
    cut = "" if record["whole"] else ", cut off or damaged: decode what is intact with --salvage"
    shape = f"{record['width']}x{record['height']}, {kinds}{coding}"
    return f"{one_line(record['file'])}: {shape}, {size(record['bytes'])}, {record['bpp']:.3f} bpp{cut}"


def rows_of(record: dict[str, Any]) -> list[tuple[str, str]]:
    """(what, how) of everything else that is known of a file, for people."""
    rows = [("colours", _colours(record))]
    if record["dpi"]:
        rows.append(("resolution", " x ".join(f"{value:g}" for value in record["dpi"]) + " dots per inch"))
    if record["exif"] is not None:
        rows.append(("EXIF", names.exif_text(record["exif"]) or "nothing of camera or exposure"))
    if record["xmp_bytes"]:
        rows.append(("XMP", f"{record['xmp_bytes']:,} bytes"))
    if not record["lossless"]:
        source = record["model_source"]
        where = "which is not here" if source is None else "here" if source == record["model"] else f"here: {source}"
        rows.append(("model", f"{record['model']} (weights {record['weights']}), {where}"))
    side = record["tile"]
    tiles = "1 tile" if record["tiles"] == 1 else f"{record['tiles']} tiles"
    rows.append(("tiles", f"{tiles} of up to {side}x{side} pixels"))
    if record["tile_qualities"]:
        low, high = record["tile_qualities"]
        rows.append(("qualities", f"{low} to {high}, by tile"))
    for region in record["regions"] or ():
        x, y, width, height = region["box"]
        count = "1 tile" if region["tiles"] == 1 else f"{region['tiles']} tiles"
        rows.append(("region", f"quality {region['quality']}: {count} within {x},{y},{width},{height}"))
    if record["filter_bytes"] is not None:
        rows.append(("filter", f"adapted to the picture, {record['filter_bytes']:,} bytes"))
    if record["enhancement"]:
        rows.append(("enhancement", f"number {record['enhancement']} of the model"))
    if record["scale_offsets"]:
        parts = [f"{_level(level)} in {count}" for level, count in record["scale_offsets"].items()]
        rows.append(("scale offsets", f"{', '.join(parts)} of {tiles}"))
    if record["erased_share"] is not None:
        rows.append(("erased", f"{100 * record['erased_share']:.1f} % of the tokens"))
    rest = record["bytes"] - sum(record["level_bytes"].values())
    counts = [(_level(level), count) for level, count in record["level_bytes"].items()]
    for what, count in [*counts, ("all else", rest)]:
        rows.append((what, f"{count:>10,} bytes  {100 * count / record['bytes']:5.1f} %"))
    return [(what, one_line(how)) for what, how in rows]


def _level(level: int) -> str:
    return "pixels" if level == container.PIXELS else f"details of level {level}" if level else "low band"


def _colours(record: dict[str, Any]) -> str:
    if record["cicp"]:
        points = bytes(record["cicp"])
        named = names.cicp_name(points) if len(points) == 4 else "damaged"
        return f"{named} (CICP {'/'.join(map(str, points))})"
    return f"{record['profile']} (ICC profile)" if record["profile"] else "sRGB, as the file states no others"


def _profile(metadata: dict[str, bytes]) -> str | None:
    if number := metadata.get("NAME"):
        return names.PROFILES.get(number[0], f"number {number[0]}, which a newer vitcodec knows")
    return names.profile_name(metadata["ICCP"]) or "without a name" if "ICCP" in metadata else None


def _resolution(packed: bytes | None) -> list[float] | None:
    return [round(value, 3) for value in struct.unpack("<2f", packed)] if packed and len(packed) == 8 else None


def _regions(qualities: bytes, header: Header) -> list[dict[str, Any]] | None:
    """The tiles of each quality but the lowest, and the pixels that they lie within; None where all have one."""
    if len(qualities) != header.grid.count:
        return None
    return [_region(quality, qualities, header) for quality in sorted(set(qualities))[:0:-1]]


def _region(quality: int, qualities: bytes, header: Header) -> dict[str, Any]:
    side, columns = header.tile, header.grid.columns
    rows, cols = zip(*(divmod(tile, columns) for tile, q in enumerate(qualities) if q == quality), strict=True)
    x, y = min(cols) * side, min(rows) * side
    right, bottom = min((max(cols) + 1) * side, header.width), min((max(rows) + 1) * side, header.height)
    return {"quality": quality, "tiles": qualities.count(quality), "box": [x, y, right - x, bottom - y]}


def _share(mask: bytes, header: Header) -> float:
    """Of all tokens, how many a mask erases."""
    whole = header.grid.whole
    return round(min(int.from_bytes(mask, "big").bit_count() / (whole.h * whole.w), 1), 5)


def _model_here(header: Header) -> str | None:
    """The model that decodes a file, as -m takes it; None where it is neither shipped nor downloaded."""
    try:
        source = registry.resolve(header.model, header.weights)
        return source if registry.find(source).identity == header.weights else None
    except VitcodecError:
        return None
