"""Training images from tar shards and folders, held in memory as 8-bit arrays."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..errors import InputError
from .augment import recoloured, resized

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"}


def _rgb(source: io.BytesIO | Path) -> np.ndarray:
    with Image.open(source) as image:
        return np.asarray(image.convert("RGB"))


def read_images(paths: Sequence[Path], warn: Callable[[str], None] | None = None) -> Iterator[np.ndarray]:
    """Every image in tars and folders with their subfolders, each sorted by name, as (H, W, 3) uint8 RGB.

    warn: told of images that cannot be read, which are passed over; without it they are an error. Raises InputError for
    a path that is neither, and for such images.
    """
    for path in paths:
        for name, source in _sources(path):
            try:
                yield _rgb(source)
            except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
                text = f"{name}: cannot be read as an image ({error})"
                if warn is None:
                    raise InputError(f"{text}; take it out") from error
                warn(f"{text}; it is passed over")


def _sources(path: Path) -> Iterator[tuple[str, io.BytesIO | Path]]:
    """The images of a folder or a tar, with names for people."""
    if path.is_dir():
        for file in sorted(path.rglob("*")):
            if file.suffix.lower() in SUFFIXES:
                yield str(file), file
    elif not path.exists():
        raise InputError(f"{path}: there is no such folder or tar of images; check the name")
    elif tarfile.is_tarfile(path):
        with tarfile.open(path) as tar:
            for member in sorted(tar.getmembers(), key=lambda m: m.name):
                if Path(member.name).suffix.lower() in SUFFIXES and (data := tar.extractfile(member)):
                    yield f"{path}: {member.name}", io.BytesIO(data.read())
    else:
        raise InputError(f"{path}: neither a folder nor a tar of images; give the folder that holds it")


class Crops:
    """Random square crops: half of them mirrored, half transposed; made smaller by random scales; recoloured.

    images: (H, W, 3) uint8. All of them lie on the device as one row of 8-bit values, and crops are cut there. Which
    ones, no number that comes from the device decides: a CUDA graph can hold `batch`.
    scales: by how much larger than it stays a crop is cut, at least 1, each as often: crops that were made smaller are
    sharper than photographs. Images that are too small for a scale are cut as large as they are.
    colours: the share of crops, 0 to 1, that get other gains, offsets and an order of their channels.
    """

    def __init__(
        self,
        images: Iterable[np.ndarray],
        seed: int,
        device: torch.device | str = "cpu",
        scales: Sequence[float] = (1.0,),
        colours: float = 0.0,
    ):
        images = list(images)
        self.device, self.colours = torch.device(device), colours
        self.pixels = torch.from_numpy(np.concatenate([image.ravel() for image in images])).to(device)
        sizes = torch.tensor([image.shape[:2] for image in images])
        self.height, self.width = sizes.to(device).unbind(1)
        ends = torch.tensor([image.size for image in images]).cumsum(0)
        self.start = torch.cat((torch.zeros(1, dtype=torch.int64), ends[:-1])).to(device)
        self.shortest = sizes.amin(1)
        self.largest_scale = max(scales)
        self.scales = torch.tensor(scales, device=device)
        self.eligible: dict[int, Tensor] = {}  # which images are large enough for a side
        self.rng: torch.Generator | None = None
        self.seed(seed)

    def __len__(self) -> int:
        return len(self.shortest)

    def seed(self, seed: int) -> None:
        """Start the random numbers anew."""
        if self.device.type == "cpu":
            self.rng = torch.Generator().manual_seed(seed)
        else:
            torch.manual_seed(seed)  # CUDA graphs know the generator that the device has, and no other

    def random(self, *shape: int) -> Tensor:
        """Uniform in 0..1, on the device."""
        return torch.rand(shape, device=self.device, generator=self.rng)

    def batch(self, count: int, size: int) -> Tensor:
        """(count, size, size, 3), float32 in 0..255, from images whose sides are at least `size` pixels."""
        if size not in self.eligible:
            self.eligible[size] = torch.nonzero(self.shortest >= size).flatten().to(self.device)
        x = self._cut(count, size)
        return recoloured(x, self.colours, self.random) if self.colours else x

    def _cut(self, count: int, size: int) -> Tensor:
        eligible = self.eligible[size]
        chosen = eligible[_index(self.random(count), len(eligible))]
        height, width, start = self.height[chosen], self.width[chosen], self.start[chosen]
        most, sides = round(size * self.largest_scale), None
        if most > size:
            wanted = self.scales[_index(self.random(count), len(self.scales))] * size
            sides = torch.minimum(wanted.round().long(), torch.minimum(height, width))
        y, x = (_index(self.random(count), n - (size if sides is None else sides) + 1) for n in (height, width))
        mirrored, transposed = (self.random(count, 1, 1) < 0.5 for _ in range(2))
        line = torch.arange(most, device=self.device)
        if sides is None:
            line, back = line[None], size - 1 - line[None]
        else:  # what lies beyond a crop's own side is read from its edge, and counts nothing
            line = torch.minimum(line[None], sides[:, None] - 1)
            back = sides[:, None] - 1 - line
        down, across = line[:, :, None], line[:, None, :]
        back_down, back_across = back[:, :, None], back[:, None, :]
        rows = y[:, None, None] + torch.where(transposed, across, down)
        columns = torch.where(transposed, down, across)
        columns = torch.where(mirrored, torch.where(transposed, back_down, back_across), columns)
        index = start[:, None, None] + (rows * width[:, None, None] + x[:, None, None] + columns) * 3  # of the red
        pixels = self.pixels[index[..., None] + torch.arange(3, device=self.device)].float()
        return pixels if sides is None else resized(pixels, sides, size)


def _index(random: Tensor, count: Tensor | int) -> Tensor:
    """Uniform in 0..1 -> whole numbers from 0 to count - 1."""
    whole = (random * count).long()
    return whole.clamp_max(count - 1) if isinstance(count, int) else torch.minimum(whole, count - 1)


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
        raise InputError(f"no validation image has sides of at least {size} pixels; give larger ones with --val")
    return torch.from_numpy(np.stack(crops)).float()
