"""The facade: a model on a device, ready to encode and decode. pipeline/ does the work."""

from __future__ import annotations

import threading
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeAlias, Unpack, overload

import numpy as np

from .bitstream import container
from .bitstream.chunks import Source
from .bitstream.container import Contents
from .bitstream.header import Header
from .errors import UsageError, WeightsError
from .filesystem.streams import stream_of
from .generation import Generating
from .lossless import LosslessCodec
from .options import DecodeChanges, DecodeOptions, EncodeChanges, EncodeOptions, decode_options, encode_options
from .picture import Picture
from .placement import chosen_device, without_torch
from .pretrained import registry
from .pretrained.config import PretrainedConfig
from .tokens import Tokens

if TYPE_CHECKING:
    from PIL import Image
    from torch import Tensor

    from .attention import AttentionMap
    from .conversion import PictureLike
    from .models.autoencoder import Autoencoder

# a .vitc file: its bytes, a seekable stream, its path, or its contents as `read` or `vitcodec.salvage` return them
Encoded: TypeAlias = Source | str | PathLike[str] | Contents


class Codec(Generating):
    """A model on a device.

        codec = Codec.from_pretrained("swin", device="cpu")
        data = codec.encode("photo.jpg", quality=50)
        codec.decode(data).save("photo.png")

    Every method may be called from several threads at once; the work itself is done for one call at a time, as torch
    already uses all cores. Large pictures are worked on in blocks, so that memory beyond the picture itself depends on
    the size of a block only.

    Options are given as an object, as keywords, or both: keywords replace the object's fields.

    name, config, device: what was loaded. engine: what runs its networks, "onnxruntime" or "torch", and reason: why it
    is not onnxruntime. autoencoder: of a family in floating point, the networks, for research; they may change with any
    version. Codecs pickle by name: the model is loaded anew where they are unpickled.
    """

    autoencoder: Autoencoder

    def __init__(
        self,
        config: PretrainedConfig,
        device: Any,
        threads: int | None = None,
        source: str | None = None,
        tune: str | None = None,
    ):
        """device: torch's, or its name. threads: of the CPU; None for all cores. source: what from_pretrained loads it
        by; None: the folder of the config. tune: as from_pretrained.
        """
        self.name, self.config, self.tune = config.name, config, tune or config.tune
        self._source, self._threads = source or f"{registry.LOCAL}{config.folder.absolute()}", threads
        self._lock = threading.Lock()
        self._load(device)

    @classmethod
    def from_pretrained(
        cls,
        model: str | PathLike[str] | None = None,
        device: Any = "auto",
        threads: int | None = None,
        *,
        revision: str | None = None,
        tune: str | None = None,
    ) -> Codec:
        """A model with its weights.

        model: a shipped model's name, a folder, or ORG/NAME on the Hugging Face Hub; None for $VITCODEC_MODEL or else
        the default. revision: of the hub, a branch, tag or commit. device: auto, cpu, cuda[:N] or mps, or a
        torch.device. threads: of the CPU; None for all cores. tune: what encoding is after, psnr, ms-ssim or
        ssimulacra2; None: what the model was trained for. Raises WeightsError, DeviceError, UsageError.
        """
        config = registry.find(model, revision)
        registry.check_tune(tune or "psnr")
        device = chosen_device(config, str(device), threads)
        return cls(config, device, threads, registry.source_of(config), tune)

    def to(self, device: Any) -> Codec:
        """Move the codec to another device, as from_pretrained takes it, and return it. Raises DeviceError."""
        chosen = chosen_device(self.config, str(device), self._threads)
        with self._lock:
            if str(chosen) != str(self.device):
                self._load(chosen)
        return self

    def save_pretrained(self, folder: str | PathLike[str], *, overwrite: bool = False) -> None:
        """Write the model's folder, so that from_pretrained(folder) and `-m folder` load it.

        Raises OutputError where the folder holds a model and `overwrite` is off.
        """
        registry.copy(self.config, Path(folder), overwrite)

    def push_to_hub(self, repository: str, *, revision: str | None = None, private: bool = False) -> str:
        """Upload the model to ORG/NAME on the Hugging Face Hub, in one commit, and return the commit's address.

        A repository that does not exist is created. Raises WeightsError, UsageError.
        """
        return registry.push(self.config, repository, revision, private)

    @overload
    def encode(
        self,
        picture: list[Any] | tuple[Any, ...],
        options: EncodeOptions | None = None,
        **changes: Unpack[EncodeChanges],
    ) -> list[bytes]: ...
    @overload
    def encode(
        self,
        picture: Picture | str | PathLike[str] | BinaryIO | Image.Image,
        options: EncodeOptions | None = None,
        **changes: Unpack[EncodeChanges],
    ) -> bytes: ...
    @overload
    def encode(
        self, picture: np.ndarray | Tensor, options: EncodeOptions | None = None, **changes: Unpack[EncodeChanges]
    ) -> Any: ...
    def encode(self, picture: Any, options: EncodeOptions | None = None, **changes: Unpack[EncodeChanges]) -> Any:
        """The bytes of a .vitc file of the picture.

        picture: a path, a file of an image, a Picture, a Pillow image, an array (H, W, 3), (H, W, 4) or (H, W) or a
        tensor (3, H, W); uint8 from 0 to 255, or floats from 0 to 1. Lists, tuples, and arrays and tensors of four
        dimensions are batches: they give a list of files. A tensor may be on any device.

        The file holds tokens, or, where that is smaller, the pixels themselves; `coding` asks for one of them. Raises
        UsageError, LimitError, InputError for what is no picture.
        """
        from . import conversion

        chosen = encode_options(options, changes)
        if conversion.is_batch(picture):
            return [self._encode(one, chosen) for one in conversion.as_pictures(picture)]
        return self._encode(conversion.as_picture(picture), chosen)

    def encode_tokens(
        self, picture: PictureLike, options: EncodeOptions | None = None, **changes: Unpack[EncodeChanges]
    ) -> Tokens:
        """The tokens that `encode` writes with coding="tokens", without writing them. Raises as `encode` does."""
        from .conversion import as_picture

        chosen, one = encode_options(options, changes), as_picture(picture)
        with self._lock:
            return self._coder.encoder.tokens(one, chosen)

    @overload
    def decode(
        self,
        data: list[Encoded] | list[Tokens] | tuple[Encoded | Tokens, ...],
        options: DecodeOptions | None = None,
        **changes: Unpack[DecodeChanges],
    ) -> list[Picture]: ...
    @overload
    def decode(
        self, data: Encoded | Tokens, options: DecodeOptions | None = None, **changes: Unpack[DecodeChanges]
    ) -> Picture: ...
    def decode(self, data: Any, options: DecodeOptions | None = None, **changes: Unpack[DecodeChanges]) -> Any:
        """The picture of a .vitc file, or of Tokens; of a list, a list of pictures.

        data: the file's bytes, a seekable stream, its path, or its contents as `read` or `vitcodec.salvage` return
        them. Erased tokens are filled in. Raises FormatError, UnsupportedError, LimitError, WeightsError, UsageError,
        InputError.
        """
        chosen = decode_options(options, changes)
        if isinstance(data, list | tuple):
            return [self.decode(one, chosen) for one in data]
        if isinstance(data, Tokens):
            self._check(data.header)
            with self._lock:
                return self._coder.decoder.decode_tokens(data, chosen)
        contents = self.read(data, chosen)
        if contents.header.lossless:
            return LosslessCodec().decode(contents, chosen)
        self._check(contents.header)
        with self._lock:
            return self._coder.decoder.decode(contents, chosen)

    def compress(self, tokens: Tokens) -> bytes:
        """The bytes of a .vitc file of tokens. Raises WeightsError where they are another model's, LimitError."""
        self._check(tokens.header)
        with self._lock:
            return container.pack(self._coder.encoder.compress(tokens))

    def decompress(self, data: Encoded, reduce: int = 0) -> Tokens:
        """The tokens of a file, exact on every device.

        `reduce` leaves out that many of the finest levels. Raises as decode does, and UsageError for a lossless file,
        which has none; Codec.info(data).header.lossless tells.
        """
        contents = self.read(data, DecodeOptions(reduce))
        if contents.header.lossless:
            raise UsageError("the file is lossless and has no tokens; encode the picture with coding='tokens'")
        self._check(contents.header)
        with self._lock:
            bands = self._coder.decoder.tokens(contents, reduce)
        return Tokens(bands, contents.header, contents.metadata)

    def encode_latents(self, images: Tensor, quality: int = EncodeOptions.quality) -> Tensor:
        """Images to continuous latents, with a gradient: the tokens before they are rounded.

        images: (B, 3, H, W), 0 to 1, on any device; sides are padded to multiples of 32 by repeating the border.
        Returns (B, 768, H/16, W/16), in quantisation steps, in the channel order of Tokens.to_grid, on the codec's
        device. Needs torch and the model's weights in floating point. Raises InputError, UsageError, WeightsError.
        """
        return self._latents().encode(images, quality)

    def decode_latents(self, latents: Tensor, quality: int = EncodeOptions.quality) -> Tensor:
        """Latents, rounded or not, to images, with a gradient.

        latents: (B, 768, h, w) -> (B, 3, 16 h, 16 w), 0 to 1 and a little beyond, not clamped. Of whole numbers it
        makes the picture that `decode` makes, but for the adaptive filter, the enhancement and the rounding of pixels.
        Raises as encode_latents does.
        """
        return self._latents().decode(latents, quality)

    def attention_maps(
        self, picture: PictureLike, token: tuple[int, int] | None = None, quality: int = EncodeOptions.quality
    ) -> list[AttentionMap]:
        """What a token of a picture attends to in the analysis: a map of each block with attention, in order.

        token: one of its pixels, (x, y); None: the token whose pixels vary most. Needs what encode_latents needs.
        Raises UsageError for a pixel outside, InputError for a picture smaller than a token, WeightsError.
        """
        from . import attention, conversion

        return attention.attention_maps(self._latents(), conversion.as_picture(picture).rgb, token, quality)

    def read(self, source: Encoded, options: DecodeOptions | None = None, name: str | None = None) -> Contents:
        """The parts of a .vitc file that `decode` needs for the same options, and no others.

        name: how messages call the file. Raises as decode does.
        """
        if isinstance(source, Contents):
            return source
        options = options or DecodeOptions()
        stream, name = stream_of(source, name)
        if options.region is None:
            return container.unpack(stream, options.reduce + 1, name)
        start = stream.tell()
        header = container.read_header(stream, name)
        stream.seek(start)
        if header.lossless:
            return LosslessCodec().read(stream, options, name)
        plan = self._coder.decoder.plan(header, options)
        return container.unpack(stream, plan.finest, name, plan.tiles)

    @staticmethod
    def info(source: Source | str | PathLike[str], name: str | None = None) -> container.Layout:
        """What a .vitc file holds, without decoding it: its header and where every chunk lies.

        Raises FormatError, UnsupportedError, LimitError, InputError.
        """
        stream, name = stream_of(source, name)
        return container.describe(stream, name)

    def __repr__(self) -> str:
        return f"Codec({self.name!r}, device={str(self.device)!r}, engine={self.engine!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickled, (self._source, str(self.device), self._threads, self.tune, self.config.identity)

    def _load(self, device: Any) -> None:
        from .pipeline.loading import load

        self._coder = load(replace(self.config, tune=self.tune), str(device), self._threads)
        self.device, self.engine, self.reason = device, self._coder.engine, self._coder.reason
        self._found_latents: Any = None
        if not self.config.integers:
            self.autoencoder = self._coder.decoder.transform.autoencoder  # type: ignore[attr-defined]

    def _encode(self, picture: Picture, options: EncodeOptions) -> bytes:
        with self._lock:
            contents = self._coder.encoder.encode(picture, options)
        return container.pack(contents)

    def _latents(self) -> Any:
        with self._lock:
            if self._found_latents is None:
                try:
                    from .latents import Latents
                except ImportError as error:
                    raise without_torch(self.config, str(self.device)) from error

                self._found_latents = Latents.of(self.config, str(self.device))
            return self._found_latents

    def _check(self, header: Header) -> None:
        if header.weights != self.config.identity:
            raise WeightsError(
                f"the file was made with other weights (model '{header.model}', {header.weights.hex()}), not with "
                f"'{self.name}' ({self.config.identity.hex()}); get that version of '{header.model}' and give it as "
                "-m local-dir:PATH"
            )


def _unpickled(source: str, device: str, threads: int | None, tune: str, identity: bytes) -> Codec:
    codec = Codec.from_pretrained(source, device, threads, tune=tune)
    if codec.config.identity != identity:
        raise WeightsError(f"model '{source}' has other weights here than where it was pickled; install the same")
    return codec
