"""Peak memory and time of whole commands on large pictures, by effort: encode, decode, a reduced picture, a region.

The picture is a mosaic of the photographs in examples/, as a JPEG file; each command runs in a process of its own,
start-up and reading and writing of files included. Efforts and sizes that are not asked for keep their results, so
that they can be measured one by one.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image

from vitcodec.options import EFFORTS, EncodeOptions

from ..harness import one
from ..images import LARGE, mosaic
from ..process import measured
from ..store import Results


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--size", nargs="+", metavar="WxH", help=f"pixels of the picture; several [default: {LARGE}]")


def run(arguments: argparse.Namespace) -> Results:
    quality = one(arguments.qualities, EncodeOptions.quality, "quality")
    efforts = arguments.effort or ([1] if arguments.quick else EFFORTS)
    store, kept = arguments.store, arguments.store.previous()
    entries = {(e["size"], e["effort"]): e for e in kept.get("entries", []) if e["quality"] == quality}
    alone = {**measured("-c", "import torch"), "provenance": store.provenance()}
    for size in arguments.size or (["256x192"] if arguments.quick else [LARGE]):
        for effort in efforts:
            entry = _measure(arguments, size, quality, effort)
            entries[size, effort] = {**entry, "provenance": store.provenance()}
            store.save(_results(alone, entries))
    return _results(alone, entries)


def _results(alone: dict[str, Any], entries: dict[tuple[str, int], dict[str, Any]]) -> Results:
    def pixels(entry: dict[str, Any]) -> tuple[int, int]:
        width, height = map(int, entry["size"].split("x"))
        return width * height, entry["effort"]

    return {"torch_alone": alone, "entries": sorted(entries.values(), key=pixels)}


def _measure(arguments: argparse.Namespace, size: str, quality: int, effort: int) -> dict[str, Any]:
    width, height = map(int, size.split("x"))
    common = [f"--device={arguments.device}", "--overwrite", "--quiet"]
    common += [f"--threads={arguments.threads}"] if arguments.threads else []
    model = one(arguments.models, None, "model")
    choice = [f"--model={model}"] if model else []
    region = f"{width // 2},{height // 2},{min(1000, width // 2)},{min(1000, height // 2)}"
    with tempfile.TemporaryDirectory(prefix="vitcodec-") as temporary:
        folder = Path(temporary)
        image, encoded = folder / "large.jpg", folder / "large.vitc"
        Image.fromarray(mosaic(width, height)).save(image, quality=92)
        decode = ("decode", str(encoded), "-o")
        commands = {
            "encode": ("encode", str(image), "-o", str(encoded), f"-q{quality}", f"--effort={effort}", *choice),
            "decode": (*decode, str(folder / "large.png")),
            "decode --reduce 3": (*decode, str(folder / "reduced.png"), "--reduce=3"),
            f"decode --region {region}": (*decode, str(folder / "region.png"), f"--region={region}"),
        }
        entry: dict[str, Any] = {"size": size, "effort": effort, "quality": quality, "commands": {}}
        for what, command in commands.items():
            entry["commands"][what] = cost = measured("-m", "vitcodec", *command, *common)
            print(f"{size}, effort {effort}, {what}: {cost['mib']} MiB, {cost['seconds']} s", flush=True)
        return {**entry, "bytes": encoded.stat().st_size}
