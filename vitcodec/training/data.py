"""Training images from tar shards and folders, held in memory as 8-bit arrays."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


def _rgb(source: io.BytesIO | Path) -> np.ndarray:
    with Image.open(source) as image:
        return np.asarray(image.convert("RGB"))


def read_images(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Every image of the tars and folders (folders with their subfolders), in order of name, as (H, W, 3) uint8."""
    for path in paths:
        if path.is_dir():
            for file in sorted(path.rglob("*")):
                if file.suffix.lower() in SUFFIXES:
                    yield _rgb(file)
        elif tarfile.is_tarfile(path):
            with tarfile.open(path) as tar:
                for member in sorted(tar.getmembers(), key=lambda m: m.name):
                    if Path(member.name).suffix.lower() in SUFFIXES and (data := tar.extractfile(member)):
                        yield _rgb(io.BytesIO(data.read()))
        else:
            raise InputError(f"{path}: neither a folder nor a tar of images")


class Crops:
    """Random square crops, mirrored and turned.

    images: arrays (H, W, 3) uint8; those with a side below `size` are left out.
    """

    def __init__(self, images: Sequence[np.ndarray], seed: int):
        self.images = images
        self.rng = np.random.default_rng(seed)

    def batch(self, count: int, size: int) -> Tensor:
        """(count, size, size, 3), float32 in 0..255."""
        crops: list[np.ndarray] = []
        while len(crops) < count:
            image = self.images[int(self.rng.integers(len(self.images)))]
            if min(image.shape[:2]) < size:
                continue
            y, x = (self.rng.integers(n - size + 1) for n in image.shape[:2])
            crop = image[y : y + size, x : x + size]
            if self.rng.random() < 0.5:
                crop = crop[:, ::-1]
            if self.rng.random() < 0.5:
                crop = crop.transpose(1, 0, 2)
            crops.append(crop)
        return torch.from_numpy(np.stack(crops)).float()


def validation_crops(images: Iterator[np.ndarray], size: int, count: int) -> Tensor:
    """The central crops of the first `count` images that are large enough: (n, size, size, 3), float32."""
    crops: list[np.ndarray] = []
    for image in images:
        y, x = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        if min(y, x) >= 0 and len(crops) < count:
            crops.append(image[y : y + size, x : x + size])
    if not crops:
        raise InputError(f"no validation image has sides of at least {size} pixels")
    return torch.from_numpy(np.stack(crops)).float()
