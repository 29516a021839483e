"""Loading tokens from shards against decoding the same pictures to pixels: pictures a second, and bytes a picture.

Without --data, parts of 256x256 pixels of the example photographs. Every figure is of one run on one machine; the
ratios are to Codec.decode with as many threads as the loader has processes. Exit code 1 if one is less than 20.
"""

from __future__ import annotations

import argparse
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from PIL import Image

from vitcodec.bitstream import container
from vitcodec.codec import Codec
from vitcodec.data import TokenDataset
from vitcodec.images import read_image
from vitcodec.options import EncodeOptions
from vitcodec.picture import Picture
from vitcodec.shards.reading import info_of
from vitcodec.shards.samples import SAFETENSORS, TAR, Manifest, Sample, grid_of
from vitcodec.shards.writing import new_shard

from ..harness import one
from ..images import image_files, mosaic
from ..store import Results

SIDE, PICTURES, BATCH = 256, 12, 4
SECONDS = 2.0  # for which a loader runs at least, again and again over the same pictures
LEAST = 20  # times as many pictures a second as decoding


def run(arguments: argparse.Namespace) -> Results:
    quality = one(arguments.qualities, EncodeOptions.quality, "quality")
    effort = one(arguments.effort, 1, "effort")
    model = one(arguments.models, None, "model")
    codec = Codec.from_pretrained(model, arguments.device, 1)
    pictures = list(_pictures(arguments))
    coded = [codec.encode(p, quality=quality, effort=effort, coding="tokens") for p in pictures]
    with TemporaryDirectory(prefix="vitcodec-") as folder:
        sizes = _write(Path(folder), codec, coded)
        png = [_png(p) for p in pictures]
        sizes |= {".vitc": sum(map(len, coded)), "PNG": sum(map(len, png))}
        rows = list(_rows(arguments, model, coded, png, Path(folder)))
    # what is compared has the same number of threads or processes
    decoding = {row["processes"]: row["rate"] for row in rows if row["what"] == "Codec.decode"}
    for row in rows:
        row["ratio"] = round(row["rate"] / decoding[row["processes"]], 1)
        print(row, flush=True)
    slow = [r for r in rows if r["what"].startswith("TokenDataset") and r["ratio"] < LEAST]
    height, width = pictures[0].rgb.shape[:2]
    return {
        "pictures": len(pictures),
        "width": width,
        "height": height,
        "quality": quality,
        "effort": effort,
        "bytes": {name: round(size / len(pictures)) for name, size in sizes.items()},
        "rows": rows,
        "failures": [f"{r['what']}, {r['processes']}: only {r['ratio']} times as fast as decoding" for r in slow],
    }


def _pictures(arguments: argparse.Namespace) -> Iterator[Picture]:
    if arguments.data or arguments.quick:
        with image_files(arguments) as files:
            yield from map(read_image, files)
        return
    across = 4
    whole = mosaic(across * SIDE, PICTURES // across * SIDE)
    for top in range(0, whole.shape[0], SIDE):
        for left in range(0, whole.shape[1], SIDE):
            yield Picture(np.ascontiguousarray(whole[top : top + SIDE, left : left + SIDE]))


def _write(folder: Path, codec: Codec, coded: list[bytes]) -> dict[str, int]:
    """Shards of the tokens. Returns their sizes in bytes."""
    sizes = {}
    for suffix in (TAR, SAFETENSORS):
        shard = new_shard(suffix)
        for number, data in enumerate(coded):
            grid = grid_of(codec.decompress(data).bands, f"{number}")
            shard.add(Sample(f"{number:06}", grid, info_of(container.read_header(data))))
        data = shard.pack(Manifest(keys=shard.keys))
        (folder / f"tokens{suffix}").write_bytes(data)
        sizes[suffix] = len(data)
    return sizes


def _png(picture: Picture) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture.rgb).save(buffer, "PNG")
    return buffer.getvalue()


def _rows(
    arguments: argparse.Namespace, model: str | None, coded: list[bytes], png: list[bytes], folder: Path
) -> Iterator[dict[str, Any]]:
    reps = arguments.reps or 3
    for threads in (1, 2):
        codec = Codec.from_pretrained(model, arguments.device, threads)
        codec.decode(coded[0])  # a warm-up
        rate = _rate(lambda codec=codec: _each(codec.decode, coded), len(coded), reps)  # type: ignore[misc]
        yield {"what": "Codec.decode", "processes": threads, "rate": rate}
    rate = _rate(lambda: _each(lambda d: np.asarray(Image.open(io.BytesIO(d))), png), len(png), reps)
    yield {"what": "PNG by Pillow", "processes": 1, "rate": rate}
    for suffix in (TAR, SAFETENSORS):
        data = TokenDataset(folder / f"tokens{suffix}")
        rate = _rate(lambda data=data: _each(data.__getitem__, range(len(data))), len(data), reps)  # type: ignore[misc]
        yield {"what": f"TokenDataset, {suffix}", "processes": 1, "rate": rate}
        for workers in (1, 2):
            rate = max(_loading(data, rate, workers) for _ in range(reps))
            yield {"what": f"TokenDataset, {suffix}, DataLoader", "processes": workers, "rate": round(rate, 2)}


def _each(function: Callable[[Any], Any], values: Any) -> None:
    for value in values:
        function(value)


def _rate(work: Callable[[], None], count: int, reps: int) -> float:
    """Pictures a second of the fastest run."""
    seconds = []
    for _ in range(reps):
        began, rounds = time.perf_counter(), 0
        while not rounds or time.perf_counter() - began < SECONDS / reps:
            work()
            rounds += 1
        seconds.append((time.perf_counter() - began) / rounds)
    return round(count / min(seconds), 2)


def _loading(data: TokenDataset, rate: float, workers: int) -> float:
    """Pictures a second through DataLoader, its start left out: from the first batch to the last."""
    from torch.utils.data import ConcatDataset, DataLoader

    many = ConcatDataset([data] * max(2, round(SECONDS * rate / len(data))))
    began, batches = 0.0, -1
    for batches, _ in enumerate(DataLoader(many, BATCH, num_workers=workers, drop_last=True)):  # noqa: B007
        began = began or time.perf_counter()
    return BATCH * batches / (time.perf_counter() - began)
