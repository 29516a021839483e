"""Peak memory and time of a large picture through the command line, whole, a region of it, and reduced.

    python benchmarks/large.py [--size 12000x8400] [-q 50] [--effort 2] [--threads 2] [--keep FOLDER]

The picture is a mosaic of the photographs in examples/, mirrored and shaded so that no two parts are alike, as a JPEG file. Each command runs in a
process of its own. Linux and macOS.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np
from memory import run
from PIL import Image

EXAMPLES = Path(__file__).parent.parent / "examples"
CELL = 400  # pixels: what each photograph has at least


def mosaic(width: int, height: int) -> np.ndarray:
    """(height, width, 3) uint8."""
    rng = np.random.default_rng(0)
    photos = [
        np.asarray(Image.open(path).convert("RGB"))
        for path in sorted(EXAMPLES.glob("*.[pj][np]g"))
        if path.name != "chelsea.png"
    ]
    out = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, CELL):
        for x in range(0, width, CELL):
            photo = photos[rng.integers(len(photos))]
            top, left = (int(rng.integers(n - CELL + 1)) for n in photo.shape[:2])
            cell = photo[top : top + CELL, left : left + CELL]
            cell = cell[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])] * rng.uniform(0.6, 1.0)
            out[y : y + CELL, x : x + CELL] = cell[: height - y, : width - x]
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="12000x8400")
    parser.add_argument("-q", "--quality", type=int, default=50)
    parser.add_argument("--effort", type=int, default=2)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--keep", type=Path, help="where to leave the files")
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))

    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        image, encoded = folder / "large.jpg", folder / "large.vitc"
        Image.fromarray(mosaic(width, height)).save(image, quality=92)
        common = ["--device", "cpu", "--threads", str(arguments.threads), "--overwrite"]
        region = f"{width // 2},{height // 2},{min(1000, width // 2)},{min(1000, height // 2)}"
        for what, command in (
            (
                "encode",
                [
                    "encode",
                    str(image),
                    "-o",
                    str(encoded),
                    "-q",
                    str(arguments.quality),
                    "--effort",
                    str(arguments.effort),
                ],
            ),
            ("decode --reduce 3", ["decode", str(encoded), "-o", str(folder / "reduced.png"), "--reduce", "3"]),
            (
                f"decode --region {region}",
                ["decode", str(encoded), "-o", str(folder / "region.png"), "--region", region],
            ),
            ("decode", ["decode", str(encoded), "-o", str(folder / "large.png")]),
        ):
            memory, seconds, cpu = run("-m", "vitcodec", *command, *common, "--quiet")
            megapixels = width * height / 1e6
            print(
                f"{what}: peak {memory:.0f} MiB, {seconds:.1f} s with start-up ({cpu:.1f} s of CPU) for {megapixels:.1f} MP",
                flush=True,
            )
        print(f"{encoded.stat().st_size:,} bytes, {8 * encoded.stat().st_size / (width * height):.3f} bpp")


if __name__ == "__main__":
    main()
