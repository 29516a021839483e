"""Start-up time of the commands that need no model, and the heavy packages that they import: there should be none.

Exit code 1 if there are.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from ..images import EXAMPLES, SMALL
from ..measure import vitcodec
from ..process import measured
from ..store import Results

HEAVY = ("torch", "numpy", "PIL", "timm", "scipy", "torchmetrics", "onnxruntime")


def run(arguments: argparse.Namespace) -> Results:
    reps, commands, failures = arguments.reps or 9, [], []
    with tempfile.TemporaryDirectory(prefix="vitcodec-") as folder:
        file = Path(folder) / "a.vitc"
        vitcodec("encode", str(EXAMPLES / SMALL), "-o", str(file), "--effort=1")
        measured_commands = {
            "vitcodec --help": ["--help"],
            "vitcodec --version": ["--version"],
            "vitcodec info": ["info", str(file)],
            "completion of a word": ["__complete", "bash", "encode", "--model", ""],
        }
        for name, command in measured_commands.items():
            seconds = statistics.median(measured("-m", "vitcodec", *command)["seconds"] for _ in range(reps))
            heavy = _heavy_imports(command)
            row: dict[str, Any] = {"command": name, "seconds": seconds, "heavy": ", ".join(heavy)}
            print(row, flush=True)
            commands.append(row)
            failures += [f"{name} imports {package}" for package in heavy]
    return {"reps": reps, "commands": commands, "failures": failures}


def _heavy_imports(arguments: list[str]) -> list[str]:
    command = [sys.executable, "-X", "importtime", "-m", "vitcodec", *arguments]
    log = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    imported = {line.rsplit("|", 1)[-1].strip() for line in log.splitlines() if line.startswith("import time:")}
    return [name for name in HEAVY if name in imported]
