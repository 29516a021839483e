"""Whether tokens and pixels of many pictures are the same on every engine, number of threads and instruction set.

Photographs of --pictures, whole and in parts, and pictures made by a program; from 1x1 pixel up, gray, with alpha, in
tiles, with qualities of tiles; several qualities and efforts. Each becomes a file, and processes of their own decode
all of them: ONNX Runtime and torch with one thread and two, torch with fewer instructions, the NumPy reference for
small pictures, torch on --device where that is no CPU. One process of each engine compares regions with the whole.
Exit code 1 if anything differs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vitcodec.bitstream import container
from vitcodec.codec import Codec
from vitcodec.errors import InputError, VitcodecError
from vitcodec.images import Picture, read_image
from vitcodec.options import TILE_SIDES, EncodeOptions
from vitcodec.regions import Plan
from vitcodec.tiles import TileGrid

from ..generated import pictures
from ..harness import one
from ..images import EXAMPLES, SUFFIXES
from ..store import Results

COUNT = 60
REGIONS = 3  # of each picture
WHOLE = 9  # pictures that are taken whole, of those that are large
SIDES = (
    (1, 1),
    (1, 2),
    (2, 1),
    (3, 5),
    (15, 16),
    (16, 16),
    (17, 17),
    (31, 33),
    (33, 64),
    (1, 200),
    (200, 1),
    (65, 129),
)
QUALITIES = (1, 10, 25, 40, 50, 60, 75, 90, 95, 100)
EFFORTS = (1, 3)
FEWER = {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}
# what decodes the files: engine, threads, environment; the first is what the others are compared with
WAYS: tuple[tuple[str, int, dict[str, str]], ...] = (
    ("onnxruntime", 1, {}),
    ("onnxruntime", 2, {}),
    ("onnxruntime", 1, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ("torch", 1, {}),
    ("torch", 2, {}),
    ("torch", 1, {"ONEDNN_MAX_CPU_ISA": "AVX2"}),
    ("torch", 1, FEWER),
    ("reference", 1, {}),
)


@dataclass(frozen=True)
class Case:
    """A picture and how it is encoded."""

    name: str
    picture: Picture
    options: EncodeOptions
    qualities: np.ndarray | None = None  # of the tiles


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--pictures", type=Path, nargs="+", metavar="PATH", help="images or folders [default: examples]"
    )


def run(arguments: argparse.Namespace) -> Results:
    model = one(arguments.models, None, "model")
    count = 6 if arguments.quick else arguments.count or COUNT
    codec = Codec.from_pretrained(model, "cpu", 1)
    ways = list(WAYS) + ([("torch", 1, {})] if arguments.device != "cpu" else [])
    with tempfile.TemporaryDirectory(prefix="vitcodec-") as temporary:
        folder, files = Path(temporary), []
        for number, case in enumerate(cases(count, arguments.pictures or [EXAMPLES], arguments.quick)):
            data = encoded(codec, case)
            (folder / f"{number:03}.vitc").write_bytes(data)
            height, width = case.picture.rgb.shape[:2]
            files.append({"name": case.name, "width": width, "height": height, "bytes": len(data), **settings(case)})
            print(f"{number + 1}/{count} {case.name}: {len(data):,} bytes", flush=True)
        known: dict[str, dict[str, str]] = {}
        rows, failures = [], []
        for number, (engine, threads, environment) in enumerate(ways):
            device = arguments.device if number == len(WAYS) else "cpu"
            began = time.perf_counter()
            found = decoded(folder, model, engine, threads, device, environment)
            known = known or found
            wrong = differences(known, found)
            title = " ".join(
                [f"{engine} on {device}, {threads} threads", *(f"{k}={v}" for k, v in environment.items())]
            )
            seconds = round(time.perf_counter() - began, 1)
            rows.append({"way": title, "files": len(found), "differences": len(wrong), "seconds": seconds})
            print(rows[-1], flush=True)
            failures += [f"{title}: {files[int(what[:3])]['name']}: {what}" for what in wrong]
    return {"files": files, "ways": rows, "failures": failures}


def settings(case: Case) -> dict[str, Any]:
    options = case.options
    tiles = None if case.qualities is None else [int(q) for q in case.qualities]
    return {"quality": tiles or options.quality, "effort": options.effort, "tile": options.tile}


def encoded(codec: Codec, case: Case) -> bytes:
    """A file of tokens; what it holds is what the encoder chose. Raises VitcodecError where it is not."""
    if case.qualities is not None:
        height, width = case.picture.rgb.shape[:2]
        plan = Plan(TileGrid(width, height, case.options.tile or TILE_SIDES[0]), case.qualities)
        options = replace(case.options, quality=int(case.qualities.max()))  # a file of one tile has but this
        return container.pack(codec._coder.encoder._encode_tokens(case.picture, options, plan))
    data = codec.encode(case.picture, case.options)
    chosen = codec.encode_tokens(case.picture, case.options).bands
    if not all(np.array_equal(a, b) for a, b in chosen.zip(codec.decompress(data).bands)):
        raise VitcodecError(f"{case.name}: other tokens come back than the encoder chose")
    return data


def decoded(
    folder: Path, model: str | None, engine: str, threads: int, device: str, environment: dict[str, str]
) -> dict[str, dict[str, str]]:
    """The hashes of every file. Raises VitcodecError."""
    regions = 0 if environment or threads > 1 else REGIONS
    arguments = [str(folder), model or "", engine, str(threads), device, str(regions)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)} | environment
    command = [sys.executable, "-m", "benchmarks.decoding", *arguments]
    result = subprocess.run(command, capture_output=True, text=True, env=environment)
    if result.returncode:
        raise VitcodecError(f"decoding with {engine} ended with {result.returncode}: {result.stderr.strip()[-400:]}")
    return json.loads(result.stdout)


def differences(known: dict[str, dict[str, str]], found: dict[str, dict[str, str]]) -> list[str]:
    """Which files differ, and in what."""
    wrong = [
        f"{file}: other {what}"
        for file, own in found.items()
        for what in ("tokens", "pixels", "reduced")
        if own[what] != known[file][what]
    ]
    return wrong + [
        f"{file}: other pixels in regions {own['regions']}" for file, own in found.items() if own["regions"]
    ]


def cases(count: int, paths: list[Path], quick: bool) -> Iterator[Case]:
    """So many pictures: a third photographs, a third parts of them of odd sizes, a third made by a program."""
    rng = np.random.default_rng(0)
    photographs = [
        f for path in paths for f in sorted([path] if path.is_file() else path.rglob("*")) if f.suffix in SUFFIXES
    ]
    if not photographs:
        raise InputError(f"{paths[0]}: no images there")
    third = count // 3
    chosen = photographs[:: max(1, len(photographs) // third)]
    for k in range(count):
        quality, effort = QUALITIES[k % len(QUALITIES)], EFFORTS[k // 2 % 2]
        tile, qualities = [None, *TILE_SIDES][k % 5], None
        file = chosen[k % len(chosen)]
        if k < third:
            picture = read_image(file)
            if (k >= WHOLE or quick) and max(picture.rgb.shape) > 192:
                picture = part(picture, int(rng.integers(64, 320)), int(rng.integers(64, 320)), rng)
            name = f"{file.name}"
        elif k < 2 * third:
            height, width = SIDES[(k - third) % len(SIDES)] if k < third + len(SIDES) else rng.integers(1, 300, 2)
            picture, name = part(read_image(file), int(height), int(width), rng), f"part of {file.name}"
        else:
            (made,) = pictures(1, first=k)
            picture, name = Picture(made.rgb, gray=made.gray), made.name
        height, width = picture.rgb.shape[:2]
        if k % 7 == 3:
            picture = Picture(picture.rgb, np.asarray(Image.fromarray(picture.rgb).convert("L")))
            name += ", alpha"
        if k % 9 == 4:
            picture = Picture(np.repeat(picture.rgb[..., 1:2], 3, -1), picture.alpha, True)
            name += ", gray"
        if k % 6 == 5:
            tile, qualities = 128, rng.integers(1, 101, -(-width // 128) * -(-height // 128))
            name += ", qualities of tiles"
        yield Case(name, picture, EncodeOptions(quality, effort, tile=tile, coding="tokens"), qualities)


def part(picture: Picture, height: int, width: int, rng: np.random.Generator) -> Picture:
    """A random part of these sides, or less where the picture ends."""
    top, left = (
        int(rng.integers(max(1, n - wanted + 1)))
        for n, wanted in zip(picture.rgb.shape[:2], (height, width), strict=True)
    )
    return Picture(np.ascontiguousarray(picture.rgb[top : top + height, left : left + width]), None, picture.gray)
