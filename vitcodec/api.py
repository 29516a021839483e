"""One file in, one file out. For many files load a Codec once."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, Unpack

from . import files, images
from .bitstream import container
from .codec import Codec
from .conversion import PictureLike, as_picture
from .lossless import LosslessCodec
from .options import DecodeChanges, DecodeOptions, EncodeChanges, EncodeOptions, decode_options, encode_options
from .pretrained import registry


def encode(
    source: PictureLike,
    target: str | PathLike[str],
    options: EncodeOptions | None = None,
    *,
    model: str | PathLike[str] | None = None,
    device: Any = "auto",
    overwrite: bool = False,
    **changes: Unpack[EncodeChanges],
) -> None:
    """Encode an image into a .vitc file.

    source: the path of an image file, or any picture that Codec.encode takes. options, and keywords that replace its
    fields: encode("a.png", "a.vitc", quality=40). model, device as for Codec.from_pretrained. Raises VitcodecError,
    OutputError if the target exists and `overwrite` is off.
    """
    chosen = encode_options(options, changes)
    if not overwrite:
        files.refuse_existing(Path(target))
    picture = as_picture(source)
    codec = LosslessCodec() if chosen.coding == "lossless" else Codec.from_pretrained(model, device)
    files.write_atomic(Path(target), codec.encode(picture, chosen), overwrite)


def decode(
    source: str | PathLike[str],
    target: str | PathLike[str],
    options: DecodeOptions | None = None,
    *,
    model: str | PathLike[str] | None = None,
    device: Any = "auto",
    overwrite: bool = False,
    **changes: Unpack[DecodeChanges],
) -> None:
    """Decode a .vitc file into an image file, whose suffix says the format.

    options, and keywords that replace its fields, as for Codec.decode. model: None takes the one that the file names.
    Raises VitcodecError, OutputError if the target exists and `overwrite` is off.
    """
    chosen = decode_options(options, changes)
    images.format_of(target)
    if not overwrite:
        files.refuse_existing(Path(target))
    data = files.read_bytes(Path(source))
    header = container.read_header(data, str(source))
    codec = (
        LosslessCodec()
        if header.lossless
        else Codec.from_pretrained(model or registry.resolve(header.model, header.weights), device)
    )
    images.write_image(codec.decode(data, chosen), Path(target), overwrite=overwrite)
