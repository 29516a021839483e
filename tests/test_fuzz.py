"""A short run of fuzz.py, so that the script keeps up with the code."""

import os
import subprocess
import sys
from pathlib import Path

import vitcodec


def test_a_short_run_finds_nothing():
    script = Path(__file__).parent / "fuzz.py"
    environment = os.environ | {"PYTHONPATH": str(Path(vitcodec.__file__).parent.parent)}
    layers = {"container": 500, "groups": 100, "tiles": 10, "integers": 10, "entropy": 5, "codec": 5}
    counts = [part for name, count in {**layers, "images": 0}.items() for part in (f"--{name}", str(count))]
    result = subprocess.run(
        [sys.executable, script, *counts], capture_output=True, text=True, timeout=300, env=environment
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stdout.splitlines()[-1] == "0 failures"
