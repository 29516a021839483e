"""Train an enhancement of pixels (vitcodec/enhancement.py) for a model folder of integers.

    python dev/train_enhancement.py cache MODEL runs/tokens -o runs/planes

decodes the crops of a folder of token_cache.py and writes their planes, NNNN.npy: of four in five with the adaptive
filter fitted to the crop, as files have it.

    python dev/train_enhancement.py train MODEL runs/tokens runs/planes -o runs/enhancement --until 23:40

trains on them by the clock, in floating point and in the last part of the time with the rounding in the loop. It
writes log.jsonl and average.safetensors, the averaged weights. With several processes: torchrun --nproc-per-node N.

    python dev/train_enhancement.py put MODEL runs/enhancement

adds it to the model folder, with the next number.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
import torch.distributed as dist
from clock import until
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitcodec import fixed_point
from vitcodec.adaptive_filter import REACH, AdaptiveFilter
from vitcodec.integer.layers import ZERO_POINT
from vitcodec.options import QUALITIES
from vitcodec.pipeline import loading
from vitcodec.pipeline.weighing import bits_per_error
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.enhancements import add_enhancement
from vitcodec.pretrained.integer_model import load
from vitcodec.quality import step_of
from vitcodec.reconstruction import Reconstruction
from vitcodec.search.filter_fit import fitted_to_planes
from vitcodec.subbands import Subbands
from vitcodec.tiles import Area, crop
from vitcodec.training.enhancement import EnhancementNet, RoundedEnhancement, measure_scales, planes_of, sizes
from vitcodec.training.model import Average
from vitcodec.training.optimiser import Optimiser
from vitcodec.training.token_cache import VALIDATION, read_shards

FITTED = 0.8  # share of the crops whose filter is fitted to them
PICTURE = 6.0  # a picture has about so many pixels as a crop: the bits of its filter weigh less
FRACTION = 1 << fixed_point.FRACTION_BITS
ROUNDED_RATE = 0.3  # of the learning rate, where rounding begins
SIDE = 96  # pixels of the parts of crops that a step sees
SAMPLES = 16  # crops, of all qualities, that scales are measured on
FLOOR = 0.3  # squared error of an 8-bit level, below which it counts less
AVERAGE = "average.safetensors"


def qualities_of(steps: Tensor) -> Tensor:
    table = torch.tensor([step_of(q) for q in QUALITIES])
    return (steps[:, None] / table).log().abs().argmin(1) + 1


def shards(folder: Path) -> list[Path]:
    return [folder / VALIDATION, *sorted(p for p in folder.glob("*.npz") if p.stem.isdigit())]


def cache(arguments: argparse.Namespace) -> None:
    coder = loading.load(PretrainedConfig.read(arguments.model), "cpu", 1)
    transform, search = coder.decoder.transform, coder.encoder.searches.search(3, 1.0)
    arguments.output.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)

    def planes(tokens: Subbands, image: Tensor, quality: int, fitted: bool) -> np.ndarray:
        whole = Area(0, 0, *tokens.grid)
        picture = Reconstruction(
            transform.engine, transform.dequantiser, whole, np.array([[quality]]), lambda a: crop(tokens, a)
        )
        decoded, base = picture.planes(whole), transform.filter(quality)
        if fitted:
            wanted = planes_of(image[None])[0].numpy()
            changes = fitted_to_planes(base, decoded, wanted, PICTURE * bits_per_error(search, quality))
            weights = [w + c for w, c in zip(base.weights, changes, strict=True)]
            base = AdaptiveFilter(base.threshold, (weights[0], weights[1], weights[2]))
        return base(np.pad(decoded, ((0, 0), (REACH,) * 2, (REACH,) * 2), mode="edge")).astype(np.int16)

    for path in shards(arguments.tokens):
        out = arguments.output / f"{path.stem}.npy"
        if out.exists():
            continue
        start, samples = time.time(), read_shards([path])
        assert samples.tokens is not None
        found = []
        for k, quality in enumerate(qualities_of(samples.step).tolist()):
            tokens = samples.tokens.map(lambda t, k=k: t[k : k + 1].int().numpy())
            fitted = path.name == VALIDATION or rng.random() < FITTED
            found.append(planes(tokens, samples.image[k], quality, fitted))
        np.save(out, np.stack(found))
        print(f"{out}: {len(found)} crops in {time.time() - start:.0f} s", flush=True)


class Samples:
    """Decoded crops, their originals and their steps, which stay on a device."""

    def __init__(self, tokens: list[Path], planes: Path, positions: np.ndarray, device: torch.device):
        found = [(read_shards([path]), np.load(planes / f"{path.stem}.npy")) for path in tokens]
        self.images = torch.cat([samples.image for samples, _ in found])
        self.steps = torch.cat([samples.step for samples, _ in found])
        self.planes = torch.from_numpy(np.concatenate([p for _, p in found]))
        self.places = torch.from_numpy(positions).float()[qualities_of(self.steps) - 1] - ZERO_POINT
        self.order = torch.argsort(self.steps)
        for name, value in list(vars(self).items()):
            setattr(self, name, value.to(device))

    def part(self, chosen: Tensor, area: tuple[slice, slice] = (slice(None), slice(None))) -> tuple[Tensor, ...]:
        """Arguments of the network, then the original planes."""
        decoded = self.planes[chosen][:, :, *area].float() / FRACTION
        return decoded, self.steps[chosen], self.places[chosen], planes_of(self.images[chosen][:, *area])

    def batch(self, count: int) -> tuple[Tensor, ...]:
        """Parts of a crop of each stratum of the steps, turned and mirrored at random."""
        strata = ((torch.arange(count) + torch.rand(count)) / count).to(self.order.device)
        top, left = (2 * torch.randint((self.planes.shape[2] - SIDE) // 2 + 1, (2,))).tolist()
        decoded, step, place, wanted = self.part(
            self.order[(strata * len(self.order)).long()], (slice(top, top + SIDE), slice(left, left + SIDE))
        )
        both = torch.cat((decoded, wanted), 1)
        turned = torch.rand(3) < 0.5
        both = both.flip([k for k in (2, 3) if turned[k - 2]])
        both = both.transpose(2, 3) if turned[2] else both
        decoded, wanted = both.contiguous(memory_format=torch.channels_last).split(3, 1)
        return decoded, step, place, wanted


def errors(net: nn.Module, sample: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Squared errors of crops before and after, (B,)."""
    decoded, step, place, wanted = sample
    rounded = isinstance(net, RoundedEnhancement)
    with torch.autocast(decoded.device.type, torch.bfloat16, enabled=not rounded):
        added = net(decoded, step, place)
    return tuple((x - wanted).square().mean((1, 2, 3)) for x in (decoded, decoded + added.float()))  # type: ignore[return-value]


