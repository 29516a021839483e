"""vitcodec as one of Pillow's formats: importing this module, or vitcodec.register_opener(), makes Pillow know it.

    from PIL import Image
    import vitcodec.pillow_plugin

    image = Image.open("photo.vitc")
    image.save("smaller.vitc", quality=30)

Opening reads what a file says beside its picture; pixels are decoded when they are asked for, and by draft() and
thumbnail() only as many levels of them as are needed. docs/desktop.md lists the options of save().
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from PIL import Image, ImageFile

from .bitstream import container, salvage
from .bitstream.container import Contents
from .bitstream.glance import glance
from .bitstream.header import Header
from .bitstream.metadata import unpack_picture
from .conversion import colours_of, info_of
from .errors import FormatError, InputError, UsageError, VitcodecError, WeightsError
from .filesystem.suffixes import SUFFIX
from .imageio.metadata import FileMetadata, per_inch
from .imageio.samples import samples_of
from .images import picture_of
from .lossless import LosslessCodec
from .options import DecodeOptions, EncodeChanges, EncodeOptions
from .picture import Picture
from .pretrained import registry
from .subbands import LEVELS
from .tiles import Region

if TYPE_CHECKING:
    from .codec import Codec

FORMAT, MIME = "VITC", "image/x-vitcodec"
# what decodes, as Image.open takes no options: auto, cpu, cuda[:N] or mps; None: $VITCODEC_DEVICE, or else auto
DEVICE: str | None = None

_codecs: dict[tuple[str, str], Codec] = {}
_loading = threading.Lock()


def register_opener() -> None:
    """Make Pillow open and save .vitc files. Calling it again changes nothing."""
    Image.register_open(FORMAT, VitcImageFile, _accept)
    Image.register_save(FORMAT, _save)
    Image.register_extension(FORMAT, SUFFIX)
    Image.register_mime(FORMAT, MIME)


def load_codec(model: str | None, device: str | None = None) -> Codec:
    """The codec of a model on a device, loaded once and shared by all threads.

    model: as Codec.from_pretrained takes it. device: None for DEVICE. Raises WeightsError, DeviceError, UsageError.
    """
    from .codec import Codec

    key = registry.chosen(model), device or DEVICE or os.environ.get("VITCODEC_DEVICE") or "auto"
    with _loading:
        if key not in _codecs:
            _codecs[key] = Codec.from_pretrained(*key)
        return _codecs[key]


def _accept(prefix: bytes) -> bool:
    return prefix.startswith(container.MAGIC)


@contextmanager
def _as_pillow() -> Iterator[None]:
    """Errors as Pillow's formats raise them: ValueError for options, OSError for the rest."""
    try:
        yield
    except UsageError as error:
        raise ValueError(str(error)) from error
    except VitcodecError as error:
        raise OSError(str(error)) from error


