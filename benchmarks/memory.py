"""Peak memory and wall time of `vitcodec encode` and `vitcodec decode` by the size of the image.

    python benchmarks/memory.py IMAGE [--megapixels 0.25 1 4 16] [-q 50] [--threads 2]

The image is scaled to each size; each command runs in a process of its own. The first line is a process that does nothing but import torch. Linux
and macOS.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image


def run(*command: str) -> tuple[float, float, float]:
    """Run Python with these arguments; returns (peak resident memory in MiB, seconds, seconds of CPU)."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, *command])
    # wait4 and not getrusage: the latter keeps the largest of all children so far
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return (
        usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10),
        seconds,
        usage.ru_utime + usage.ru_stime,
    )


def scaled(image: Image.Image, megapixels: float) -> Image.Image:
    factor = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
    return image.resize(
        (max(round(image.width * factor), 1), max(round(image.height * factor), 1)), Image.Resampling.LANCZOS
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("--megapixels", type=float, nargs="+", default=[0.25, 1, 4, 16])
    parser.add_argument("-q", "--quality", type=int, default=50)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    options = ["--threads", str(arguments.threads), "--device", arguments.device, "--quiet"]
    options += ["--model", arguments.model] if arguments.model else []
    print("| megapixels | size | encode (MiB) | decode (MiB) | encode (s) | decode (s) |")
    print("|---:|---|---:|---:|---:|---:|")
    memory, seconds, _ = run("-c", "import torch")
    print(f"| 0 | torch alone | {memory:.0f} | {memory:.0f} | {seconds:.2f} | {seconds:.2f} |", flush=True)
    with tempfile.TemporaryDirectory() as folder, Image.open(arguments.image) as opened:
        source, encoded, decoded = (str(Path(folder) / name) for name in ("image.png", "image.vitc", "decoded.png"))
        original = opened.convert("RGB")
        for megapixels in arguments.megapixels:
            image = scaled(original, megapixels)
            image.save(source)
            there = run(
                "-m", "vitcodec", "encode", source, "-o", encoded, "-q", str(arguments.quality), "--overwrite", *options
            )
            back = run("-m", "vitcodec", "decode", encoded, "-o", decoded, "--overwrite", *options)
            columns = (
                f"{megapixels:g}",
                f"{image.width}x{image.height}",
                *(f"{x[0]:.0f}" for x in (there, back)),
                f"{there[1]:.2f}",
                f"{back[1]:.2f}",
            )
            print(f"| {' | '.join(columns)} |", flush=True)


if __name__ == "__main__":
    main()
