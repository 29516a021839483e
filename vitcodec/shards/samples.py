"""One picture's tokens as a sample of a data set, and the names that samples have in shards."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import FormatError, InputError
from ..subbands import Subbands
from ..tokens import GRID_CHANNELS, to_grid

TAR, SAFETENSORS = ".tar", ".safetensors"
FORMAT, SCHEMA_VERSION = "vitcodec tokens", 1


@dataclass(frozen=True)
class Sample:
    """tokens: int16 (768, rows, columns). info: width, height, quality, model, ... label: number of a class."""

    key: str
    tokens: np.ndarray
    info: Mapping[str, Any]
    label: int | None = None


@dataclass(frozen=True)
class Manifest:
    """What a shard says of itself: how it was made, and of what.

    settings: options that all its samples share. classes: names of the labels. keys: the samples, in order.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[str] = ()
    keys: Sequence[str] = ()

    def to_json(self, **more: Any) -> str:
        """more: further fields."""
        own = {"settings": dict(self.settings), "classes": [*self.classes], "keys": [*self.keys]}
        return json.dumps({"format": FORMAT, "schema_version": SCHEMA_VERSION, **own, **more})

    @staticmethod
    def from_json(text: str | bytes) -> Manifest | None:
        """None: it is no manifest."""
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                return None
            return Manifest(dict(found["settings"]), list(found["classes"]), [str(key) for key in found["keys"]])
        except (ValueError, KeyError, TypeError):
            return None


def key_of(relative: Path, suffix: bool = False) -> str:
    """The key of the sample of a file: its path below the input, without suffix or with it as `a_png`.

    Dots, which end a key in WebDataset, and all but letters, digits, hyphens and slashes become underscores.
    """
    name = relative if suffix else relative.with_suffix("")
    return re.sub(r"[^\w/-]", "_", name.as_posix())


def grid_of(bands: Subbands, name: str) -> np.ndarray:
    """The tokens of one picture as int16 (768, rows, columns). Raises InputError where 16 bits are not enough."""
    grid = np.asarray(to_grid(bands))[0]
    narrow = grid.astype(np.int16)
    if not np.array_equal(narrow, grid):
        raise InputError(f"{name}: has tokens of more than 16 bits; encode it at a lower quality")
    return narrow


def pack_array(tokens: np.ndarray) -> bytes:
    """The bytes of an .npz: most tokens are zero, so that deflating them pays."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, tokens=tokens)
    return buffer.getvalue()


def unpack_array(data: bytes, suffix: str) -> np.ndarray:
    """The tokens of an .npz or .npy. Raises FormatError, without the name of the sample."""
    try:
        found = np.load(io.BytesIO(data), allow_pickle=False)
        return checked(found["tokens"] if suffix == "npz" else found)
    except FormatError:
        raise
    except Exception as error:  # zipfile, zlib and NumPy raise nearly everything for damaged bytes
        raise FormatError(f"damaged ({' '.join(str(error).split())})") from error


def checked(tokens: Any) -> np.ndarray:
    """Raises FormatError for what are no tokens."""
    if tokens.dtype != np.int16 or tokens.ndim != 3 or tokens.shape[0] != GRID_CHANNELS or not tokens.size:
        shape = f"int16 ({GRID_CHANNELS}, rows, columns)"
        raise FormatError(f"no tokens: {shape} is wanted, and {tokens.dtype} {tokens.shape} found")
    return np.asarray(tokens)