class VitcImageFile(ImageFile.ImageFile):
    """A .vitc file: of mode L, LA, RGB or RGBA."""

    format = FORMAT
    format_description = "vitcodec image"
    _start = 0  # where the file begins in its stream
    _reduce = 0  # how often the sides are halved

    def _open(self) -> None:
        stream = self._stream()
        self._start = stream.tell()
        with _as_pillow():
            try:
                found = glance(stream, self._name(), container.METADATA.keys() - {"ALPH", "MASK"})
            except FormatError as error:
                raise SyntaxError(str(error)) from error
        header = found.header
        self._size = (header.width, header.height)
        self._mode = ("L" if header.gray else "RGB") + "A" * found.has("ALPH")
        self.tile = [ImageFile._Tile("vitcodec", (0, 0, *self._size), self._start)]
        whole = Region(0, 0, header.width, header.height)
        self.info.update(
            info_of(unpack_picture(Contents(header, found.metadata), np.empty((0, 0, 3), np.uint8), whole, 0))
        )

    def draft(self, mode: str | None, size: tuple[int, int] | None) -> tuple[str, tuple[int, int, float, float]] | None:
        """Decode fewer levels, so that the sides are halved as often as they stay at least as long as `size`.

        The mode stays. Returns it with the box of the whole picture, or None where pixels are there already.
        """
        if not self.tile or not size:
            return None
        width, height = self.size
        scale = min(width // max(size[0], 1), height // max(size[1], 1))
        more = min(max(scale.bit_length() - 1, 0), LEVELS - self._reduce)
        self._reduce += more
        self._size = (-(-width // 2**more), -(-height // 2**more))
        return self.mode, (0, 0, width / 2**more, height / 2**more)

    def load(self) -> Any:
        """Decode the pixels, if they are not there yet. Raises OSError."""
        if self.tile:
            stream = self._stream()
            with _as_pillow():
                image = self._decoded(stream).to_pil()
            if image.size != self.size:
                raise OSError(f"{self._name()}: decoded to {image.size}, not to {self.size}")
            image = image if image.mode == self.mode else image.convert(self.mode)  # where alpha was not salvaged
            self.im, self.readonly, self.tile = image.im, image.readonly, []
            if self._exclusive_fp:
                stream.close()
            self.fp = None
        return super().load()

    def verify(self) -> None:
        """Read the whole file and check it, without decoding. Raises OSError."""
        if self.tile:
            stream = self._stream()
            stream.seek(self._start)
            with _as_pillow():
                container.describe(stream, self._name())
        super().verify()

    def _decoded(self, stream: BinaryIO) -> Picture:
        options = DecodeOptions(self._reduce)
        stream.seek(self._start)
        try:
            contents = container.unpack(stream, options.reduce + 1, self._name())
        except FormatError:
            if not ImageFile.LOAD_TRUNCATED_IMAGES:
                raise
            stream.seek(self._start)
            contents = salvage.unpack(stream, options.reduce + 1, self._name()).contents
        return _codec_of(contents.header).decode(contents, options)

    def _stream(self) -> BinaryIO:
        if self.fp is None:
            raise ValueError("Operation on closed image")
        return cast(BinaryIO, self.fp)

    def _name(self) -> str:
        return os.fsdecode(self.filename) if self.filename else "<stream>"


def _codec_of(header: Header) -> Codec | LosslessCodec:
    """What decodes a file: the model that it names, which is never downloaded for it. Raises WeightsError."""
    if header.lossless:
        return LosslessCodec()
    try:
        return load_codec(registry.resolve(header.model, header.weights))
    except WeightsError as error:
        raise WeightsError(f"it needs the model '{header.model}' (weights {header.weights.hex()}): {error}") from error


def _save(image: Image.Image, stream: IO[bytes], filename: str | bytes) -> None:
    asked = image.encoderinfo
    with _as_pillow():
        options = _options(asked)
        picture = _picture(image, asked)
        codec = LosslessCodec() if options.coding == "lossless" else load_codec(asked.get("model"), asked.get("device"))
        stream.write(codec.encode(picture, options))
    for note in picture.notes:
        warnings.warn(f"{FORMAT}: {note}", stacklevel=3)  # the caller of Image.save


def _options(asked: dict[str, Any]) -> EncodeOptions:
    """The options of save(). Raises UsageError; what is no option is passed over, as Pillow's formats do."""
    changes: dict[str, Any] = {name: asked[name] for name in EncodeChanges.__annotations__ if name in asked}
    for name in ("quality", "effort"):
        if not isinstance(changes.get(name, 1), int):
            raise UsageError(f"{name} takes a whole number, not {changes[name]!r}")
    if asked.get("lossless"):
        if changes.get("coding") not in (None, "lossless"):
            raise UsageError(f"lossless and coding='{changes['coding']}' contradict each other; give one")
        changes["coding"] = "lossless"
    return EncodeOptions(**changes)


def _picture(image: Image.Image, asked: dict[str, Any]) -> Picture:
    """What is encoded of an image. Raises OSError for modes that cannot be, ValueError, UsageError.

    As in Pillow's own formats, the profile is the image's unless another is asked for, and EXIF, XMP and DPI are what
    is asked for. An orientation in EXIF is applied, as .vitc files have none.
    """
    if not all(image.size):
        raise ValueError(f"cannot write empty image as {FORMAT}")
    try:
        samples = samples_of(image)
    except InputError as error:
        raise OSError(f"cannot write mode {image.mode} as {FORMAT}: {error}") from error
    profile, points = asked.get("icc_profile"), asked.get("cicp")
    if points is not None and len(points) != 4:
        raise UsageError(f"cicp takes 4 bytes, not {points!r}")
    if "cicp" not in asked and "icc_profile" not in asked:
        profile, points = colours_of(image)
    elif "icc_profile" not in asked:
        profile = image.info.get("icc_profile")
    block, xmp = asked.get("exif"), asked.get("xmp")
    metadata = FileMetadata(
        icc=profile or None,
        cicp=bytes(points) if points else None,
        exif=block.tobytes() if isinstance(block, Image.Exif) else block or None,
        xmp=xmp.encode() if isinstance(xmp, str) else xmp or None,
        dpi=per_inch(*map(float, asked["dpi"])) if asked.get("dpi") else None,
    )
    return picture_of(samples, metadata)


register_opener()
