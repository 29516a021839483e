"""Strange and hostile image files: a few hundred of those that fuzz.py makes by the thousand."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from strange import WRITTEN, damaged, faults, make, misread, upright

from vitcodec.images import read_image

ROUNDS = 10
# the first word of a name -> suffix
SUFFIXES = {"PNG": "png", "JPEG": "jpg", "TIFF": "tif", "WebP": "webp", "GIF": "gif", "BMP": "bmp", "PNM": "ppm"}
SUFFIXES |= {"AVIF": "avif", "JPEG2000": "jp2"}


@pytest.mark.parametrize("part", range(ROUNDS))
def test_strange_files_come_back(part: int, capfd: pytest.CaptureFixture[str]) -> None:
    """No exception, no other picture, nothing lost in silence, and no good picture refused for its metadata."""
    found = []
    for seed in range(40 * part, 40 * (part + 1)):
        rng = Random(seed)
        strange = make(rng)
        found += [f"seed {seed}, {strange.name}: {what}" for what in faults(strange, rng.choice(WRITTEN))]
    assert not found, "\n".join(found)
    assert capfd.readouterr().err == "", "a decoder writes to stderr by itself"


@pytest.mark.filterwarnings("ignore")
def test_damaged_files_give_a_picture_or_a_message() -> None:
    found = []
    for seed in range(200):
        strange = damaged(Random(seed))
        found += [f"seed {seed}, {strange.name}: {what}" for what in misread(strange)]
    assert not found, "\n".join(found)


def test_strange_files_through_the_command_line(tmp_path: Path) -> None:
    """A folder of them there and back: nothing fails but what may, and sizes and transparency are as they were."""
    files = [make(Random(seed)) for seed in (5000, 5002, 5003, 5004, 5009, 5013)]
    folder, encoded, decoded = (tmp_path / name for name in ("in", "encoded", "decoded"))
    folder.mkdir()
    for number, strange in enumerate(files):
        (folder / f"{number}.{SUFFIXES[strange.name.split()[0].strip(',')]}").write_bytes(strange.data)
    first = vitcodec("encode", folder, "-o", encoded, "-q", "60", "--effort", "1")
    second = vitcodec("decode", encoded, "-o", decoded, "--format", "png")
    for result in (first, second):
        assert "Traceback" not in result.stderr and "internal error" not in result.stderr, result.stderr
        assert "Warning" not in result.stderr, result.stderr
    assert second.returncode == 0, second.stderr
    for number, strange in enumerate(files):
        path = decoded / f"{number}.png"
        assert path.exists() or strange.may_refuse, f"{strange.name}: {first.stderr}"
        if strange.rgb is None or strange.orientation is None or not path.exists():
            continue
        picture, wanted = read_image(path), upright(strange.rgb, strange.orientation)
        assert picture.rgb.shape == wanted.shape, strange.name
        if isinstance(strange.alpha, np.ndarray):
            alpha = np.full(wanted.shape[:2], 255) if picture.alpha is None else picture.alpha.astype(int)
            assert np.abs(alpha - upright(strange.alpha, strange.orientation)).max() <= 1, strange.name


def vitcodec(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "vitcodec", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_files_are_the_same_every_time() -> None:
    assert [make(Random(s)).data for s in range(30)] == [make(Random(s)).data for s in range(30)]