@torch.no_grad()
def gains(net: nn.Module, held: Samples) -> list[float]:
    """dB at each step of the validation crops, the coarsest first."""
    found = []
    for step in held.steps.unique().flip(0):
        parts = torch.nonzero(held.steps == step).flatten().split(6)
        before, after = (torch.cat(e) for e in zip(*(errors(net, held.part(p)) for p in parts), strict=True))
        found.append(round((10 * torch.log10((before + 0.01) / (after + 0.01))).mean().item(), 4))
    return found


def clock(end: float, world: int) -> Iterator[float]:
    """The share of the time that is over, the same for all processes."""
    start = time.time()
    while True:
        done = torch.tensor([(time.time() - start) / (end - start)])
        if world > 1:
            dist.broadcast(done, 0)
        if done.item() >= 1:
            return
        yield done.item()


def train(arguments: argparse.Namespace) -> None:
    torch.set_num_threads(arguments.threads)
    if several := dist.is_torchelastic_launched():
        dist.init_process_group("gloo")
    rank, world = (dist.get_rank(), dist.get_world_size()) if several else (0, 1)
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)

    def log(**entry: object) -> None:
        if not rank:
            with (folder / "log.jsonl").open("a") as file:
                file.write(json.dumps({"time": datetime.now().isoformat(timespec="seconds"), **entry}) + "\n")
            print(entry, flush=True)

    config = PretrainedConfig.read(arguments.model)
    positions = load(config.files[0], config.synthesis, config.context).dequantiser.positions
    paths = [p for p in shards(arguments.tokens) if (arguments.planes / f"{p.stem}.npy").exists()]
    device = torch.device(arguments.device)
    held, data = (Samples(part, arguments.planes, positions, device) for part in (paths[:1], paths[1:]))
    torch.manual_seed(0)
    net = EnhancementNet(arguments.width, arguments.blocks).to(device)
    if arguments.init:
        net.load_state_dict({k: v for k, v in load_file(arguments.init / AVERAGE).items() if k != "scales"})
    torch.manual_seed(1 + rank)
    rate, average, k = torch.tensor(0.0, device=device), Average(net, 0.998), 0
    optimiser = Optimiser(net.named_parameters(), rate, half=True)
    trained, rounded, start, looked = list(net.parameters()), None, time.time(), time.time()
    log(crops=len(data.steps), parameters=sum(p.numel() for p in trained), processes=world)

    def report() -> None:
        current = {name: value.clone() for name, value in net.state_dict().items()}
        net.load_state_dict(average.mean)
        log(k=k, minutes=round((time.time() - start) / 60, 1), rounded=rounded is not None, gains=gains(active(), held))
        scales = {} if rounded is None else {"scales": rounded.scales}
        save_file({n: v.contiguous() for n, v in average.mean.items()} | scales, folder / AVERAGE)
        net.load_state_dict(current)

    def active() -> nn.Module:
        return net if rounded is None else rounded

    for done in clock(arguments.until.timestamp(), world):
        if done >= 1 - arguments.rounded and rounded is None:
            net.load_state_dict(average.mean)
            chosen = held.order[torch.linspace(0, len(held.order) - 1, SAMPLES).long().to(device)]
            rounded = RoundedEnhancement(net, measure_scales(net, [held.part(chosen)[:3]]))
            if not rank:
                report()
        if rounded is None:
            left = 0.5 + 0.5 * math.cos(math.pi * done / (1 - arguments.rounded))
        else:
            left = ROUNDED_RATE * (1 - done) / arguments.rounded
        rate.fill_(arguments.lr * min(1, (k + 1) / 100) * left)
        before, after = errors(active(), data.batch(arguments.batch))
        for p in trained:
            p.grad = None
        ((after + FLOOR) / (before + FLOOR)).log().mean().backward()
        if world > 1:
            flat = torch.cat([p.grad.flatten() for p in trained if p.grad is not None])
            dist.all_reduce(flat)
            for p, gradient in zip(trained, flat.div_(world).split([p.numel() for p in trained]), strict=True):
                p.grad = gradient.view_as(p)
        optimiser.step()
        k += 1
        average.update(k)
        if not rank and time.time() - looked > 60 * arguments.validate:
            looked = time.time()
            report()
    if not rank:
        report()


