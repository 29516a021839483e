"""Shards as lists of samples: what is where is read once, from headers; a sample is read when it is asked for.

No file stays open between two samples, so that shards may be pickled, and shared by threads and processes.
"""

from __future__ import annotations

import functools
import json
import os
import tarfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from ..errors import FormatError, InputError
from ..filesystem.streams import unreadable
from ..filesystem.suffixes import SUFFIX
from .samples import SAFETENSORS, TAR, Manifest, Sample, checked, grid_of, unpack_array
from .writing import MANIFEST, METADATA

if TYPE_CHECKING:
    from ..codec import Codec

Place = tuple[int, int]  # offset and length in bytes
_ADVICE = "write it again, or get a complete copy"
_ARRAYS = ("npz", "npy")


@dataclass
class Shard(ABC):
    """The samples of a file.

    manifest: what vitcodec wrote of it, None for files of other origin. damage: why samples are not there, or "".
    """

    path: Path
    keys: list[str]
    manifest: Manifest | None = None
    damage: str = ""

    def __len__(self) -> int:
        return len(self.keys)

    def sample(self, index: int) -> Sample:
        """Raises InputError where the file cannot be read any more, FormatError where the sample is damaged."""
        try:
            with open(self.path, "rb") as stream:
                return self._read(stream, index)
        except OSError as error:
            raise unreadable(self.path, error) from error
        except (FormatError, ValueError) as error:
            reason = error if isinstance(error, FormatError) else "damaged (its information is not readable)"
            raise FormatError(f"{self.path}: sample '{self.keys[index]}' is {reason}; {_ADVICE}") from error

    @abstractmethod
    def _read(self, stream: BinaryIO, index: int) -> Sample: ...


@dataclass
class TarSamples(Shard):
    """places: of each sample by suffix."""

    places: tuple[dict[str, Place], ...] = ()

    def _read(self, stream: BinaryIO, index: int) -> Sample:
        places = self.places[index]
        suffix = next(s for s in _ARRAYS if s in places)
        info = json.loads(_at(stream, places["json"])) if "json" in places else {}
        label = int(_at(stream, places["cls"])) if "cls" in places else None
        return Sample(self.keys[index], unpack_array(_at(stream, places[suffix]), suffix), info, label)


@dataclass
class SafetensorsSamples(Shard):
    """places: of each tensor, with its shape."""

    places: tuple[tuple[Place, tuple[int, ...]], ...] = ()
    info: tuple[dict[str, Any], ...] = ()

    def _read(self, stream: BinaryIO, index: int) -> Sample:
        place, shape = self.places[index]
        info = dict(self.info[index])
        data, crc, label = _at(stream, place), info.pop("crc32", None), info.pop("label", None)
        if crc is not None and crc != zlib.crc32(data):
            raise FormatError("damaged (its checksum is wrong)")
        return Sample(self.keys[index], checked(np.frombuffer(bytearray(data), "<i2").reshape(shape)), info, label)


@dataclass
class CodedSample(Shard):
    """A .vitc file: its tokens are decoded, which takes as long as half of decoding pixels."""

    def _read(self, stream: BinaryIO, index: int) -> Sample:
        from ..bitstream import container

        contents = container.unpack(stream, 1, str(self.path))
        header = contents.header
        if header.lossless:
            raise FormatError("lossless and has no tokens (encode it with --tokens)")
        bands = _codec(header.model, header.weights, os.getpid()).decompress(contents).bands
        return Sample(self.keys[index], grid_of(bands, str(self.path)), info_of(header))


def info_of(header: Any) -> dict[str, Any]:
    """What a sample says of its picture, by a bitstream Header."""
    return {
        "width": header.width,
        "height": header.height,
        "quality": header.quality,
        "gray": header.gray,
        "model": header.model,
        "weights": header.weights.hex(),
    }


@functools.lru_cache(maxsize=4)
def _codec(model: str, weights: bytes, process: int) -> Codec:
    """Loaded once in a process: engines do not survive a fork."""
    from ..codec import Codec
    from ..pretrained import registry

    return Codec.from_pretrained(registry.resolve(model, weights), "cpu", 1)


def open_shard(path: Path) -> Shard:
    """The samples of a .tar, .safetensors or .vitc file; those that are whole, of a file that is cut off or damaged.

    Raises InputError where nothing can be read.
    """
    try:
        if path.suffix == SUFFIX:
            path.stat()
            return CodedSample(path, [path.stem])
        return _open_safetensors(path) if path.suffix == SAFETENSORS else _open_tar(path)
    except OSError as error:
        raise unreadable(path, error) from error


