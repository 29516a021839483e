"""A CUDA card: training and search in megapixels per second, coding, and whether it decodes to the same numbers.

Training is the step of `vitcodec train` in bfloat16 on crops of 256 pixels, cut from the examples, as one CUDA graph
with compiled parts, for each size of batch: with the encoder, and context model and rounded synthesis alone. "share" is
of what the card does in a product of two 8192x8192 matrices in bfloat16, both without structured zeros. Then searched
crops, encoding and decoding of one picture, and files that are decoded on the card and on the CPU: exit code 1 if
tokens or pixels differ. Two minutes.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vitcodec.codec import Codec
from vitcodec.errors import UsageError
from vitcodec.images import read_image
from vitcodec.options import EncodeOptions

from ..decoding import hashes
from ..harness import one
from ..images import EXAMPLES, SUFFIXES
from ..store import Results

BATCHES = 32, 64, 96
CROP, STEPS = 256, 20  # pixels; steps that are timed
SIDE = 8192  # of the matrices
QUALITIES = 10, 50, 90  # of the files


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--batches", type=int, nargs="+", default=list(BATCHES), metavar="N", help="crops of a step")


def run(arguments: argparse.Namespace) -> Results:
    import torch

    if not torch.cuda.is_available():
        raise UsageError("this suite measures a CUDA card and torch finds none; run it on a machine that has one")
    model = one(arguments.models, None, "model")
    batches = arguments.batches[:1] if arguments.quick else arguments.batches
    peak = product_speed("cuda")
    results: Results = {"card": torch.cuda.get_device_name(), "product_teraflops": round(peak / 1e12, 1)}
    results["training"] = []
    for fixed in (False, True):
        for batch in batches:
            try:
                row = {"encoder": not fixed, **training(model, "cuda", batch, fixed, peak)}
            except torch.OutOfMemoryError:
                row = {"encoder": not fixed, "batch": batch, "failure": "out of memory"}
            torch.cuda.empty_cache()
            results["training"].append(row)
            print(row, flush=True)
    results["coding"], results["failures"] = coding(model, "cuda", arguments.reps or 3)
    print(results["coding"], flush=True)
    return results


def product_speed(device: str, side: int = SIDE, count: int = 20) -> float:
    """Operations per second of a matrix product in bfloat16."""
    import torch

    a, b = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    return 2 * side**3 / seconds_of(lambda: a @ b, count, device)


def seconds_of(function: Callable[[], object], count: int, device: str) -> float:
    """Seconds of a call, the mean of `count` after one that is not counted."""
    import torch

    def wait() -> None:
        if device != "cpu":
            torch.cuda.synchronize()

    function()
    wait()
    start = time.perf_counter()
    for _ in range(count):
        function()
    wait()
    return (time.perf_counter() - start) / count


def photographs() -> list[np.ndarray]:
    """The examples that crops can be cut from, (H, W, 3) uint8."""
    found = [read_image(file).rgb for file in sorted(EXAMPLES.iterdir()) if file.suffix in SUFFIXES]
    return [image for image in found if min(image.shape[:2]) >= CROP]


def training(
    model: str | None, device: str, batch: int, fixed: bool, peak: float, crop: int = CROP, steps: int = STEPS
) -> dict[str, Any]:
    """Speed of a training step and of the search. fixed: train neither analysis nor gains."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from vitcodec.pretrained import registry
    from vitcodec.training.compiled import eagerly
    from vitcodec.training.config import TrainingConfig
    from vitcodec.training.data import Crops
    from vitcodec.training.engine import Engine
    from vitcodec.training.loop import Run
    from vitcodec.training.samples import Fresh, searched_tokens
    from vitcodec.training.start import starting_point

    engine, gpu = Engine(torch.device(device), "bfloat16" if device != "cpu" else "float32"), device != "cpu"
    start = starting_point(model or registry.DEFAULT_MODEL, None, {}, [], 0)
    config = TrainingConfig(batch=batch, crop=crop, fixed_encoder=fixed, rounded=True, compile=gpu, scales=(1, 1.25))
    crops = Crops(photographs(), 0, device, config.scales, 0.5)
    with tempfile.TemporaryDirectory(prefix="vitcodec-") as folder:
        run = Run(start.model, config, Path(folder), engine, start.gauge)
    if gpu:
        torch.cuda.reset_peak_memory_stats()
    began = time.perf_counter()
    step = run.step(Fresh(crops, batch, crop))
    step()
    if gpu:
        torch.cuda.synchronize()
    ready = time.perf_counter() - began
    seconds, megapixels = seconds_of(step, steps, device), batch * crop**2 / 1e6
    memory = torch.cuda.max_memory_allocated() / 2**30 if gpu else 0.0
    with FlopCounterMode(display=False) as counter, eagerly():
        step.once()
    operations = counter.get_total_flops()
    image, levels, _ = Fresh(crops, batch, crop)()
    search = searched_tokens(run.model, config.dead_zone)
    with eagerly():
        searching = seconds_of(lambda: search(image, levels), 1, device)
    return {
        "batch": batch,
        "ready_seconds": round(ready, 1),
        "step_milliseconds": round(1000 * seconds, 1),
        "megapixels_per_second": round(megapixels / seconds, 3),
        "operations_per_pixel": round(operations / megapixels / 1e6),
        "share_percent": round(100 * operations / seconds / peak, 2),
        "memory_gib": round(memory, 1),
        "searched_megapixels_per_second": round(megapixels / searching, 3),
    }


def coding(
    model: str | None, device: str, reps: int, qualities: Sequence[int] = QUALITIES
) -> tuple[list[dict[str, Any]], list[str]]:
    """Seconds to encode and decode the examples on the card; what differs from the CPU."""
    cpu, card = Codec.from_pretrained(model, "cpu"), Codec.from_pretrained(model, device)
    rows, failures = [], []
    for k, file in enumerate(f for f in sorted(EXAMPLES.iterdir()) if f.suffix in SUFFIXES):
        picture = read_image(file)
        for quality in qualities[k % len(qualities) :][:1] if k else qualities:
            options = EncodeOptions(quality, 1, coding="tokens")
            data = card.encode(picture, options)
            times = {}
            for name, call in (
                ("encode", partial(card.encode, picture, options)),
                ("decode", partial(card.decode, data)),
            ):
                times[name] = round(statistics.median(seconds_of(call, 1, device) for _ in range(reps)), 4)
            known, found = hashes(cpu, data, 0), hashes(card, data, 0)
            title = f"{file.name}, quality {quality}"
            failures += [f"{title}: other {what} on {device}" for what in known if known[what] != found[what]]
            row = {"picture": title, "bytes": len(data), **times}
            rows.append({**row, "tokens": found["tokens"], "pixels": found["pixels"]})
    return rows, failures
