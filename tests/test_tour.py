"""examples/tour.py: the Python API in one script. It runs, and a strict type checker has nothing to say."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
TOUR = ROOT / "examples" / "tour.py"


def test_the_tour_runs() -> None:
    done = subprocess.run([sys.executable, str(TOUR)], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "tokens: (1, 768, 6, 8)" in done.stdout
    assert "from a DataLoader: torch.int16 (2, 768, 6, 8)" in done.stdout
    assert "Warning" not in done.stderr


def test_a_strict_type_checker_knows_all_of_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--python-version=3.11"]
    done = subprocess.run(
        [*command, f"--cache-dir={tmp_path}", "--follow-imports=silent", str(TOUR)],
        capture_output=True,
        text=True,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout
