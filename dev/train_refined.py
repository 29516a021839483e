"""Train context model and synthesis of format 1 on tokens that the search chooses, in one run of minutes on a GPU.

    python dev/train_refined.py shared/data/train/train-0*.tar --val shared/data/train/val.tar -o runs/refined
    --model local-dir:runs/float --synthesis runs/synthesis-rounded --context runs/context/average.safetensors
    --device cuda --minutes 1.3 3.3 3.3

First new crops are searched with the model's analysis and context model and the new synthesis, for the first of the
minutes; they stay in memory. Then the context model learns from them for the second, the rounded synthesis for the
third. Averaged weights are written as they come, so that a run that is cut off loses little: context.safetensors,
synthesis/average.safetensors and, beside it, gauge.safetensors; log.jsonl has all figures.
"""

from __future__ import annotations

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from clock import descend
from safetensors.torch import load_file, save_file
from token_cache import STEPS
from torch import Tensor, nn
from train_context import measured
from train_synthesis import stored

from vitcodec import Codec
from vitcodec.context.model import ContextModel
from vitcodec.distortion import TUNINGS
from vitcodec.models.synthesis import ConvSynthesis
from vitcodec.options import QUALITIES
from vitcodec.pretrained.loading import own_name, stored_name
from vitcodec.quality import lagrangian, step_of
from vitcodec.subbands import Subbands
from vitcodec.training.data import Crops, read_images, validation_crops
from vitcodec.training.model import Average, load_grown
from vitcodec.training.optimiser import optimisers
from vitcodec.training.refined import RDOTokens
from vitcodec.training.rounding import Gauge, RoundedSynthesis

SCALES = 1.0, 1.0, 1.2, 1.4  # how much larger than it stays a crop is cut
TEACHER = 0.3  # the share of the shipped synthesis in the target: with less noise than the picture
HELD = 16  # validation crops


def quality_near(step: float) -> int:
    """The quality whose step is nearest."""
    return min(QUALITIES, key=lambda q: abs(math.log(step_of(q) / step)))


def copied(module: nn.Module) -> nn.Module:
    """A module that shares its parts with another, and may get others."""
    own = copy.copy(module)
    own._modules = dict(module._modules)
    return own.requires_grad_(False)


class Pool:
    """Crops with the tokens that were chosen for them, on a device; ordered by step for `batch`."""

    def __init__(self, parts: list[tuple[Tensor, Subbands, float]]):
        self.images = torch.cat([images for images, _, _ in parts])
        first, *rest = (tokens for _, tokens, _ in parts)
        self.tokens = first.combine(lambda *t: torch.cat(t), *rest)
        self.steps = torch.cat(
            [images.new_full((len(images),), step, dtype=torch.float32) for images, _, step in parts]
        )
        self.order = torch.argsort(self.steps)

    def batch(self, count: int) -> tuple[Tensor, Subbands, Tensor]:
        """Images (count, S, S, 3) and tokens as floats, steps (count,): one of each stratum of the steps."""
        place = (torch.arange(count) + torch.rand(count)) / count * len(self.order)
        k = self.order[place.long().to(self.order.device)]
        return self.images[k].float(), self.tokens.map(lambda t: t[k].float()), self.steps[k]


def scaled(crops: Crops, count: int, size: int, scale: float) -> Tensor:
    """Crops, cut larger by a factor and made as large as the others."""
    images = crops.batch(count, round(size * scale))
    if scale == 1:
        return images
    x = F.interpolate(images.permute(0, 3, 1, 2), (size, size), mode="bicubic", antialias=True, align_corners=False)
    return x.permute(0, 2, 3, 1).clamp(0, 255).round().contiguous()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="tars or folders of images")
    parser.add_argument("--model", required=True, help="a floating-point model to start from, as -m takes it")
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--synthesis", type=Path, required=True, help="the folder of a run of train_synthesis --rounded"
    )
    parser.add_argument("--context", type=Path, required=True, help="average.safetensors of train_context")
    parser.add_argument("--minutes", type=float, nargs=3, default=[1.3, 3.3, 3.3])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--searched", type=int, default=32, help="crops that are searched at once")
    parser.add_argument("--batch", type=int, nargs=2, default=[64, 40], help="of the context model and the synthesis")
    parser.add_argument("--lr", type=float, nargs=3, default=[4e-4, 1e-3, 3e-4], help="context, its flags, synthesis")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    torch.autograd.set_multithreading_enabled(False)
    device, folder = torch.device(arguments.device), arguments.output
    (folder / "synthesis").mkdir(parents=True, exist_ok=True)
    begun = time.time()

    def log(**entry: object) -> None:
        with (folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"seconds": round(time.time() - begun), **entry}) + "\n")
        print(entry, flush=True)

    codec = Codec.load(arguments.model, device=arguments.device)
    shipped, model = (copied(codec.autoencoder) for _ in range(2))
    largest = {name: t.to(device) for name, t in load_file(arguments.synthesis / "gauge.safetensors").items()}
    net = RoundedSynthesis(ConvSynthesis().to(device), Gauge(0.999, largest)).to(device)
    net.load_state_dict({k: v.float() for k, v in load_file(arguments.synthesis / "average.safetensors").items()})
    model.synthesis = net.net
    context = ContextModel(replace(codec.config.context, flags=True)).to(device)
    load_grown(context, {own_name(k): v.float().to(device) for k, v in load_file(arguments.context).items()})

    refined = RDOTokens(model, codec.entropy, codec.config.dead_zone, TUNINGS[codec.config.tune])
    held_images = validation_crops(read_images([arguments.val]), 256, HELD).to(device)

    def searched(images: Tensor, quality: int) -> tuple[Tensor, Subbands, float]:
        return images.byte(), refined(images, quality).map(Tensor.short), step_of(quality)

    held = [searched(held_images, quality_near(step)) for step in STEPS]
    crops = Crops(read_images(arguments.data), arguments.seed, device)
    log(images=len(crops), device=torch.cuda.get_device_name() if device.type == "cuda" else "cpu")

    rng, parts = np.random.default_rng(arguments.seed), []
    start = time.time()
    while (now := time.time()) - start < 60 * arguments.minutes[0] or len(parts) < 2:
        quality = 1 + int(100 * ((len(parts) * 0.6180339887 + 0.01 * rng.random()) % 1))
        images = scaled(crops, arguments.searched, arguments.crop, float(rng.choice(SCALES)))
        parts.append(searched(images, quality))
    pool = Pool(parts)
    pixels = pool.images[..., 0].numel() / 1e6
    log(crops=len(pool.images), megapixels=round(pixels, 1), megapixels_per_second=round(pixels / (now - start), 2))
    model.requires_grad_(False)

    def train(
        name: str,
        module: nn.Module,
        rates: list[tuple[torch.optim.Optimizer, float]],
        minutes: float,
        batch: int,
        loss_of: Callable[[Tensor, Subbands, Tensor], Tensor],
        validate: Callable[[], object],
        save: Callable[[dict[str, Tensor]], None],
    ) -> None:
        average, trained = Average(module, 0.995), [p for p in module.parameters() if p.requires_grad]

        def validated() -> object:
            current = {k: v.clone() for k, v in module.state_dict().items()}
            module.load_state_dict(average.mean)
            with torch.no_grad():
                found = validate()
            module.load_state_dict(current)
            return found

        log(name=name, k=0, validation=validated())
        start = saved = time.time()
        k, losses = 0, []
        while (done := (time.time() - start) / (60 * minutes)) < 1:
            for optimiser, rate in rates:
                for group in optimiser.param_groups:
                    group["lr"] = rate * min(1, (k + 1) / 30) * (1 - done) ** 0.8
            loss = loss_of(*pool.batch(batch))
            descend(loss, (o for o, _ in rates), trained)
            k += 1
            average.update(k)
            losses.append(loss.item())
            if k % 50 == 0 or k == 5:
                log(name=name, k=k, loss=round(float(np.mean(losses)), 5), minutes=round(done * minutes, 2))
                losses = []
            if time.time() - saved > 60:
                save(average.mean)
                log(name=name, k=k, validation=validated())
                saved = time.time()
        save(average.mean)
        log(name=name, k=k, megapixels=round(k * batch * arguments.crop**2 / 1e6), validation=validated())

    half = device.type == "cuda"

    def rate_loss(_: Tensor, tokens: Subbands, step: Tensor) -> Tensor:
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            bits = measured(context, tokens, step).bits()
        return (bits * step / 26).mean() / arguments.crop**2

    def rates_held() -> list[float]:
        found = []
        for images, tokens, step in held:
            steps = torch.full((len(images),), step, device=device)
            bits = measured(context, tokens.map(Tensor.float), steps).bits()
            found.append(round(bits.mean().item() / 256**2, 5))
        return found

    def save_context(mean: dict[str, Tensor]) -> None:
        save_file(
            {stored_name(n): v.half().cpu().contiguous() for n, v in mean.items()}, folder / "context.safetensors"
        )

    fresh = nn.ModuleList(level.flags for level in context.levels if level.flags is not None)
    rates = [(o, arguments.lr[1]) for o in optimisers(fresh, half)]
    fresh.requires_grad_(False)  # the others' optimisers leave them out
    rates += [(o, arguments.lr[0]) for o in optimisers(context, half)]
    fresh.requires_grad_(True)
    train("context", context, rates, arguments.minutes[1], arguments.batch[0], rate_loss, rates_held, save_context)

    model.synthesis = net
    net.requires_grad_(True)

    def distortion_loss(images: Tensor, tokens: Subbands, step: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(device.type, torch.bfloat16, enabled=half):
            taught = shipped.decode(tokens, step).float()
        target = torch.lerp(images, taught, TEACHER)
        errors = (model.decode(tokens, step) - target).square().sum((1, 2, 3))
        return (errors * lagrangian(step) * step / 26).mean() / arguments.crop**2

    def psnr_held(decoder: nn.Module = model) -> list[float]:
        found = []
        for images, tokens, step in held:
            steps = torch.full((len(images),), step, device=device)
            error = (decoder.decode(tokens.map(Tensor.float), steps).clamp(0, 255) - images.float()).square()
            found.append(round((10 * torch.log10(65025 / error.mean((1, 2, 3)))).mean().item(), 3))
        return found

    with torch.no_grad():
        log(shipped=psnr_held(shipped))

    def save_synthesis(mean: dict[str, Tensor]) -> None:
        tensors = {n: stored(n, v).cpu().contiguous() for n, v in mean.items()}
        save_file(tensors, folder / "synthesis" / "average.safetensors")
        save_file({n: t.cpu().contiguous() for n, t in largest.items()}, folder / "synthesis" / "gauge.safetensors")

    both = [(o, arguments.lr[2]) for o in optimisers(net, half)]
    train("synthesis", net, both, arguments.minutes[2], arguments.batch[1], distortion_loss, psnr_held, save_synthesis)


if __name__ == "__main__":
    main()
