"""Colour spaces and EXIF in words for people, read a few bytes at a time: neither NumPy nor PIL is imported."""

from __future__ import annotations

import re
import struct
from collections.abc import Sequence

from . import tiff

# number in a .vitc file -> the profile's name; see profiles.WELL_KNOWN
PROFILES = {
    1: "sRGB",
    2: "Display P3",
    3: "Adobe RGB (1998) compatible",
    4: "Gray, gamma 2.2",
    5: "Gray, sRGB curve",
    6: "ProPhoto RGB",
}
# of ITU-T H.273
_PRIMARIES = {1: "BT.709", 4: "BT.470 M", 5: "BT.601 625", 6: "BT.601 525", 7: "SMPTE 240M", 8: "film", 9: "BT.2020"}
_PRIMARIES |= {10: "XYZ", 11: "DCI-P3", 12: "Display P3", 22: "EBU 3213"}
_TRANSFERS = {1: "BT.709", 4: "gamma 2.2", 5: "gamma 2.8", 6: "BT.601", 7: "SMPTE 240M", 8: "linear", 13: "sRGB"}
_TRANSFERS |= {11: "xvYCC", 14: "BT.2020", 15: "BT.2020", 16: "PQ", 17: "SMPTE 428", 18: "HLG"}
_MOST = 200  # characters of a name
_MAKE, _MODEL, _DATE, _ORIENTATION = 271, 272, 306, 274
_EXPOSURE, _APERTURE, _ISO, _TAKEN, _FOCAL, _LENS = 33434, 33437, 34855, 36867, 37386, 42036


def profile_name(icc: bytes) -> str | None:
    """What an ICC profile calls itself (its "desc" tag), or None where it does not say."""
    try:
        (count,) = struct.unpack_from(">I", icc, 128)
        for index in range(min(count, 200)):
            tag, offset, size = struct.unpack_from(">4sII", icc, 132 + 12 * index)
            if tag == b"desc":
                return _described(icc[offset : offset + size])
    except struct.error:
        pass
    return None


def _described(tag: bytes) -> str | None:
    """The text of a tag of version 2 or 4. Raises struct.error."""
    if tag[:4] == b"desc":
        (count,) = struct.unpack_from(">I", tag, 8)
        return _clean(tag[12 : 12 + count])
    if tag[:4] != b"mluc":
        return None
    (count,) = struct.unpack_from(">I", tag, 8)
    records = [struct.unpack_from(">2s2sII", tag, 16 + 12 * index) for index in range(min(count, 100))]
    records.sort(key=lambda record: record[0] != b"en")
    for _, _, length, offset in records:
        return " ".join(tag[offset : offset + length].decode("utf-16-be", "replace").split())[:_MOST] or None
    return None


def cicp_name(points: bytes) -> str:
    """Primaries and transfer of code points, 4 bytes, by their names."""
    primaries, transfer = (names.get(n, f"{n}") for names, n in ((_PRIMARIES, points[0]), (_TRANSFERS, points[1])))
    return f"{primaries} primaries, {transfer} transfer"


def exif_facts(block: bytes) -> dict[str, str | int | float | bool]:
    """What people ask of an EXIF block, as far as it is stated.

    Of camera, lens, date, exposure (seconds), aperture, iso, focal_length (mm), orientation, and position: whether
    there is one.
    """
    found = tiff.parse(block)
    if found is None:
        return {}
    facts: dict[str, str | int | float | bool] = {}
    pointer = found.entries.get(tiff.EXIF_IFD)
    inner = tiff.Tiff(found.order, pointer.directory or {} if pointer else {})
    make, model = _text(found, _MAKE), _text(found, _MODEL)
    if make or model:  # many models begin with their make
        facts["camera"] = model if make and model.lower().startswith(make.lower()) else f"{make} {model}".strip()
    for name, text in (("lens", _text(inner, _LENS)), ("date", _text(inner, _TAKEN) or _text(found, _DATE))):
        if text:
            facts[name] = re.sub(r"^(\d{4}):(\d\d):(\d\d)", r"\1-\2-\3", text) if name == "date" else text
    for name, tag in (("exposure", _EXPOSURE), ("aperture", _APERTURE), ("focal_length", _FOCAL)):
        if value := round(inner.ratio(tag), 7):
            facts[name] = value
    if iso := inner.numbers(_ISO)[:1]:
        facts["iso"] = iso[0]
    if turn := found.numbers(_ORIENTATION)[:1]:
        facts["orientation"] = turn[0]
    if tiff.GPS_IFD in found.entries:
        facts["position"] = True
    return facts


def exif_text(facts: dict[str, str | int | float | bool]) -> str:
    """Facts as a photographer writes them: "Canon EOS R5, 2024-05-01 12:00:00, 1/250 s, f/4, ISO 100, 50 mm"."""
    parts = [str(facts[name]) for name in ("camera", "lens", "date") if name in facts]
    if "exposure" in facts:
        seconds = float(facts["exposure"])
        parts.append(f"{seconds:g} s" if seconds > 0.3 else f"1/{1 / seconds:.0f} s")
    formats: Sequence[tuple[str, str]] = (("aperture", "f/{:g}"), ("iso", "ISO {}"), ("focal_length", "{:g} mm"))
    parts += [form.format(facts[name]) for name, form in formats if name in facts]
    parts += ["with position"] if "position" in facts else []
    if (turn := facts.get("orientation", 1)) != 1:
        parts.append(f"orientation {turn}, which is not applied")
    return ", ".join(parts)


def _text(found: tiff.Tiff, tag: int) -> str:
    entry = found.entries.get(tag)
    return _clean(entry.data) or "" if entry else ""


def _clean(data: bytes) -> str | None:
    """A text that ends at its first zero, on one line."""
    data = data.split(b"\0", 1)[0][: 4 * _MOST]
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    return " ".join(text.split())[:_MOST] or None
