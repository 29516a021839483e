"""The images that a suite measures: those of --data, whole or as crops, and a large one made of the examples."""

from __future__ import annotations

import argparse
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from vitcodec.errors import InputError, UsageError

EXAMPLES = Path(__file__).parent.parent / "examples"
SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}
QUICK_SIDE = 192  # pixels: a multiple of 32 that has MS-SSIM
LARGE = "4000x3000"  # pixels of the picture of 12 megapixels
CELL = 400  # pixels: the side of a part of the mosaic; the photographs have at least that
SMALL = "chelsea.png"  # the example that is smaller than a cell


@contextmanager
def image_files(arguments: argparse.Namespace, side: int | None = None) -> Iterator[list[Path]]:
    """The images of --data as files, --count of them. side: their central crops of so many pixels, of the large enough.

    Raises UsageError without --data (with --quick the examples do), InputError where no image is found.
    """
    data = arguments.data or (EXAMPLES if arguments.quick else None)
    if data is None:
        raise UsageError("this suite needs images; give --data with an image, a folder or a tar")
    if arguments.quick:
        side = min(side or QUICK_SIDE, QUICK_SIDE)
    with tempfile.TemporaryDirectory(prefix="vitcodec-") as folder:
        files = _unpacked(data, Path(folder) / "unpacked")
        if side:
            files = [f for f in files if min(_size(f)) >= side]
        if not files:
            raise InputError(f"{data}: no images there{f' with sides of {side} pixels' if side else ''}")
        count = arguments.count or len(files)
        chosen = files[:: max(1, len(files) // count)][:count]
        yield [_cropped(f, Path(folder) / f"{f.stem}.png", side) for f in chosen] if side else chosen


def one_image(arguments: argparse.Namespace, default: Path) -> Path:
    """The image of --data, or the default. Raises UsageError for more than one."""
    path = arguments.data or default
    if not path.is_file() or path.suffix.lower() not in SUFFIXES:
        raise UsageError(f"{path}: this suite takes one image")
    return path


def _unpacked(data: Path, folder: Path) -> list[Path]:
    if data.is_file() and data.suffix.lower() in SUFFIXES:
        return [data]
    if data.is_file() and tarfile.is_tarfile(data):
        with tarfile.open(data) as tar:
            tar.extractall(folder, filter="data")
        data = folder
    return sorted(f for f in data.rglob("*") if f.suffix.lower() in SUFFIXES)


def _size(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def _cropped(source: Path, target: Path, side: int) -> Path:
    with Image.open(source) as image:
        x, y = ((n - side) // 2 for n in image.size)
        image.convert("RGB").crop((x, y, x + side, y + side)).save(target)
    return target


def mosaic(width: int, height: int) -> np.ndarray:
    """The photographs of examples/ side by side, mirrored and shaded, always the same: (height, width, 3) uint8."""
    rng = np.random.default_rng(0)
    paths = [p for p in sorted(EXAMPLES.glob("*.[pj][np]g")) if p.name != SMALL]
    photos = [np.asarray(Image.open(path).convert("RGB")) for path in paths]
    out = np.empty((height, width, 3), np.uint8)
    for y in range(0, height, CELL):
        for x in range(0, width, CELL):
            photo = photos[rng.integers(len(photos))]
            top, left = (int(rng.integers(n - CELL + 1)) for n in photo.shape[:2])
            cell = photo[top : top + CELL, left : left + CELL]
            cell = cell[:: rng.choice([-1, 1]), :: rng.choice([-1, 1])] * rng.uniform(0.6, 1.0)
            out[y : y + CELL, x : x + CELL] = cell[: height - y, : width - x]
    return out
