"""A real process, killed again and again in the middle of a folder: only whole files are left, and it can go on."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vitcodec
from vitcodec.bitstream import container

IMAGES = 60
# the command line as it is, with a codec that takes no time: the files are what is tested
PROGRAM = Path(__file__).parent / "storing.py"


def start(*arguments: str, **options: object) -> subprocess.Popen[bytes]:
    environment = os.environ | {"PYTHONPATH": str(Path(vitcodec.__file__).parent.parent)}
    # a shell's background jobs ignore Ctrl-C, and so would their children
    options = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)} | options
    return subprocess.Popen(
        [sys.executable, PROGRAM, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        **options,
    )


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for number in range(IMAGES):
        path = tmp_path / "photos" / f"{number % 3}" / f"{number:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(path)
    return tmp_path


def outputs(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file())


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["kill -9", "Ctrl-C"])
def test_killed_and_resumed(photos: Path, number: signal.Signals) -> None:
    out, rng, kills = photos / "out", random.Random(number), 0
    command = ("encode", str(photos / "photos"), "-r", "-o", str(out), "--skip-existing", "-j", "2")
    while kills < 8:
        before = len(outputs(out))
        process = start(*command)
        # strike while files are being written: after the first new one
        while process.poll() is None and len(outputs(out)) <= before and before < IMAGES:
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.004))
        process.send_signal(number)
        process.communicate(timeout=60)
        kills += 1
        found = outputs(out)
        expected = {-number} if number == signal.SIGKILL else {130, 0}
        if len(found) == IMAGES:
            # the process may have ended before the signal came; and Ctrl-C can meet a Python that is shutting down,
            # which then dies of the signal
            expected |= {0, -number}
        assert process.returncode in expected
        for path in found:
            assert path.suffix == ".vitc", path  # no temporary file is left
            container.unpack(path.read_bytes())  # and every file is whole
        if len(found) == IMAGES:
            break
    assert kills >= 2
    process = start(*command)
    assert process.communicate(timeout=60) and process.returncode == 0
    assert [p.relative_to(out).with_suffix("") for p in outputs(out)] == [
        p.relative_to(photos / "photos").with_suffix("") for p in outputs(photos / "photos")
    ]
    for path in outputs(out):
        container.unpack(path.read_bytes())


def test_a_full_disk_is_named(photos: Path) -> None:
    """Files may have 3,000 bytes, as where a disk has no more."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, 3000))

    process = start("encode", str(photos / "photos" / "0"), "-o", str(photos / "out"), preexec_fn=limit)
    _, errors = process.communicate(timeout=60)
    assert (
        process.returncode == 1
        and b"cannot be written" in errors
        and b"free space" in errors
        and b"Traceback" not in errors
    )
    assert outputs(photos / "out") == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_pipe_is_named(photos: Path) -> None:
    with open("/dev/full", "wb") as full:
        environment = os.environ | {"PYTHONPATH": str(Path(vitcodec.__file__).parent.parent)}
        command = [sys.executable, PROGRAM, "encode", str(photos / "photos" / "0" / "000.png"), "-o", "-"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment, timeout=60)
    assert result.returncode == 1 and b"No space left" in result.stderr and b"Traceback" not in result.stderr


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only to root")
def test_a_read_only_folder_is_named(photos: Path) -> None:
    (photos / "out").mkdir(mode=0o555)
    process = start("encode", str(photos / "photos" / "0"), "-o", str(photos / "out"))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and b"Permission denied" in errors and b"permissions" in errors
