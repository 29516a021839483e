"""Train the context model with block flags on fixed tokens of the shipped `swin` model.

    python dev/train_context.py cache runs/tokens shared/data/train/train-0*.tar --val shared/data/train/val.tar
    --count 700

writes tokens of random crops at random qualities: half of them rounded, a quarter each as efforts 2 and 3 choose them.
Shards (NNNN.npz) are added until there are that many crops; a stopped run goes on with the next shard.

    python dev/train_context.py train runs/tokens -o runs/context-flags --until 23:40

trains the context model on them; nothing else changes, so the loss is bits alone. It starts from the weights that ship,
grown by the flags, and goes on from its checkpoint if there is one, by the clock. It writes log.jsonl, checkpoint.pt
(weights, their average, the optimisers' state) and average.safetensors (the averaged weights in half precision).
With --flags-only nothing but the flags' heads is trained, at a tenth of the cost of a step: the first stage.
Validation compares values + flags with the shipped model without flags on the same tokens, in %.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from clock import until
from safetensors.torch import load_file, save_file
from token_cache import CROP, MODEL, STEPS, VALIDATION, cache, load_tokens
from torch import Tensor, nn

from vitcodec.context.arithmetic import FloatArithmetic
from vitcodec.context.density import RateEstimator
from vitcodec.context.groups import FLAGGED_LEVELS, block_flags
from vitcodec.context.heads import neighbourhood
from vitcodec.context.model import ContextModel
from vitcodec.layers import depth_to_space
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import FLOAT_CONTEXT
from vitcodec.pretrained.loading import own_name, stored_name
from vitcodec.subbands import LEVELS, Subbands
from vitcodec.training.model import Average, dedicate_overdue_units, dedicate_units, load_grown
from vitcodec.training.optimiser import Optimiser


@torch.no_grad()
def inherited_features(context: ContextModel, tokens: Subbands, step: Tensor) -> list[Tensor]:
    """What the flags' heads of levels 1 and 2 see of the coarser levels' features, (B, h, w, C)."""
    num, low, parent, found = FloatArithmetic(step.device), tokens.low, None, {}
    h, w = tokens.grid
    inherited = context.step_features(step)[:, None, None].expand(-1, h // 2, w // 2, -1)
    for level in context.levels:
        low = low if parent is None else num.merge(low, parent)
        found[level.level] = inherited
        if level.up is None:
            break
        parts = level.known(num, inherited, low, parent)
        if level.flags is not None:
            parts.append(neighbourhood(block_flags(tokens[level.level]).float(), 3))
        inherited = depth_to_space(level.up(level.features(parts)))
        parent = tokens[level.level]
    return [found[level] for level in FLAGGED_LEVELS]


class FixedTokens:
    """The crops of a cache on a device.

    context: makes `inherited`, the inputs of the flags' heads that stay the same if only these learn.
    """

    def __init__(self, folder: Path, device: torch.device, context: ContextModel | None = None):
        self.folder, self.device, self.context = folder, device, context
        self.shards: dict[Path, tuple[list[Tensor], list[Tensor]]] = {}
        self.update()

    def update(self) -> None:
        """Load shards that are new."""
        for path in sorted(p for p in self.folder.glob("*.npz") if p.stem.isdigit()):
            if path not in self.shards:
                tokens, steps = load_tokens([path])
                tokens, steps = tokens.map(lambda t: t.to(self.device)), steps.to(self.device)
                made = []
                if self.context is not None:
                    pairs = zip(tokens.map(Tensor.float).split_batch(), steps.split(1), strict=True)
                    crops = [[x.half() for x in inherited_features(self.context, *pair)] for pair in pairs]
                    made = [torch.cat(parts) for parts in zip(*crops, strict=True)]
                self.shards[path] = [*tokens, steps], made
        if not self.shards:
            raise SystemExit(f"{self.folder}: no tokens; run `cache` first")
        low, *details, self.steps = (torch.cat(t) for t in zip(*(t for t, _ in self.shards.values()), strict=True))
        self.tokens = Subbands(low, tuple(details))
        self.inherited = [torch.cat(t) for t in zip(*(made for _, made in self.shards.values()), strict=True)]
        self.order = torch.argsort(self.steps)

    def batch(self, count: int) -> tuple[Subbands, Tensor, list[Tensor]]:
        """Tokens as floats, steps (count,) and inherited features: a random crop of each stratum of the steps."""
        chosen = self.order[((torch.arange(count) + torch.rand(count)) / count * len(self.steps)).long()]
        return (
            self.tokens.map(lambda t: t[chosen].float()),
            self.steps[chosen],
            [x[chosen].float() for x in self.inherited],
        )


def measured_flags(context: ContextModel, tokens: Subbands, step: Tensor, inherited: list[Tensor]) -> RateEstimator:
    """As `measured`, of the flags alone."""
    meter, num, low = RateEstimator(tokens, tokens, context.base, step), FloatArithmetic(step.device), tokens.low
    found = dict(zip(FLAGGED_LEVELS, inherited, strict=True))
    for level in range(LEVELS - 1, 0, -1):
        low = num.merge(low, tokens[level + 1])
        if level in found:
            module = context.levels[LEVELS - level]
            module.flags(num, module.known(num, found[level], low, tokens[level + 1]), meter, level)
    return meter


def measured(context: ContextModel, tokens: Subbands, step: Tensor) -> RateEstimator:
    """What a pass over tokens, as floats, with steps (B,) costs."""
    meter = RateEstimator(tokens, tokens, context.base, step)
    arithmetic, features = FloatArithmetic(step.device), context.step_features(step)
    context.autoregressive_pass(arithmetic, features, *tokens.grid, meter)
    return meter


@torch.no_grad()
def validated(context: ContextModel, tokens: Subbands, steps: Tensor) -> dict[str, list[float]]:
    """Means over crops at each of STEPS: bits per pixel, those of flags alone, and shares of flagged blocks in %."""
    found: dict[str, list[float]] = {}
    for at in STEPS:
        rows: list[dict[str, float]] = []
        for k in torch.nonzero((torch.log(steps / at)).abs() < 0.1).flatten().split(4):
            meter = measured(context, tokens.map(lambda t, k=k: t[k].float()), steps[k])
            shares = {f"{n}{l}": f[..., c].mean().item() for l, f in meter.flags.items() for c, n in enumerate("yc")}
            rates = {"bpp": meter.bits(), "flags_bpp": meter.flag_bits()}
            rows.append({k: v.mean().item() / CROP**2 for k, v in rates.items()})
            rows[-1] |= {f"flagged_{k}": 100 * v for k, v in shares.items()}
        for key in rows[0]:
            found.setdefault(key, []).append(round(float(np.mean([row[key] for row in rows])), 5))
    return found


def train(arguments: argparse.Namespace) -> None:
    torch.manual_seed(arguments.seed)
    device, folder = torch.device(arguments.device), arguments.output
    folder.mkdir(parents=True, exist_ok=True)

    def log(**entry: object) -> None:
        with (folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"time": datetime.now().isoformat(timespec="seconds"), **entry}) + "\n")
        print(entry, flush=True)

    config = registry.find(MODEL)
    shipped = {own_name(k): v.float() for k, v in load_file(config.folder / FLOAT_CONTEXT).items()}
    context = ContextModel(replace(config.context, flags=True)).to(device)
    start_from = shipped
    if arguments.init:
        start_from = {own_name(k): v.float() for k, v in load_file(arguments.init).items()}
    load_grown(context, start_from)
    if arguments.dedicate:
        dedicate_units(context)
    if arguments.overdue:
        dedicate_overdue_units(context)
    held = load_tokens([arguments.tokens / VALIDATION])
    held = held[0].map(lambda t: t.to(device)), held[1].to(device)
    if arguments.levels:
        context.requires_grad_(False)
        for level in arguments.levels:
            context.levels[LEVELS - level].requires_grad_(True)
    fresh = nn.ModuleList(level.flags for level in context.levels if level.flags is not None)
    own = {id(p) for p in fresh.parameters()}
    rates = [
        (Optimiser(chosen, torch.zeros((), device=device), arguments.bfloat16), rate)
        for chosen, rate in (
            ([(n, p) for n, p in context.named_parameters() if id(p) in own], arguments.flag_lr),
            ([(n, p) for n, p in context.named_parameters() if id(p) not in own], arguments.lr),
        )
    ]
    average, k = Average(context, arguments.average), 0
    checkpoint = folder / "checkpoint.pt"  # holds `reference` too, the bits of the shipped model
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        context.load_state_dict(state["context"])
        average.mean, k, reference = state["average"], state["k"], np.array(state["reference"])
        for (optimiser, _), saved in zip(rates, state["optimisers"], strict=True):
            optimiser.load(saved)
    else:
        plain = ContextModel(config.context).to(device)
        plain.load_state_dict(shipped)
        reference = np.array(validated(plain, *held)["bpp"])
        log(shipped_bpp=reference.tolist(), steps=STEPS)

    def save() -> None:
        states = [o.state() for o, _ in rates]
        state = {"context": context.state_dict(), "average": average.mean, "k": k, "optimisers": states}
        state["reference"] = reference.tolist()
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)
        halves = {stored_name(n): v.half().contiguous() for n, v in average.mean.items()}
        save_file(halves, folder / "average.safetensors")

    def validate() -> None:
        current = copy.deepcopy(context.state_dict())
        context.load_state_dict(average.mean)
        found = validated(context, *held)
        context.load_state_dict(current)
        change = (100 * (np.array(found["bpp"]) / reference - 1)).round(3).tolist()
        log(k=k, minutes=round((time.time() - start) / 60, 1), change_percent=change, **found)

    start, end = time.time(), arguments.until.timestamp()
    saved = checked = loaded = start
    data, losses = FixedTokens(arguments.tokens, device, context if arguments.flags_only else None), []
    start = checked = time.time()
    log(k=k, crops=len(data.steps), until=f"{arguments.until:%H:%M}", lr=arguments.lr, flag_lr=arguments.flag_lr)
    while (done := (time.time() - start) / (end - start)) < 1:
        for optimiser, rate in rates:
            optimiser.rate.fill_(rate * min(1, (k + 1) / 20) * (1 - done) ** 0.8)
            optimiser.zero()
        tokens, step, inherited = data.batch(arguments.batch)
        with torch.autocast(device.type, torch.bfloat16, enabled=arguments.bfloat16):
            if arguments.flags_only:
                meter = measured_flags(context, tokens, step, inherited)
                bits = meter.flag_bits()
            else:
                meter = measured(context, tokens, step)
                bits = meter.bits()
        loss = (bits * step / 26).mean() / CROP**2
        loss.backward()
        for optimiser, _ in rates:
            optimiser.step()
        k += 1
        average.update(k)
        losses.append((loss.item(), meter.flag_bits().mean().item() / CROP**2))
        now = time.time()
        if k % 25 == 0:
            mean, flags = np.mean(losses, 0)
            log(k=k, loss=round(float(mean), 5), flags_bpp=round(float(flags), 5))
            losses = []
        if now - saved > 240:
            save()
            saved = now
        if now - loaded > 600:
            data.update()
            loaded = now
            log(k=k, crops=len(data.steps))
        if now - checked > 60 * arguments.validate:
            validate()
            checked = time.time()
    save()
    validate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("cache", help="write tokens")
    making.set_defaults(run=cache)
    making.add_argument("folder", type=Path, help="where the tokens go")
    making.add_argument("data", type=Path, nargs="+", help="tars or folders of images")
    making.add_argument("--val", type=Path, required=True)
    making.add_argument("--count", type=int, default=700, help="crops, with those that are there already")
    training = commands.add_parser("train", help="train on them")
    training.set_defaults(run=train)
    training.add_argument("tokens", type=Path, help="the folder of a cache; new shards are taken up on the way")
    training.add_argument("-o", "--output", type=Path, required=True)
    training.add_argument(
        "--until", type=until, required=True, help="HH:MM, or 9m from now: the learning rates fall to that moment"
    )
    training.add_argument(
        "--init", type=Path, help="average.safetensors of an earlier run, in place of shipped weights"
    )
    training.add_argument("--dedicate", action="store_true", help="first let a unit of each luma head see empty blocks")
    training.add_argument(
        "--overdue", action="store_true", help="first let a unit of each condition see overdue blocks"
    )
    training.add_argument("--levels", type=lambda text: [int(n) for n in text.split(",")], help="1,2; otherwise all")
    training.add_argument("--flags-only", action="store_true", help="train the flags' heads alone")
    training.add_argument("--lr", type=float, default=3e-4, help="of weights that were trained before")
    training.add_argument("--flag-lr", type=float, default=2e-3, help="of the flags' heads")
    training.add_argument("--batch", type=int, default=4)
    training.add_argument("--average", type=float, default=0.998, help="decay of the averaged weights")
    training.add_argument("--validate", type=float, default=10, help="minutes between validations")
    training.add_argument("--bfloat16", action="store_true")
    training.add_argument("--seed", type=int, default=0)
    for command in (making, training):
        command.add_argument("--device", default="cpu")
        command.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.autograd.set_multithreading_enabled(False)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
