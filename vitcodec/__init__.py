"""Images to small .vitc files and back, with a pretrained transformer codec.

    import vitcodec

    vitcodec.encode("photo.jpg", "photo.vitc", quality=50)
    vitcodec.decode("photo.vitc", "photo.png")

For many images load the model once:

    codec = vitcodec.Codec.load()
    data = codec.encode(vitcodec.read_image("photo.jpg"))
    vitcodec.write_image(codec.decode(data), "photo.png")

Every error raised on purpose is a `vitcodec.errors.VitcodecError`. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# name -> module that it comes from; "" for the module of that name itself
_SOURCES = {
    "Codec": "codec",
    "Picture": "images",
    "read_image": "images",
    "write_image": "images",
    "encode": "api",
    "decode": "api",
    "evaluate": "evaluation.engine",
    "errors": "",
}

__all__ = ["Codec", "Picture", "__version__", "decode", "encode", "errors", "evaluate", "read_image", "write_image"]

if TYPE_CHECKING:
    from . import errors
    from .api import decode, encode
    from .codec import Codec
    from .evaluation.engine import evaluate
    from .images import Picture, read_image, write_image


def __getattr__(name: str) -> Any:
    if name not in _SOURCES:
        raise AttributeError(f"module 'vitcodec' has no attribute '{name}'")
    source = _SOURCES[name]
    value = importlib.import_module(f".{source or name}", __name__)
    if source:
        value = getattr(value, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
