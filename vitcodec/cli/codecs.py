"""Where the commands get their codec from: the one seam between the command line and the model.

Commands call these functions through the module, `codecs.load_codec(...)`, so that a program can put another codec in
their place before it calls `vitcodec.cli.main`. The tests do so. vitcodec.codec and torch are imported on the first
call, so that what needs no model starts at once.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..bitstream.header import Header
from ..errors import WeightsError
from ..pretrained import registry

if TYPE_CHECKING:
    from ..codec import Codec
    from ..lossless import LosslessCodec


def load_lossless() -> LosslessCodec:
    """The codec of lossless files, for which neither a model nor torch is loaded."""
    from ..lossless import LosslessCodec

    return LosslessCodec()


def load_codec(model: str | None, device: str, threads: int | None, tune: str | None = None) -> Codec:
    """The codec of a model on a device, as Codec.from_pretrained gives it. Raises WeightsError, DeviceError."""
    from ..codec import Codec

    return Codec.from_pretrained(model, device, threads, tune=tune)


class Decoders:
    """The codecs that decode files, each loaded when the first of its files comes."""

    def __init__(self, model: str | None, device: str, threads: int | None, loaded: Callable[[Codec], None]):
        """model: None for those that the files name. loaded: told of every codec that was loaded."""
        self.model, self.device, self.threads, self.loaded = model, device, threads, loaded
        self._codecs: dict[str, Codec] = {}
        self._loading = threading.Lock()

    def of(self, header: Header) -> Codec | LosslessCodec:
        """The codec of a file. Raises WeightsError, DeviceError."""
        if header.lossless:
            return load_lossless()
        name = self.model or registry.resolve(header.model, header.weights)
        with self._loading:
            if name not in self._codecs:
                self._codecs[name] = self._load(header, name)
                self.loaded(self._codecs[name])
        return self._codecs[name]

    def _load(self, header: Header, name: str) -> Codec:
        try:
            return load_codec(name, self.device, self.threads)
        except WeightsError as error:
            if self.model is not None:
                raise
            needed = f"it needs the model '{header.model}' (weights {header.weights.hex()})"
            raise WeightsError(f"{needed}: {error}") from error


def describe_device(name: str) -> tuple[str, str]:
    """The device that `name` stands for, and why it is that one: what -v says. Raises DeviceError."""
    from ..parallel import may_have_gpu

    if name == "auto" and not may_have_gpu():
        return "cpu", "no GPU was found"
    if name == "cpu":
        return "cpu", "asked for"
    from ..devices import choose

    device, reason = choose(name)
    return str(device), reason
