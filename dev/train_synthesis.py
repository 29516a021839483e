"""Train the synthesis of integers, models/synthesis.py, on the fixed tokens of a floating-point model.

    python dev/train_synthesis.py shared/data/train/train-0*.tar --val shared/data/train/val.tar
    --model local-dir:runs/float -o runs/synthesis --until 18:05

It starts from that model's synthesis (see synthesis.start_from); analysis, gains and tokens are that model's too.
The loss is the squared error against a mix of the picture and what that synthesis makes of the same tokens (--distil:
the share of the latter), which is a target with less noise. Of each batch, a part is new (--fresh); the rest comes from
a pool of recent samples, which saves the passes of analysis and teacher.

With --rounded the network computes as its integers do (training/rounding.py), and learns with that: the second phase.
Its scales are measured at the start and kept in gauge.safetensors.

A run goes on from its checkpoint if there is one, by the clock, on a CPU or a GPU. It writes log.jsonl, checkpoint.pt
(weights, their average, the optimisers' state) and average.safetensors (the averaged weights in half precision: what a
new machine goes on from).
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from collections import deque
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from clock import until
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitcodec import Codec
from vitcodec.models.blocks import RMSNorm
from vitcodec.models.synthesis import ConvSynthesis, start_from
from vitcodec.quality import lagrangian, round_tokens, step_position
from vitcodec.subbands import Subbands
from vitcodec.training.data import Crops, read_images
from vitcodec.training.optimiser import optimisers
from vitcodec.training.rounding import Gauge, RoundedSynthesis, measure

STEPS = 120.0, 64.0, 32.0, 12.0  # quantisation steps in 8-bit levels that are validated
DEAD_ZONE = 0.09
QUANTILE = 0.999  # of the magnitudes that a map's scale leaves room for
POOL = 200  # samples to draw again, 1.2 MB each


@torch.no_grad()
def tokens(model: nn.Module, image: Tensor, step: Tensor) -> Subbands:
    """Rounded tokens, as floats."""
    return round_tokens(model.encode(image, step).map(Tensor.float), DEAD_ZONE).map(Tensor.float)


def warm(model: nn.Module, image: Tensor) -> ConvSynthesis:
    """The network that starts from the shipped synthesis; image: a batch of four to measure its features on."""
    inverse: dict[str, list[Tensor]] = {}
    norms = {n: m for n, m in model.synthesis.named_modules() if isinstance(m, RMSNorm)}
    hooks = [
        m.register_forward_hook(
            lambda _m, x, _y, n=n: inverse.setdefault(n, []).append(x[0].square().mean(-1).rsqrt().mean())
        )
        for n, m in norms.items()
    ]
    steps = torch.tensor(STEPS, device=image.device)
    with torch.no_grad():
        model.decode(tokens(model, image, steps), steps)
    for hook in hooks:
        hook.remove()
    return start_from(model.synthesis, {n: torch.stack(v).mean().item() for n, v in inverse.items()})


def rounded(model: nn.Module, net: ConvSynthesis, crops: Crops, file: Path) -> RoundedSynthesis:
    """The network with its rounding; the magnitudes of its maps are measured once."""
    if file.exists():
        largest = {name: t.to(crops.pixels.device) for name, t in load_file(file).items()}
        return RoundedSynthesis(net, Gauge(QUANTILE, largest))

    def samples() -> Iterator[tuple[Subbands, Tensor]]:
        for value in (160.0, 80.0, 40.0, 20.0, 10.0, 4.0):
            image, step = crops.batch(3, 256), torch.full((3,), value, device=crops.pixels.device)
            latents = model._scale(tokens(model, image, step), model.inverse_gain - model.gain, step_position(step))
            yield latents, step_position(step)

    gauge = measure(net, samples(), QUANTILE)
    save_file({name: t.contiguous() for name, t in gauge.largest.items()}, file)
    return RoundedSynthesis(net, gauge)


def stored(name: str, value: Tensor) -> Tensor:
    """In half precision, but for what the integers are computed with."""
    return value.float() if "scale_" in name or "shift_" in name else value.half()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="tars or folders of images")
    parser.add_argument("--model", required=True, help="a floating-point model to start from, as -m takes it")
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument(
        "--until", type=until, required=True, help="HH:MM today, or 9m from now: the learning rate falls to that moment"
    )
    parser.add_argument("--rounded", action="store_true", help="train with the integers' rounding in the loop")
    parser.add_argument("--init", type=Path, help="average.safetensors of an earlier run")
    parser.add_argument(
        "--distil", type=float, default=0.7, metavar="SHARE", help="of the shipped synthesis in the target"
    )
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--bfloat16", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--fresh", type=int, default=2, help="new samples in a batch")
    parser.add_argument("--lr", type=float, default=6e-4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()

    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    torch.autograd.set_multithreading_enabled(False)
    device = torch.device(arguments.device)
    model = Codec.load(arguments.model, device=arguments.device).autoencoder.requires_grad_(False)
    teacher = copy.copy(model)  # shares analysis and gains, keeps the shipped synthesis
    teacher._modules = dict(model._modules)
    start_crops = Crops(read_images([arguments.val]), 0, device)
    net = warm(model, start_crops.batch(4, 256)).to(device)
    if arguments.init:
        net.load_state_dict({k: v.float() for k, v in load_file(arguments.init).items()})
    arguments.output.mkdir(parents=True, exist_ok=True)
    if arguments.rounded:
        net = rounded(model, net, start_crops, arguments.output / "gauge.safetensors").to(device)
    crops = [a for a in read_images([arguments.val]) if min(a.shape[:2]) >= 256][:16]
    centre = [a[(a.shape[0] - 256) // 2 :][:256, (a.shape[1] - 256) // 2 :][:, :256] for a in crops]
    held = torch.from_numpy(np.stack(centre)).float().to(device)
    fixed = [(s, tokens(model, held, s)) for s in (torch.full((len(held),), v, device=device) for v in STEPS)]

    @torch.no_grad()
    def psnr(synthesis: nn.Module | None) -> list[float]:
        model.synthesis = synthesis
        errors = [
            torch.cat(
                [
                    (model.decode(one, s[:1]).clamp(0, 255) - x).square().mean((1, 2, 3))
                    for x, one in zip(held.split(1), t.split_batch(), strict=True)
                ]
            )
            for s, t in fixed
        ]
        return [round((10 * torch.log10(65025 / e)).mean().item(), 3) for e in errors]

    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)

    def log(**entry: object) -> None:
        with (folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"time": datetime.now().isoformat(timespec="seconds"), **entry}) + "\n")
        print(entry, flush=True)

    both, k = optimisers(net, arguments.bfloat16), 0
    average = {n: p.detach().clone() for n, p in net.state_dict().items()}
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        net.load_state_dict(state["net"])
        average, k = state["average"], state["k"]
        for optimiser, saved in zip(both, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
    else:
        log(wavelet=psnr(None), shipped=psnr(teacher.synthesis))
    model.synthesis = net

    def save() -> None:
        torch.save(
            {"net": net.state_dict(), "average": average, "k": k, "optimisers": [o.state_dict() for o in both]},
            checkpoint.with_suffix(".tmp"),
        )
        checkpoint.with_suffix(".tmp").replace(checkpoint)
        save_file({n: stored(n, v).contiguous() for n, v in average.items()}, folder / "average.safetensors")

    def validate() -> None:
        current = copy.deepcopy(net.state_dict())
        net.load_state_dict(average)
        log(k=k, minutes=round((time.time() - start) / 60, 1), average=psnr(net))
        net.load_state_dict(current)
        model.synthesis = net

    data, rng = (
        Crops(read_images(arguments.data), arguments.seed + k, device),
        np.random.default_rng(arguments.seed + k),
    )
    pool: deque = deque(maxlen=POOL)
    start, end, saved, validated, losses = time.time(), arguments.until.timestamp(), time.time(), time.time(), []
    while (done := (time.time() - start) / (end - start)) < 1:
        for optimiser in both:
            for group in optimiser.param_groups:
                group["lr"] = arguments.lr * min(1, (k + 1) / 50) * (1 - done) ** 0.8
        count, fresh = arguments.batch, arguments.fresh
        image = data.batch(fresh, arguments.crop)
        step = 3 * (200 / 3) ** torch.from_numpy((np.arange(fresh) + rng.random(fresh)) / fresh).float().to(device)
        integers = tokens(model, image, step)
        with torch.no_grad():
            target = torch.lerp(image, teacher.decode(integers, step), arguments.distil)
        new = [(i.map(lambda t: t.short()), t, s) for i, t, s in zip(integers.split_batch(), target, step, strict=True)]
        drawn = [pool[i] for i in rng.integers(0, len(pool), count - fresh)] if pool else []
        pool.extend(new)
        first, *rest = (i for i, _, _ in (*new, *drawn))
        integers = first.combine(lambda *parts: torch.cat(parts).float(), *rest)
        target, step = torch.stack([t for _, t, _ in (*new, *drawn)]), torch.stack([s for _, _, s in (*new, *drawn)])
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.bfloat16):
            decoded = model.decode(integers, step)
        loss = (
            (decoded.float() - target).square().sum((1, 2, 3)) * lagrangian(step) * step / 26
        ).mean() / arguments.crop**2
        for optimiser in both:
            optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        for optimiser in both:
            optimiser.step()
        k += 1
        weight = 1 - min(0.998, (1 + k) / (10 + k))
        for n, p in net.state_dict().items():
            average[n].lerp_(p, weight)
        losses.append(loss.item())
        if k % 50 == 0:
            log(k=k, loss=round(float(np.mean(losses)), 5), megapixels=round(k * count * arguments.crop**2 / 1e6, 1))
            losses = []
        if time.time() - saved > 240:
            save()
            saved = time.time()
        if time.time() - validated > 600:
            validate()
            validated = time.time()
    save()
    validate()


if __name__ == "__main__":
    main()