def manifest_of(path: Path) -> Manifest | None:
    """What a shard says of itself, without a look at its samples; None where vitcodec did not write it.

    Raises InputError where it cannot be read or has no end.
    """
    if path.suffix == SAFETENSORS:
        return open_shard(path).manifest
    try:
        with open(path, "rb") as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            first = tar.next()
            data = tar.extractfile(first) if first and first.name == MANIFEST else None
            found = Manifest.from_json(data.read()) if data else None
            stream.seek(max(0, stream.seek(0, os.SEEK_END) - 2 * tarfile.BLOCKSIZE))
            if any(stream.read()):
                raise InputError(f"{path}: is cut off; delete it, and its samples are made again")
            return found
    except tarfile.TarError as error:
        raise InputError(f"{path}: is no tar, or damaged; delete it, and its samples are made again") from error
    except OSError as error:
        raise unreadable(path, error) from error


def _at(stream: BinaryIO, place: Place) -> bytes:
    stream.seek(place[0])
    data = stream.read(place[1])
    if len(data) != place[1]:
        raise FormatError("cut off")
    return data


def _open_tar(path: Path) -> TarSamples:
    with open(path, "rb") as stream:
        size, manifest, damage = stream.seek(0, os.SEEK_END), None, ""
        stream.seek(0)
        found: dict[str, dict[str, Place]] = {}
        try:
            end = _scan(stream, found)
        except tarfile.ReadError as error:
            if not found:
                raise InputError(
                    f"{path}: is no tar, is compressed, or is damaged from its start; {_ADVICE}"
                ) from error
            end = size
        stream.seek(end)
        if (block := stream.read(tarfile.BLOCKSIZE)) != bytes(tarfile.BLOCKSIZE):
            damage = "is cut off" if len(block) < tarfile.BLOCKSIZE else f"is damaged at byte {end:,}"
            if block:  # goes on behind the damage
                stream.seek(0)
                _scan(stream, found, resume=True)
        if MANIFEST in found:
            manifest = Manifest.from_json(_at(stream, found[MANIFEST][""]))
    whole = {
        key: places
        for key, places in found.items()
        if any(s in places for s in _ARRAYS) and all(offset + length <= size for offset, length in places.values())
    }
    if damage:
        damage = f"{path}: {damage}; {len(whole):,}{_of(manifest)} samples can be read; {_ADVICE}"
    return TarSamples(path, list(whole), manifest, damage, tuple(whole.values()))


def _of(manifest: Manifest | None) -> str:
    return f" of {len(manifest.keys):,}" if manifest else ""


def _scan(stream: BinaryIO, found: dict[str, dict[str, Place]], resume: bool = False) -> int:
    """Where each member lies, by key and suffix. resume: past what is no header. Returns where it stopped.

    Raises tarfile.ReadError where the tar ends within a member, which then is in `found` all the same.
    """
    with tarfile.open(fileobj=stream, mode="r:", ignore_zeros=resume) as tar:
        for member in _members(tar, resume):
            if member.isfile():
                folder, slash, name = member.name.rpartition("/")
                stem, _, suffix = name.partition(".")
                found.setdefault(f"{folder}{slash}{stem}", {})[suffix.lower()] = (member.offset_data, member.size)
            tar.members = []  # type: ignore[attr-defined]  # which would keep all headers
        return tar.offset


def _members(tar: tarfile.TarFile, forgive: bool) -> Iterator[tarfile.TarInfo]:
    while True:
        try:
            member = tar.next()
        except tarfile.ReadError:
            if forgive:
                return
            raise
        if member is None:
            return
        yield member


def _open_safetensors(path: Path) -> SafetensorsSamples:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:  # checks that all tensors are in the file
            metadata = file.metadata() or {}
    except FileNotFoundError:
        raise
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: is cut off or damaged ({error}); {_ADVICE}") from error
    with open(path, "rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        header = json.loads(stream.read(length))
    header.pop("__metadata__", None)
    start, text = 8 + length, metadata.get(METADATA, "")
    manifest = Manifest.from_json(text)
    info = json.loads(text)["info"] if manifest else {}
    # in the order in which they were written, which the file does not keep
    keys = [key for key in (manifest.keys if manifest else sorted(header)) if key in header]
    keys = [key for key in keys if header[key]["dtype"] == "I16"]
    spans = [(header[key]["data_offsets"], tuple(header[key]["shape"])) for key in keys]
    places = tuple(((start + first, last - first), shape) for (first, last), shape in spans)
    return SafetensorsSamples(path, keys, manifest, "", places, tuple(info.get(key, {}) for key in keys))


def is_shard(path: Path) -> bool:
    """Whether a file's name is that of a shard or a .vitc file."""
    return path.suffix in (TAR, SAFETENSORS, SUFFIX)
