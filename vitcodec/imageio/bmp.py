"""The header of BMP files (BITMAPV5HEADER): the ICC profile, which Pillow does not tell."""

from __future__ import annotations

import struct

from .metadata import FileMetadata

_START, _V5 = 14, 124  # where the header begins, and how long it is where there may be a profile
_EMBEDDED, _LINKED = b"DEBM", b"KNIL"


def read(data: bytes) -> FileMetadata:
    """What a file says beside its pixels."""
    out, header = FileMetadata(), data[_START : _START + _V5]
    if len(header) < _V5 or struct.unpack_from("<I", header)[0] < _V5:
        return out
    if header[56:60] == _LINKED:
        out.left_out.append("ICC profile in another file")
    elif header[56:60] == _EMBEDDED:
        offset, size = struct.unpack_from("<II", header, 112)
        out.icc = data[_START + offset : _START + offset + size]
        if not out.icc or len(out.icc) < size:
            out.icc = None
            out.damaged("ICC profile")
    return out
