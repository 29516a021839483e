"""The facade: a model on a device, ready to encode and decode. pipeline/ does the work."""

from __future__ import annotations

import io
import threading
from os import PathLike
from typing import TYPE_CHECKING, Any, BinaryIO, Unpack

from .bitstream import container
from .bitstream.chunks import Source
from .bitstream.container import Contents
from .bitstream.header import Header
from .errors import DeviceError, UsageError, VitcodecError, WeightsError
from .images import Picture, check
from .lossless import LosslessCodec
from .options import DecodeChanges, DecodeOptions, EncodeChanges, EncodeOptions, decode_options, encode_options
from .parallel import may_have_gpu
from .pretrained import registry
from .pretrained.config import PretrainedConfig
from .subbands import Subbands

if TYPE_CHECKING:
    from .models.autoencoder import Autoencoder


class Codec:
    """A model on a device.

    Every method may be called from several threads at once; the work itself is done for one call at a time, as torch
    already uses all cores. Large pictures are worked on in blocks, so that memory beyond the picture itself depends on
    the size of a block only.

    Options are given as an object, as keywords, or both: keywords replace the object's fields.

    name, config, device: what was loaded. engine: what runs its networks, "onnxruntime" or "torch", and reason: why it
    is not onnxruntime. autoencoder: of a family in floating point, the networks, for research; they may change with any
    version.
    """

    autoencoder: Autoencoder

    def __init__(self, config: PretrainedConfig, device: Any, threads: int | None = None):
        """device: torch's, or its name. threads: of the CPU; None for all cores."""
        from .pipeline.loading import load

        self.name, self.config, self.device = config.name, config, device
        self._coder = load(config, str(device), threads)
        self.engine, self.reason = self._coder.engine, self._coder.reason
        if not config.integers:
            self.autoencoder = self._coder.decoder.transform.autoencoder  # type: ignore[attr-defined]
        self._lock = threading.Lock()

    @classmethod
    def from_pretrained(
        cls,
        model: str | PathLike[str] | None = None,
        device: Any = "auto",
        threads: int | None = None,
        *,
        revision: str | None = None,
    ) -> Codec:
        """A model with its weights.

        model: a shipped model's name, a folder, or ORG/NAME on the Hugging Face Hub; None for $VITCODEC_MODEL or else
        the default. revision: of the hub, a branch, tag or commit. device: auto, cpu, cuda[:N] or mps, or a
        torch.device. threads: of the CPU; None for all cores. Raises WeightsError, DeviceError, UsageError.
        """
        config, device = registry.find(model, revision), str(device)
        if config.integers and (device == "cpu" or (device == "auto" and not may_have_gpu())):
            return cls(config, "cpu", threads)
        try:
            import torch
        except ImportError as error:
            raise _without_torch(config, device) from error
        from .devices import choose

        if threads:
            torch.set_num_threads(threads)
        return cls(config, choose(device)[0], threads)

    def encode(self, picture: Picture, options: EncodeOptions | None = None, **changes: Unpack[EncodeChanges]) -> bytes:
        """The bytes of a .vitc file of the picture.

        It holds tokens, or, where that is smaller, the pixels themselves; `coding` asks for one of them. Raises
        UsageError, LimitError, InputError for arrays that are no 8-bit picture.
        """
        check(picture)
        chosen = encode_options(options, changes)
        with self._lock:
            contents = self._coder.encoder.encode(picture, chosen)
        return container.pack(contents)

    def encoded_tokens(
        self, picture: Picture, options: EncodeOptions | None = None, **changes: Unpack[EncodeChanges]
    ) -> Subbands:
        """The tokens that `encode` writes, as the encoder knows them: what `tokens` reads back. Raises as it does."""
        check(picture)
        chosen = encode_options(options, changes)
        with self._lock:
            return self._coder.encoder.tokens(picture, chosen)

    def decode(
        self, data: Source | Contents, options: DecodeOptions | None = None, **changes: Unpack[DecodeChanges]
    ) -> Picture:
        """The picture of a .vitc file: of its bytes, a seekable stream, or its contents as `read` or `vitcodec.salvage`
        return them.

        Erased tokens are filled in. Raises FormatError, UnsupportedError, LimitError, WeightsError, UsageError.
        """
        chosen = decode_options(options, changes)
        contents = data if isinstance(data, Contents) else self.read(data, chosen)
        if contents.header.lossless:
            return LosslessCodec().decode(contents, chosen)
        self._check(contents.header)
        with self._lock:
            return self._coder.decoder.decode(contents, chosen)

    def read(self, source: Source, options: DecodeOptions | None = None, name: str = "<bytes>") -> Contents:
        """The parts of a .vitc file that `decode` needs for the same options, and no others.

        name: how messages call the file. Raises as decode does.
        """
        options = options or DecodeOptions()
        if options.region is None:
            return container.unpack(source, options.reduce + 1, name)
        stream: BinaryIO = io.BytesIO(source) if isinstance(source, bytes | bytearray | memoryview) else source
        start = stream.tell()
        header = container.read_header(stream, name)
        stream.seek(start)
        if header.lossless:
            return LosslessCodec().read(stream, options, name)
        plan = self._coder.decoder.plan(header, options)
        return container.unpack(stream, plan.finest, name, plan.tiles)

    def tokens(self, data: Source | Contents, reduce: int = 0) -> Subbands:
        """The tokens of a file, exact on every device: int32, a batch of one.

        `reduce` leaves out that many of the finest levels. Raises as decode does, and UsageError for a lossless file,
        which has none; Codec.info(data).header.lossless tells.
        """
        options = DecodeOptions(reduce)
        contents = data if isinstance(data, Contents) else self.read(data, options)
        if contents.header.lossless:
            raise UsageError("the file is lossless and has no tokens; encode the picture with coding='tokens'")
        self._check(contents.header)
        with self._lock:
            return self._coder.decoder.tokens(contents, options.reduce)

    @staticmethod
    def info(source: Source, name: str = "<bytes>") -> container.Layout:
        """What a .vitc file holds, without decoding it: its header and where every chunk lies.

        Raises FormatError, UnsupportedError, LimitError.
        """
        return container.describe(source, name)

    def _check(self, header: Header) -> None:
        if header.weights != self.config.identity:
            raise WeightsError(
                f"the file was made with other weights (model '{header.model}', {header.weights.hex()}), not with "
                f"'{self.name}' ({self.config.identity.hex()}); get that version of '{header.model}' and give it as "
                "-m local-dir:PATH"
            )


def _without_torch(config: PretrainedConfig, device: str) -> VitcodecError:
    if config.integers:
        return DeviceError(f"device {device} needs PyTorch, which is not installed; pip install torch, or take the CPU")
    return WeightsError(
        f"model '{config.name}' computes in floating point on PyTorch, which is not installed; pip install torch"
    )
