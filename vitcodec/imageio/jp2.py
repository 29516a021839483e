"""The boxes of JPEG 2000 files (ISO 15444-1, annex I): what Pillow does not tell of them."""

from __future__ import annotations

from .boxes import boxes
from .metadata import FileMetadata

_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_EXIF = b"JpgTiffExif->JP2"
# other UUIDs -> what to call them
_LEFT_OUT = {
    bytes.fromhex("33c7a4d2b81d4723a0baf1a3e097ad38"): "IPTC",
    bytes.fromhex("b14bf8bd083d4b43a5ae8cd7d5a6ce03"): "place on a map",
}
_RESTRICTED, _ANY = 2, 3  # how a colour box says its colours, where it is by an ICC profile


def read(data: bytes) -> FileMetadata:
    """What a file says beside its pixels."""
    out = FileMetadata()
    for kind, begin, end in boxes(data):
        if kind == b"jp2h":
            _header(data[begin:end], out)
        elif kind == b"uuid":
            name, payload = data[begin : begin + 16], data[begin + 16 : end]
            if name == _XMP:
                out.xmp = out.xmp or payload
            elif name == _EXIF:
                out.exif = out.exif or payload
            else:
                out.left_out.append(_LEFT_OUT.get(name, "private data"))
        elif kind == b"xml ":
            out.left_out.append("XML")
    return out


def _header(header: bytes, out: FileMetadata) -> None:
    for kind, begin, end in boxes(header):
        if kind == b"colr" and header[begin : begin + 1] in (bytes([_RESTRICTED]), bytes([_ANY])):
            out.icc = out.icc or header[begin + 3 : end]


def depth(data: bytes) -> int:
    """Bits of the first component's samples, 0 where they cannot be told."""
    place = data.find(b"\xff\x4f\xff\x51")  # SOC, then SIZ
    return (data[place + 42] & 0x7F) + 1 if 0 <= place < len(data) - 42 else 0
