"""Peak memory and wall time of `vitcodec encode` and `vitcodec decode` on one image.

    python benchmarks/memory.py IMAGE [-q 60] [--threads 2]

Each runs in a process of its own. Linux and macOS.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def run(*arguments: str) -> tuple[float, float, float]:
    """Run the command line; returns (peak resident memory in MiB, seconds, seconds of CPU)."""
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "vitcodec", *arguments, "--quiet"])
    # wait4 and not getrusage: the latter keeps the largest of all children so far
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"vitcodec {arguments[0]} ended with {process.returncode}")
    return usage.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10), seconds, usage.ru_utime + usage.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("image", type=Path)
    parser.add_argument("-q", "--quality", type=int, default=60)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()

    options = ["--threads", str(arguments.threads), "--device", arguments.device]
    with tempfile.TemporaryDirectory() as folder:
        encoded, decoded = str(Path(folder) / "image.vitc"), str(Path(folder) / "image.png")
        for what, command in (
            ("encode", ["encode", str(arguments.image), "-o", encoded, "-q", str(arguments.quality)]),
            ("decode", ["decode", encoded, "-o", decoded]),
        ):
            memory, seconds, cpu = run(*command, *options)
            print(f"{what}: peak {memory:.0f} MiB, {seconds:.2f} s with start-up ({cpu:.2f} s of CPU)", flush=True)


if __name__ == "__main__":
    main()
