"""Time and memory of encoding and decoding, model loaded and as commands, beside avifenc at the same size.

Each picture of --data (and with --large the one of 12 megapixels) at each of --qualities. All that a row compares runs
in turn, round by round, and the shortest time of each counts: the machine is never quite still. avifenc, where it is
installed, runs as `avifenc -s 4 -j 2`, at the setting whose file is nearest in size to vitcodec's.
"""

from __future__ import annotations

import argparse
import platform
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from PIL import Image

from vitcodec.codec import Codec
from vitcodec.evaluation.engine import colours_of
from vitcodec.images import read_image, write_image
from vitcodec.metrics import psnr
from vitcodec.options import EncodeOptions

from ..harness import one
from ..images import EXAMPLES, LARGE, SMALL, image_files, mosaic
from ..process import measured
from ..store import Results

AVIFENC = ("avifenc", "-s", "4", "-j", "2")
SETTINGS = range(64)  # of avifenc: cq-level, 0 is best


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--large", action="store_true", help=f"also a picture of {LARGE} pixels, made of the examples")


def run(arguments: argparse.Namespace) -> Results:
    model, reps = one(arguments.models, None, "model"), arguments.reps or 5
    efforts = arguments.effort or [1, EncodeOptions.effort]
    qualities = arguments.qualities or [EncodeOptions.quality]
    codec = Codec.from_pretrained(model, arguments.device, arguments.threads)
    avif = version() if shutil.which(AVIFENC[0]) else None
    if not avif:
        print("avifenc is not installed (Debian: libavif-bin): its column stays empty", flush=True)
    rows: list[dict[str, Any]] = []
    common = [f"--device={arguments.device}", "--overwrite", "--quiet", *([f"-m{model}"] if model else [])]
    common += [f"--threads={arguments.threads}"] if arguments.threads else []
    arguments.data = arguments.data or EXAMPLES / SMALL
    with image_files(arguments) as files, tempfile.TemporaryDirectory(prefix="vitcodec-") as temporary:
        folder, pictures = Path(temporary), list(files)
        if arguments.large:
            pictures.append(folder / f"mosaic-{LARGE}.png")
            Image.fromarray(mosaic(*map(int, LARGE.split("x")))).save(pictures[-1])
        for file in pictures:
            for quality in qualities:
                rows.append(row(codec, file, quality, efforts, reps, common, folder, avif is not None))
                print(rows[-1], flush=True)
                results = {"vnni": vnni(), "engine": codec.engine, "avifenc": avif, "reps": reps, "rows": rows}
                arguments.store.save(results)
    return results


def row(
    codec: Codec,
    file: Path,
    quality: int,
    efforts: list[int],
    reps: int,
    common: list[str],
    folder: Path,
    avif: bool,
) -> dict[str, Any]:
    """One picture at one quality. common: options of all commands; avif: whether avifenc runs too."""
    picture = colours_of(read_image(file))
    plain, coded, decoded = folder / "plain.png", folder / "a.vitc", folder / "a.png"
    write_image(picture, plain, overwrite=True)  # without metadata, the same for both
    data = {effort: codec.encode(picture, quality=quality, effort=effort) for effort in efforts}
    coded.write_bytes(data[efforts[-1]])

    def encode(effort: int) -> Callable[[], Any]:
        return lambda: codec.encode(picture, quality=quality, effort=effort)

    def command(*parts: Any) -> Callable[[], Any]:
        return lambda: measured("-m", "vitcodec", *map(str, parts), *common)

    loaded: dict[str, Callable[[], Any]] = {f"encode {effort}": encode(effort) for effort in efforts}
    loaded["decode"] = lambda: codec.decode(data[efforts[-1]])
    commands = {
        f"encode {effort}": command("encode", plain, "-o", folder / "b.vitc", f"-q{quality}", f"--effort={effort}")
        for effort in efforts
    }
    commands["decode"] = command("decode", coded, "-o", decoded)
    times: dict[str, float] = {}
    memory: dict[str, int] = {}
    setting, size = nearest(plain, len(data[efforts[-1]]), folder) if avif else (None, None)
    for _ in range(reps):
        for name, function in loaded.items():
            shortest(times, f"{name}, loaded", timed(function))
        for name, function in commands.items():
            cost = function()
            shortest(times, f"{name}, command", cost["seconds"])
            memory[name] = max(memory.get(name, 0), cost["mib"])
        if avif:
            shortest(times, "avifenc", timed(lambda: avifenc(plain, setting, folder)))
    height, width = picture.rgb.shape[:2]
    return {
        "image": file.name,
        "width": width,
        "height": height,
        "quality": quality,
        "bytes": {str(effort): len(d) for effort, d in data.items()},
        "psnr": {str(effort): round(psnr(picture.rgb, codec.decode(d).rgb), 3) for effort, d in data.items()},
        "seconds": {name: float(f"{t:.3g}") for name, t in times.items()},
        "mib": memory,
        "avifenc": {"setting": setting, "bytes": size} if avif else None,
    }


def timed(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def shortest(times: dict[str, float], name: str, seconds: float) -> None:
    times[name] = min(times.get(name, seconds), seconds)


def avifenc(image: Path, setting: int | None, folder: Path) -> int:
    """Bytes of the file."""
    made = folder / "a.avif"
    rate = ("--min", "0", "--max", "63", "-a", "end-usage=q", "-a", f"cq-level={setting}")
    subprocess.run([*AVIFENC, *rate, str(image), str(made)], check=True, capture_output=True)
    return made.stat().st_size


def nearest(image: Path, size: int, folder: Path) -> tuple[int, int]:
    """avifenc's setting whose file is nearest in size, and that size, by halving the range."""
    low, high, found = SETTINGS[0], SETTINGS[-1], dict[int, int]()
    while low <= high:
        middle = (low + high) // 2
        found[middle] = avifenc(image, middle, folder)
        low, high = (middle + 1, high) if found[middle] > size else (low, middle - 1)
    best = min(found, key=lambda setting: abs(found[setting] - size))
    return best, found[best]


def version() -> str:
    """avifenc's first line about itself."""
    out = subprocess.run([AVIFENC[0], "--version"], capture_output=True, text=True, check=False).stdout
    return (out.strip().splitlines() or ["unknown version"])[0].removeprefix("Version: ").partition(" (")[0]


def vnni() -> bool | None:
    """Whether the processor multiplies bytes at once as x86's VNNI does; None where the system does not tell."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return None
    with suppress(OSError):
        flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text("utf-8", "replace"), re.MULTILINE)
        return bool(flags and {"avx512_vnni", "avx_vnni"} & set(flags[1].split()))
    return None
