"""One file in, one file out. For many files load a Codec once."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from . import files, images
from .bitstream import container
from .codec import DEFAULT_EFFORT, DEFAULT_QUALITY, Codec
from .pretrained import registry


def encode(
    source: str | PathLike[str],
    target: str | PathLike[str],
    quality: int = DEFAULT_QUALITY,
    effort: int = DEFAULT_EFFORT,
    model: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Encode an image file into a .vitc file at quality 1..100 and effort 1..9.

    Raises VitcodecError, OutputError if the target exists and `overwrite` is off.
    """
    if not overwrite:
        files.refuse_existing(Path(target))
    picture = images.read_image(Path(source))
    files.write_atomic(Path(target), Codec.load(model, device).encode(picture, quality, effort), overwrite)


def decode(
    source: str | PathLike[str],
    target: str | PathLike[str],
    reduce: int = 0,
    model: str | None = None,
    device: str = "auto",
    overwrite: bool = False,
) -> None:
    """Decode a .vitc file into an image file whose suffix says the format; reduce = 1..4 halves its sides that many times.

    model: None takes the one that the file names. Raises VitcodecError, OutputError if the target exists and `overwrite` is off.
    """
    images.format_of(target)
    if not overwrite:
        files.refuse_existing(Path(target))
    data = files.read_bytes(Path(source))
    header = container.read_header(data, str(source))
    codec = Codec.load(model or registry.resolve(header.model, header.weights), device)
    images.write_image(codec.decode(data, reduce), Path(target), overwrite=overwrite)
