"""The blocks of GIF files (GIF89a): what Pillow does not tell of them."""

from __future__ import annotations

from .metadata import FileMetadata

_EXTENSION, _IMAGE, _COMMENT, _TEXT, _APPLICATION = b"!", b",", 0xFE, 0x01, 0xFF
_XMP, _ICC = b"XMP DataXMP", b"ICCRGBG1012"
_TRAILER = 258  # bytes behind XMP, which is not divided: they lead a reader of sub-blocks to the end


def read(data: bytes) -> FileMetadata:
    """What a file says beside its pixels."""
    out = FileMetadata()
    place = 13 + _table(data[10:11])
    while kind := data[place : place + 1]:
        if kind == _EXTENSION and place + 1 < len(data):
            begin, label = place + 2, data[place + 1]
            place, parts = _blocks(data, begin)
            if label in (_COMMENT, _TEXT):
                out.left_out.append("comment" if label == _COMMENT else "text")
            elif label == _APPLICATION and parts:
                _application(parts, data[begin + 12 : place], out)
        elif kind == _IMAGE:
            place, _ = _blocks(data, place + 11 + _table(data[place + 9 : place + 10]))
        else:
            break
    return out


def _table(flags: bytes) -> int:
    """The size of the colour table that flags announce."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 128 else 0


def _blocks(data: bytes, place: int) -> tuple[int, list[bytes]]:
    """Where the sub-blocks at `place` end, and what is in them."""
    parts = []
    while size := int.from_bytes(data[place : place + 1]):
        parts.append(data[place + 1 : place + 1 + size])
        place += 1 + size
    return place + 1, parts


def _application(parts: list[bytes], whole: bytes, out: FileMetadata) -> None:
    """whole: the sub-blocks behind the name, with their lengths."""
    if parts[0] == _ICC:
        out.icc = out.icc or b"".join(parts[1:])
    elif parts[0] == _XMP:
        out.xmp = out.xmp or (whole[:-_TRAILER] if whole[:1] == b"<" else b"".join(parts[1:]))
        if not out.xmp:
            out.damaged("XMP")
