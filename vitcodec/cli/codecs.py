"""Where the commands get their codec from: the one seam between the command line and the model.

Commands call these functions through the module, `codecs.load_codec(...)`, so that a program can put another codec in
their place before it calls `vitcodec.cli.main`. The tests do so. vitcodec.codec and torch are imported on the first
call, so that what needs no model starts at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..codec import Codec
    from ..lossless import LosslessCodec


def load_lossless() -> LosslessCodec:
    """The codec of lossless files, for which neither a model nor torch is loaded."""
    from ..lossless import LosslessCodec

    return LosslessCodec()


def load_codec(model: str | None, device: str, threads: int | None) -> Codec:
    """The codec of a model on a device, as Codec.from_pretrained gives it. Raises WeightsError, DeviceError."""
    from ..codec import Codec

    return Codec.from_pretrained(model, device, threads)


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