def put(arguments: argparse.Namespace) -> None:
    weights = load_file(arguments.run_folder / AVERAGE)
    scales = weights.pop("scales")
    net = EnhancementNet(*sizes(weights))
    net.load_state_dict(weights)
    number = add_enhancement(arguments.model, RoundedEnhancement(net, scales).export())
    print(f"{arguments.model}: enhancement {number}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    caching, training, putting = (commands.add_parser(name) for name in ("cache", "train", "put"))
    for command, run in ((caching, cache), (training, train), (putting, put)):
        command.set_defaults(run=run)
        command.add_argument("model", type=Path, help="a folder of integers")
    for command in (caching, training):
        command.add_argument("tokens", type=Path, help="the folder of token_cache.py")
    training.add_argument("planes", type=Path, help="the folder of `cache`")
    for command in (caching, training):
        command.add_argument("-o", "--output", type=Path, required=True)
    training.add_argument("--until", type=until, required=True, help="HH:MM, or 9m from now")
    training.add_argument("--width", type=int, default=48)
    training.add_argument("--blocks", type=int, default=5)
    training.add_argument("--lr", type=float, default=2e-3)
    training.add_argument("--batch", type=int, default=16, help="of each process")
    training.add_argument("--init", type=Path, help="a run whose weights to start from")
    training.add_argument("--validate", type=float, default=5, help="minutes between validations")
    training.add_argument("--rounded", type=float, default=0.2, help="share of the time, at the end, with rounding")
    training.add_argument("--device", default="cpu")
    training.add_argument("--threads", type=int, default=1)
    putting.add_argument("run_folder", type=Path, metavar="RUN")
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
