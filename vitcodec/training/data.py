"""Training images from tar shards and folders, held in memory as 8-bit arrays."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from ..errors import InputError

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


def _rgb(source: io.BytesIO | Path) -> np.ndarray:
    with Image.open(source) as image:
        return np.asarray(image.convert("RGB"))


def read_images(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Every image in tars and folders with their subfolders, each sorted by name, as (H, W, 3) uint8 RGB.

    Raises InputError for a path that is neither.
    """
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
    """Random square crops with augmentation: half of them mirrored, half transposed, some batches at half the scale.

    images: (H, W, 3) uint8. All of them lie on the device as one row of 8-bit values, and crops are cut there.
    reduced: the share of batches, 0 to 1, that are cut twice as large and halved: such crops are sharper than the
    photographs.
    """

    def __init__(
        self, images: Iterable[np.ndarray], seed: int, device: torch.device | str = "cpu", reduced: float = 0.0
    ):
        images = list(images)
        self.pixels = torch.from_numpy(np.concatenate([image.ravel() for image in images])).to(device)
        sizes = torch.tensor([image.shape[:2] for image in images])
        self.height, self.width = sizes.to(device).unbind(1)
        ends = torch.tensor([image.size for image in images]).cumsum(0)
        self.start = torch.cat((torch.zeros(1, dtype=torch.int64), ends[:-1])).to(device)
        self.shortest = sizes.amin(1)
        self.reduced = reduced
        self.rng = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return len(self.shortest)

    def batch(self, count: int, size: int) -> Tensor:
        """(count, size, size, 3), float32 in 0..255, from images whose sides are at least `size` pixels."""
        if torch.rand(1, generator=self.rng).item() < self.reduced and (self.shortest >= 2 * size).any():
            large = self._cut(count, 2 * size).permute(0, 3, 1, 2)
            return F.avg_pool2d(large, 2).permute(0, 2, 3, 1).contiguous().round()
        return self._cut(count, size)

    def _cut(self, count: int, size: int) -> Tensor:
        """As `batch`, at full scale."""
        eligible = torch.nonzero(self.shortest >= size).flatten()
        chosen = eligible[torch.randint(len(eligible), (count,), generator=self.rng)]
        random = torch.rand(4, count, generator=self.rng).to(self.pixels.device)
        chosen = chosen.to(self.pixels.device)
        height, width, start = self.height[chosen], self.width[chosen], self.start[chosen]
        y, x = ((r * (n - size + 1)).long() for r, n in zip(random[:2], (height, width), strict=True))
        mirrored, transposed = ((r < 0.5)[:, None, None] for r in random[2:])
        line = torch.arange(size, device=self.pixels.device)
        down, across = line[:, None], line[None, :]
        rows = y[:, None, None] + torch.where(transposed, across, down)
        columns = torch.where(transposed, down, across)
        columns = x[:, None, None] + torch.where(mirrored, size - 1 - columns, columns)
        index = start[:, None, None] + (rows * width[:, None, None] + columns) * 3  # of each pixel's red
        return self.pixels[index[..., None] + torch.arange(3, device=index.device)].float()


def validation_crops(images: Iterator[np.ndarray], size: int, count: int) -> Tensor:
    """The central crops of the first `count` images that are large enough: (n, size, size, 3), float32 in 0..255.

    Raises InputError where none is.
    """
    crops: list[np.ndarray] = []
    for image in images:
        y, x = (image.shape[0] - size) // 2, (image.shape[1] - size) // 2
        if min(y, x) >= 0 and len(crops) < count:
            crops.append(image[y : y + size, x : x + size])
    if not crops:
        raise InputError(f"no validation image has sides of at least {size} pixels")
    return torch.from_numpy(np.stack(crops)).float()
