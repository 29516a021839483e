"""Shards in memory, until they are whole and are written at once."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from typing import Any

import numpy as np

from .samples import SAFETENSORS, Manifest, Sample, pack_array

MANIFEST = "__vitcodec__"  # first member of a tar; WebDataset passes over names between double underscores
METADATA = "vitcodec"  # key of the manifest among the metadata of a safetensors file
_BLOCK = 512  # bytes to which a tar rounds up


class TarShard:
    """A WebDataset shard: KEY.cls (with a label), KEY.json and KEY.npz of each sample, in this order."""

    def __init__(self) -> None:
        self.samples = dict[str, list[tuple[str, bytes]]]()  # by key: suffixes and what the files hold
        self.size = 0  # bytes, about

    @property
    def keys(self) -> list[str]:
        return list(self.samples)

    def add(self, sample: Sample) -> int:
        """Returns the bytes that its tokens take."""
        array = pack_array(sample.tokens)
        parts = [] if sample.label is None else [("cls", str(sample.label).encode())]
        parts += [("json", json.dumps(dict(sample.info)).encode()), ("npz", array)]
        self.samples[sample.key] = parts
        self.size += sum(2 * _BLOCK + len(data) for _, data in parts)
        return len(array)

    def pack(self, manifest: Manifest) -> bytes:
        """The bytes of the file; the same samples give the same bytes."""
        files = [(f"{key}.{suffix}", data) for key, parts in self.samples.items() for suffix, data in parts]
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for name, data in [(MANIFEST, manifest.to_json().encode()), *files]:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
        return buffer.getvalue()


class SafetensorsShard:
    """A tensor for each sample; its label, its other information and a checksum are in the metadata."""

    def __init__(self) -> None:
        self.tensors = dict[str, np.ndarray]()
        self.info = dict[str, dict[str, Any]]()
        self.size = 0

    @property
    def keys(self) -> list[str]:
        return list(self.tensors)

    def add(self, sample: Sample) -> int:
        """Returns the bytes that its tokens take."""
        tokens = np.ascontiguousarray(sample.tokens)
        label = {} if sample.label is None else {"label": sample.label}
        self.info[sample.key] = {**sample.info, **label, "crc32": zlib.crc32(tokens.data)}
        self.tensors[sample.key] = tokens
        self.size += tokens.nbytes
        return tokens.nbytes

    def pack(self, manifest: Manifest) -> bytes:
        """The bytes of the file; the same samples give the same bytes."""
        from safetensors.numpy import save

        return save(self.tensors, {METADATA: manifest.to_json(info=self.info)})


def new_shard(suffix: str) -> TarShard | SafetensorsShard:
    """An empty shard for a file of that suffix."""
    return SafetensorsShard() if suffix == SAFETENSORS else TarShard()
