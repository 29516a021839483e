"""A small classifier that learns from tokens, and the same one on pixels of the same pictures.

    python examples/tokens_classifier.py [--quick]

The task: of which of the five photographs in this folder is a square of 64x64 pixels? The left halves are for
learning, the right halves for the test. `vitcodec tokens` writes the halves as shards, labelled by their folders, and
TokenDataset loads them. A square is 4x4 sites, and a site is 768 numbers in both cases: its tokens, or its 16x16
pixels in three colours. So both networks are the same, with the same number of weights; both start from the same random
numbers and see the same squares in the same order.

Prints the accuracy on squares of the right halves, the time to train, and how many half photographs a second are read
from a shard, from PNG, and decoded from .vitc. Deterministic on one machine but for the times.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from vitcodec.codec import Codec
from vitcodec.data import TokenDataset

HERE = Path(__file__).parent
SITE, SIDE = 16, 4  # pixels of a site, sites of a square
BATCH, WIDTH = 32, 64
RARE = 1.0  # the least deviation that a channel is divided by: a step of the tokens, a level of the pixels
Half = tuple[Tensor, int]  # (768, rows, columns) and the number of the photograph


def write_halves(folder: Path, quick: bool) -> None:
    """train/NAME/left.png and test/NAME/right.png, of whole sites. quick: only parts of two of them."""
    for photo in sorted(HERE.glob("*.[pj][np]g"))[: 2 if quick else None]:
        image = Image.open(photo).convert("RGB")
        height, width = (n // SITE * SITE for n in (image.height, image.width // 2))
        if quick:
            height, width = min(height, 96), min(width, 96)
        for split, name, left in (("train", "left", 0), ("test", "right", image.width // 2)):
            path = folder / split / photo.stem / f"{name}.png"
            path.parent.mkdir(parents=True)
            image.crop((left, 0, left + width, height)).save(path)


def tokens_of(shard: Path) -> list[Half]:
    """Of the details most are 0 and some are large, which a logarithm evens out; the low band stays as it is."""
    halves = []
    for item in TokenDataset(shard):
        low, details = torch.from_numpy(item["tokens"]).float().tensor_split([3])
        halves.append((torch.cat([low, details.sign() * details.abs().log1p()]), item["label"]))
    return halves


def pixels_of(folder: Path) -> list[Half]:
    halves = []
    for label, path in enumerate(sorted(folder.glob("*/*.png"))):
        pixels = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1).float()
        halves.append((F.pixel_unshuffle(pixels, SITE), label))
    return halves


class Squares:
    """Squares of half photographs, each channel brought to mean 0 and deviation 1 over the halves for learning."""

    def __init__(self, halves: Sequence[Half], like: Squares | None = None):
        if like is None:
            every = torch.cat([x.flatten(1) for x, _ in halves], 1)
            self.mean, self.deviation = every.mean(1)[:, None, None], every.std(1)[:, None, None]
            self.deviation = self.deviation.clamp_min(RARE)  # fine tokens that are 0 nearly everywhere stay small
        else:
            self.mean, self.deviation = like.mean, like.deviation
        self.halves = [((x - self.mean) / self.deviation, label) for x, label in halves]

    def batch(self, rng: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Squares from anywhere, each photograph as often."""
        squares, labels = [], []
        for number in rng.integers(len(self.halves), size=BATCH):
            x, label = self.halves[number]
            top, left = (int(rng.integers(n - SIDE + 1)) for n in x.shape[1:])
            squares.append(x[:, top : top + SIDE, left : left + SIDE])
            labels.append(label)
        return torch.stack(squares), torch.tensor(labels)

    def every(self) -> list[tuple[Tensor, int]]:
        """All squares of whole sites of each photograph."""
        cut = [(x.unfold(1, SIDE, 1).unfold(2, SIDE, 1), label) for x, label in self.halves]
        return [(x.permute(1, 2, 0, 3, 4).flatten(0, 1), label) for x, label in cut]


def network(classes: int) -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(768, WIDTH, 1), nn.GELU(), nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.GELU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(WIDTH, classes)),
    )


def trained(train: Squares, steps: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    model, rng = network(len(train.halves)), np.random.default_rng(seed)
    optimiser = torch.optim.AdamW(model.parameters(), 1e-3, weight_decay=0.05)
    for _ in range(steps):
        squares, labels = train.batch(rng)
        loss = F.cross_entropy(model(squares), labels)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model


@torch.no_grad()
def accuracy(model: nn.Module, test: Squares) -> float:
    """The mean over the photographs, as some are larger."""
    shares = [(model(squares).argmax(1) == label).float().mean() for squares, label in test.every()]
    return float(torch.stack(shares).mean())


def rate(load: Callable[[Any], Any], things: Sequence[Any], seconds: float) -> float:
    """How many a second."""
    load(things[0])
    began, count = time.perf_counter(), 0
    while not count or time.perf_counter() - began < seconds:
        for thing in things:
            load(thing)
        count += len(things)
    return count / (time.perf_counter() - began)


def main(quick: bool) -> dict[str, Any]:
    """quick: a few steps on parts of two photographs. Returns what is printed."""
    torch.set_num_threads(1)
    steps, seeds, seconds = (10, 1, 0.05) if quick else (300, 3, 2.0)
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_halves(folder, quick)
        for split in ("train", "test"):
            command = ("tokens", folder / split, "-r", "-o", folder / f"{split}.tar", "--labels", "folder", "--quiet")
            subprocess.run([sys.executable, "-m", "vitcodec", *map(str, command)], check=True)
        kinds = {
            "tokens": (tokens_of(folder / "train.tar"), tokens_of(folder / "test.tar")),
            "pixels": (pixels_of(folder / "train"), pixels_of(folder / "test")),
        }
        for kind, (train, test) in kinds.items():
            learning = Squares(train)
            testing = Squares(test, learning)
            began = time.perf_counter()
            models = [trained(learning, steps, seed) for seed in range(seeds)]
            results[f"{kind}: seconds"] = (time.perf_counter() - began) / seeds
            found = [accuracy(model, testing) for model in models]
            results[f"{kind}: accuracy"] = sum(found) / seeds
            results[f"{kind}: range"] = (min(found), max(found))
        photos = sorted(folder.glob("train/*/*.png"))
        data, codec = TokenDataset(folder / "train.tar"), Codec.from_pretrained(device="cpu", threads=1)
        coded = [codec.encode(path, effort=1, coding="tokens") for path in photos]
        results["read tokens"] = rate(data.__getitem__, range(len(data)), seconds)
        results["read PNG"] = rate(lambda path: np.asarray(Image.open(path)), photos, seconds)
        results["decode .vitc"] = rate(codec.decode, coded, seconds)
    chance = 1 / len(photos)
    print(f"{'':8}  accuracy (chance {chance:.0%})  lowest to highest of {seeds}  training (s)")
    for kind in kinds:
        low, high = results[f"{kind}: range"]
        print(
            f"{kind:8}  {results[f'{kind}: accuracy']:21.1%}  {f'{low:.1%} to {high:.1%}':>23}  "
            f"{results[f'{kind}: seconds']:12.2f}"
        )
    loaded = ("read tokens", "read PNG", "decode .vitc")
    print("half photographs a second: " + ", ".join(f"{what} {results[what]:.1f}" for what in loaded))
    return results


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="a few steps on parts of two photographs")
    main(parser.parse_args().quick)
