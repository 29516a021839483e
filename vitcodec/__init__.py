"""Images to small .vitc files and back, with a pretrained transformer codec.

    import vitcodec

    vitcodec.encode("photo.jpg", "photo.vitc", quality=50)
    vitcodec.decode("photo.vitc", "photo.png")

For many images load the model once:

    codec = vitcodec.Codec.from_pretrained("swin")
    data = codec.encode("photo.jpg", quality=50)  # or a Pillow image, an array, a tensor
    codec.decode(data).save("photo.png")

The names in __all__ are the public ones; docs/api.md describes them. Every error that is raised on purpose is a
`vitcodec.errors.VitcodecError`. Nothing heavy is imported before it is used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "1.0.0"

# public name -> the module that it comes from, and its name there if it is another
_SOURCES = {
    "encode": "api",
    "decode": "api",
    "Codec": "codec",
    "EncodeOptions": "options",
    "DecodeOptions": "options",
    "EncodeChanges": "options",
    "DecodeChanges": "options",
    "Region": "tiles",
    "Picture": "picture",
    "PictureLike": "conversion",
    "Tokens": "tokens",
    "TokenDataset": "data",
    "IterableTokenDataset": "data",
    "register_opener": "pillow_plugin",
    "Encoded": "codec",
    "AttentionMap": "attention",
    "read_image": "images",
    "write_image": "images",
    "Subbands": "subbands",
    "Target": "target",
    "TargetResult": "target",
    "Encodes": "target",
    "encode_to_target": "target:encode",
    "Contents": "bitstream.container",
    "Layout": "bitstream.container",
    "Header": "bitstream.header",
    "Chunk": "bitstream.chunks",
    "Salvaged": "bitstream.salvage",
    "salvage": "bitstream.salvage:unpack",
    "TileGrid": "tiles",
    "Area": "tiles",
    "PretrainedConfig": "pretrained.config",
    "ContextConfig": "context.config",
    "evaluate": "evaluation.engine",
    "ImageCodec": "evaluation.engine",
    "Entrant": "evaluation.engine",
    "Report": "evaluation.results",
    "Row": "evaluation.results",
    "Mean": "evaluation.results",
    "Failure": "evaluation.results",
}

__all__ = ["__version__", "errors", *sorted(_SOURCES)]

if TYPE_CHECKING:
    from . import errors as errors
    from .api import decode as decode
    from .api import encode as encode
    from .attention import AttentionMap as AttentionMap
    from .bitstream.chunks import Chunk as Chunk
    from .bitstream.container import Contents as Contents
    from .bitstream.container import Layout as Layout
    from .bitstream.header import Header as Header
    from .bitstream.salvage import Salvaged as Salvaged
    from .bitstream.salvage import unpack as salvage  # noqa: F401
    from .codec import Codec as Codec
    from .codec import Encoded as Encoded
    from .context.config import ContextConfig as ContextConfig
    from .conversion import PictureLike as PictureLike
    from .data import IterableTokenDataset as IterableTokenDataset
    from .data import TokenDataset as TokenDataset
    from .evaluation.engine import Entrant as Entrant
    from .evaluation.engine import ImageCodec as ImageCodec
    from .evaluation.engine import evaluate as evaluate
    from .evaluation.results import Failure as Failure
    from .evaluation.results import Mean as Mean
    from .evaluation.results import Report as Report
    from .evaluation.results import Row as Row
    from .images import read_image as read_image
    from .images import write_image as write_image
    from .options import DecodeChanges as DecodeChanges
    from .options import DecodeOptions as DecodeOptions
    from .options import EncodeChanges as EncodeChanges
    from .options import EncodeOptions as EncodeOptions
    from .picture import Picture as Picture
    from .pillow_plugin import register_opener as register_opener
    from .pretrained.config import PretrainedConfig as PretrainedConfig
    from .subbands import Subbands as Subbands
    from .target import Encodes as Encodes
    from .target import Target as Target
    from .target import TargetResult as TargetResult
    from .target import encode as encode_to_target  # noqa: F401
    from .tiles import Area as Area
    from .tiles import Region as Region
    from .tiles import TileGrid as TileGrid
    from .tokens import Tokens as Tokens


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module(".errors", __name__)
    if name not in _SOURCES:
        raise AttributeError(f"module 'vitcodec' has no attribute '{name}'")
    module, _, attribute = _SOURCES[name].partition(":")
    value = getattr(importlib.import_module(f".{module}", __name__), attribute or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
