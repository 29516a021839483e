"""Decodes .vitc files on one engine and prints the SHA-256 of tokens and pixels: a process of the suite `exact`.

    python -m benchmarks.decoding FOLDER MODEL ENGINE THREADS DEVICE REGIONS

ENGINE: onnxruntime, torch or reference. The last is slow, and takes small pictures alone. REGIONS: how many of each
picture are compared with the whole.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from vitcodec.codec import Codec
from vitcodec.engines.reference import ReferenceEngine
from vitcodec.pipeline import loading
from vitcodec.subbands import CODING_ORDER, LEVELS
from vitcodec.tiles import Region

MOST_PIXELS = 96 * 96  # that the reference takes


def codec_on(model: str, engine: str, threads: int, device: str) -> Codec:
    """A codec on the engine asked for. Raises SystemExit where it is another one."""
    chosen = loading.engine_for

    def engine_for(integers: Any, *arguments: Any) -> tuple[Any, str, str]:
        if engine == "onnxruntime":
            return chosen(integers, *arguments)
        if engine == "reference":
            return ReferenceEngine(integers.networks()), "reference", ""
        import torch

        from vitcodec.engines.torch import TorchEngine

        torch.set_num_threads(threads)
        return TorchEngine(integers.networks(), device), "torch", ""

    loading.engine_for = engine_for
    codec = Codec.from_pretrained(model, device, threads)
    if codec.engine != engine:
        raise SystemExit(f"{codec.engine} in place of {engine}: {codec.reason}")
    return codec


def digest(*arrays: np.ndarray) -> str:
    return hashlib.sha256(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays)).hexdigest()[:16]


def hashes(codec: Codec, data: bytes, regions: int) -> dict[str, str]:
    """Of tokens, pixels and reduced pictures; "regions": which differ from the whole, if any does."""
    tokens, whole = codec.decompress(data).bands, codec.decode(data).rgb
    header = codec.info(data).header
    rng, wrong = np.random.default_rng(header.width * 65537 + header.height), []
    for _ in range(regions):
        x, y = int(rng.integers(header.width)), int(rng.integers(header.height))
        region = Region(x, y, int(rng.integers(1, header.width - x + 1)), int(rng.integers(1, header.height - y + 1)))
        part = codec.decode(data, region=region).rgb
        if not np.array_equal(part, whole[y : y + region.height, x : x + region.width]):
            wrong.append(f"{region.width}x{region.height} at {x},{y}")
    return {
        "tokens": digest(*(tokens[level].astype("<i4") for level in CODING_ORDER)),
        "pixels": digest(whole),
        "reduced": digest(*(codec.decode(data, reduce=k).rgb for k in range(1, LEVELS + 1))),
        "regions": ", ".join(wrong),
    }


def main(arguments: list[str]) -> int:
    folder, model, engine, threads, device, regions = arguments
    codec = codec_on(model, engine, int(threads), device)
    found = {}
    for file in sorted(Path(folder).glob("*.vitc")):
        header = Codec.info(data := file.read_bytes()).header
        if engine != "reference" or header.width * header.height <= MOST_PIXELS:
            found[file.name] = hashes(codec, data, int(regions))
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
