"""Start-up time of the commands that need no model, and the heavy packages that they import.

    python benchmarks/startup.py FILE.vitc [--reps 9]

There should be none of these; exit code 1 if there are.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time

HEAVY = ("torch", "numpy", "PIL", "timm", "scipy", "torchmetrics")


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", "vitcodec", *arguments], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start


def heavy_imports(arguments: list[str]) -> list[str]:
    command = [sys.executable, "-X", "importtime", "-m", "vitcodec", *arguments]
    log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    imported = {line.rsplit("|", 1)[-1].strip() for line in log.splitlines() if line.startswith("import time:")}
    return [name for name in HEAVY if name in imported]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", help="a .vitc file, for `info`")
    parser.add_argument("--reps", type=int, default=9)
    arguments = parser.parse_args()

    found = False
    for command in (["--help"], ["--version"], ["info", arguments.file]):
        median = statistics.median(seconds(command) for _ in range(arguments.reps))
        heavy = heavy_imports(command)
        found |= bool(heavy)
        print(f"vitcodec {command[0]}: {median:.3f} s{', imports ' + ', '.join(heavy) if heavy else ''}", flush=True)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
