"""Train the network of learned proposals (training/proposals.py) for a model folder of integers.

    python dev/train_proposals.py cache MODEL runs/proposals shared/data/train/train-0*.tar
    --val shared/data/train/val.tar --count 800

writes samples (NNNN.npz): what the network sees of crops at random qualities, and the true gradient. Of each crop one
state: its rounded tokens, or what one or two rounds of the model's own proposals make of them. A stopped run goes on
with the next file. Several processes write one folder if each has a --first of its own.

    python dev/train_proposals.py train runs/proposals -o runs/proposals-net --until 23:40

trains on them by the clock, and goes on from its checkpoint if there is one. It writes log.jsonl, checkpoint.pt,
average.safetensors and proposals.onnx.

    python dev/train_proposals.py measure MODEL runs/proposals-net --val shared/data/train/val.tar

prints J in % of rounding's after rounds of the known part, of proposals, and of the true gradient.

    python dev/train_proposals.py add MODEL runs/proposals-net

puts the graph into the model folder. With --exact, each of these commands is about the network beside the adjoint
(search/adjoint.py), which the model folder has to have: `add --exact` puts it there as well.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from clock import until
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitcodec.analysis import round_tokens
from vitcodec.engines.onnx import GRAPHS, OnnxEngine, read_graphs
from vitcodec.options import QUALITIES, EncodeOptions
from vitcodec.pipeline import loading
from vitcodec.pretrained import integer_model
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.search import adjoint
from vitcodec.search.adjoint import Exact
from vitcodec.search.costs import DOWN, UP
from vitcodec.search.efforts import EFFORTS
from vitcodec.search.gradient import Gradient
from vitcodec.search.measures import Target, Weights
from vitcodec.search.moves import update
from vitcodec.search.proposals import INPUTS, NETWORK, Proposals, by_stride, inputs, known_slopes
from vitcodec.search.rounds import Slopes
from vitcodec.search.state import Evaluator, State
from vitcodec.search.tuning import SQUARED_ERROR
from vitcodec.subbands import Subbands
from vitcodec.tiles import Area
from vitcodec.training.adjoint import adjoint_graph
from vitcodec.training.assemble import write_graphs, write_search
from vitcodec.training.data import Crops, read_images, validation_crops
from vitcodec.training.model import Average
from vitcodec.training.proposals import ProposalNetwork, graph, loss, slopes

CROP = 192  # pixels along a side
SHARD, ROUNDS = 36, 3  # crops in a file; how many rounds there are to take a state from
FIRST, LAST = 3, 97  # qualities
VALIDATION, VALIDATION_CROPS = "val.npz", 12
MARGIN = 3.0  # bits: a token whose update is further from lowering J hardly matters
REST = 0.05  # the weight of such tokens
MEASURED = 8, 25, 45, 70  # qualities
WAYS = "px", "xx", "pxx", "xxx"  # rounds by proposals alone and with the adjoint
NET, AVERAGE, ONNX = "net", "average.safetensors", "proposals.onnx"


class Model:
    """A model folder, ready to search."""

    def __init__(self, folder: Path, threads: int):
        config = PretrainedConfig.read(folder)
        self.dead_zone = config.dead_zone
        coder = loading.load(config, "cpu", threads)
        self.analysis, decoder = coder.encoder.analysis, coder.decoder
        self.evaluate = Evaluator(decoder.entropy, decoder.transform, SQUARED_ERROR, threads=threads)
        self.numbers = integer_model.load(config.files[0], config.synthesis, config.context)
        self.proposals = Proposals(coder.encoder.searches.network, threads)
        self.exact = coder.encoder.searches.search(4).exact  # the lowest effort that has it

    def start(self, rgb: np.ndarray, quality: int) -> tuple[Target, Subbands]:
        """(H, W, 3) uint8 -> what is searched for, and rounded tokens."""
        area = Area(0, 0, rgb.shape[0] // 16, rgb.shape[1] // 16)
        latents, original = self.analysis.with_coefficients(rgb, area, area, quality)
        return Target(original, latents, quality, [area]), round_tokens(latents, self.dead_zone)

    def moved(self, target: Target, state: State, found: Subbands, weights: Weights, round: int) -> Subbands:
        """Tokens after a round, counted from 0, with such slopes."""
        neighbourhood = SQUARED_ERROR.neighbourhood(self.evaluate.step(target.quality))
        flag_bits = self.evaluate.entropy.tables.flag_bits
        crowding = EFFORTS[EncodeOptions.effort].crowding_in(round)
        return update(state, found, weights.curvature, flag_bits, neighbourhood, crowding)


def matters(state: State, found: Subbands, curvature: np.ndarray) -> Subbands:
    """How much the slope of each token counts: 1 where it may decide, REST elsewhere, 0 where nothing is coded."""

    def weight(level: int) -> np.ndarray:
        changes, slope = state.changes[level], found[level]
        least = np.minimum(changes[..., UP] + slope, changes[..., DOWN] - slope) + curvature[level, : slope.shape[-1]]
        return np.where(least < MARGIN, 1.0, REST) * (changes[..., UP] != 0)

    return Subbands(weight(0), tuple(weight(level) for level in range(1, 5)))


def sample(
    model: Model, source: Gradient, rgb: np.ndarray, quality: int, rounds: int, exact: bool
) -> dict[str, np.ndarray]:
    """What is trained on: the state of a crop after so many rounds of the model's own proposals."""
    target, tokens = model.start(rgb, quality)
    weights, own = model.evaluate.weights(quality), model.exact if exact else model.proposals
    assert own is not None
    for k in range(rounds):
        state = model.evaluate(target, tokens)
        tokens = model.moved(target, state, own(target, state, weights), weights, k)
    state = model.evaluate(target, tokens)
    true = source(target, state, weights)
    if isinstance(own, Exact):
        state = replace(state, felt=own.adjoint(target, state))
    known = known_slopes(state, weights)
    found = dict(zip(INPUTS, inputs(target, state), strict=True))
    weight = matters(state, true, weights.curvature)
    for name, bands in (("true", true), ("known", known), ("weight", weight)):
        found |= {f"{name}{i}": m for i, m in enumerate(by_stride(bands))}
    return {name: np.clip(m, -6e4, 6e4).astype(np.float16) for name, m in found.items()}


def save_samples(path: Path, found: list[dict]) -> None:
    """It is there at once or not at all."""
    temporary = path.with_suffix(".partial.npz")
    np.savez_compressed(temporary, **{k: np.concatenate([s[k] for s in found]) for k in found[0]})
    temporary.replace(path)


def cache(arguments: argparse.Namespace) -> None:
    folder: Path = arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    model = Model(arguments.model, arguments.threads)
    source = Gradient(model.numbers, device=arguments.device)
    if not (folder / VALIDATION).exists():
        held = validation_crops(read_images([arguments.val]), CROP, VALIDATION_CROPS).byte().numpy()
        qualities = np.linspace(*arguments.qualities, VALIDATION_CROPS).round().astype(int).tolist()
        pairs = enumerate(zip(held, qualities, strict=True))
        save_samples(
            folder / VALIDATION, [sample(model, source, rgb, q, k % ROUNDS, arguments.exact) for k, (rgb, q) in pairs]
        )
    images, (least, most) = list(read_images(arguments.data)), arguments.qualities
    for number in range(arguments.first, arguments.first - (-arguments.count // SHARD)):
        path = folder / f"{number:04}.npz"
        if path.exists():
            continue
        start, rng, crops = time.time(), np.random.default_rng(number), Crops(images, number)
        found = []
        for k in range(SHARD):  # a stratum of the qualities for each crop
            quality = round(least + (k + rng.random()) * (most - least) / SHARD)
            rgb = crops.batch(1, CROP)[0].byte().numpy()
            rounds = int(rng.integers(ROUNDS))
            found.append(sample(model, source, rgb, min(quality, QUALITIES[-1]), rounds, arguments.exact))
        save_samples(path, found)
        print(f"{datetime.now():%H:%M:%S} {path.name}: {SHARD} crops in {time.time() - start:.0f} s", flush=True)


class Samples:
    """All samples of a folder."""

    def __init__(self, paths: list[Path], device: torch.device):
        if not paths:
            raise SystemExit("no samples; run `cache` first")
        parts = [dict(np.load(path)) for path in paths]
        self.arrays = {k: torch.from_numpy(np.concatenate([p[k] for p in parts])) for k in parts[0]}
        self.device = device

    def __len__(self) -> int:
        return len(self.arrays["position"])

    def batch(self, chosen: Tensor) -> dict[str, Tensor]:
        return {k: v[chosen].float().to(self.device) for k, v in self.arrays.items()}


def three(sample: dict[str, Tensor], name: str) -> list[Tensor]:
    return [sample[f"{name}{k}"] for k in range(3)]


def predicted(net: ProposalNetwork, sample: dict[str, Tensor]) -> list[Tensor]:
    return slopes(net(*(sample[name] for name in INPUTS)), three(sample, "known"))


@torch.no_grad()
def validated(net: ProposalNetwork, held: Samples) -> dict[str, object]:
    """The loss, that of the known part alone, and the share of its squared deviation that is left, by stride."""
    losses, left = [], []
    for k in range(len(held)):
        sample = held.batch(torch.tensor([k]))
        true, known, weight = (three(sample, name) for name in ("true", "known", "weight"))
        found = predicted(net, sample)
        losses.append([loss(x, true, weight).item() for x in (found, known)])
        rows = zip(found, true, known, weight, strict=True)
        left.append([[((x - t).square().clamp(max=400) * w).sum().item() for x in (f, n)] for f, t, n, w in rows])
    mean, known_loss = np.mean(losses, 0)
    share = np.sum(left, 0)
    return {
        "loss": round(float(mean), 4),
        "known_loss": round(float(known_loss), 4),
        "left": (share[:, 0] / share[:, 1]).round(3).tolist(),
    }


def train(arguments: argparse.Namespace) -> None:
    torch.manual_seed(arguments.seed)
    device, folder = torch.device(arguments.device), arguments.output
    folder.mkdir(parents=True, exist_ok=True)

    def log(**entry: object) -> None:
        with (folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"time": datetime.now().isoformat(timespec="seconds"), **entry}) + "\n")
        print(entry, flush=True)

    shape = arguments.widths, arguments.blocks
    net = ProposalNetwork(*shape).to(device)
    optimiser = torch.optim.Adam(net.parameters(), arguments.lr, betas=(0.9, 0.98))
    average, k = Average(net, arguments.average), 0
    checkpoint = folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, map_location=device, weights_only=True)
        net.load_state_dict(state[NET])
        average.mean, k = state["average"], state["k"]
        optimiser.load_state_dict(state["optimiser"])
    mean = ProposalNetwork(*shape).to(device)

    def averaged() -> ProposalNetwork:
        mean.load_state_dict(average.mean)
        return mean.eval()

    def save() -> None:
        state = {NET: net.state_dict(), "average": average.mean, "k": k, "optimiser": optimiser.state_dict()}
        torch.save(state, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)
        save_file({n: v.contiguous() for n, v in average.mean.items()}, folder / AVERAGE)
        (folder / ONNX).write_bytes(graph(averaged().cpu()))
        mean.to(device)

    def shards() -> list[Path]:
        return sorted(p for p in arguments.samples.glob("[0-9]*.npz") if p.stem.isdigit())

    held, paths = Samples([arguments.samples / VALIDATION], device), shards()
    data = Samples(paths, device)
    log(k=k, samples=len(data), kmac_per_pixel=round(net.kmac_per_pixel, 2), until=f"{arguments.until:%H:%M}")
    start, end = time.time(), arguments.until.timestamp()
    saved = looked = start
    losses: list[float] = []
    while (done := (time.time() - start) / (end - start)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = arguments.lr * min(1, (k + 1) / 50) * (1 - done) ** 0.8
        sample = data.batch(torch.randint(len(data), (arguments.batch,)))
        found = loss(predicted(net, sample), three(sample, "true"), three(sample, "weight"))
        optimiser.zero_grad()
        found.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        k += 1
        average.update(k)
        losses.append(found.item())
        now = time.time()
        if k % 200 == 0:
            log(k=k, loss=round(float(np.mean(losses)), 4))
            losses = []
        if now - saved > 180:
            save()
            log(k=k, minutes=round((now - start) / 60, 1), **validated(averaged(), held))
            saved = time.time()
        if now - looked > 600:
            looked = now
            if len(found_paths := shards()) > len(paths):
                paths, data = found_paths, Samples(found_paths, device)
                log(k=k, samples=len(data))
    save()
    log(k=k, minutes=round((time.time() - start) / 60, 1), **validated(averaged(), held))


def load_net(path: Path) -> ProposalNetwork:
    """average.safetensors, or the folder it is in."""
    weights = load_file(path / AVERAGE if path.is_dir() else path)
    widths = [weights[f"position.{k}.weight"].shape[0] for k in range(3)]
    blocks = [sum(name.startswith(f"first.{k}.") and name.endswith(".mix.bias") for name in weights) for k in range(3)]
    net = ProposalNetwork(widths, blocks)
    net.load_state_dict(weights)
    return net.eval()


def proposals_of(graph: bytes, threads: int) -> Proposals:
    engine = OnnxEngine({NETWORK: graph}, threads)
    return Proposals(lambda *maps: engine.run(NETWORK, *maps), threads)


def measure(arguments: argparse.Namespace) -> None:
    model = Model(arguments.model, arguments.threads)
    true, known = Gradient(model.numbers), Proposals(None)
    sources: dict[str, list[Slopes]] = {"known 3": [known] * 3, "own 3": [model.proposals] * 3}
    sources |= {f"true {n}": [true] * n for n in (1, 2, 3)}
    if model.exact:
        sources |= {f"own {way}": [{"p": model.proposals, "x": model.exact}[c] for c in way] for way in WAYS}
    if arguments.net:
        net: Slopes = proposals_of(graph(load_net(arguments.net)), arguments.threads)
        if arguments.exact and model.exact:
            net = Exact(model.exact.adjoint, net)
        sources |= {f"net {n}": [net] * n for n in (1, 2, 3)} | {"own p, net": [model.proposals, net]}
    held = validation_crops(read_images([arguments.val]), arguments.crop, arguments.crops).byte().numpy()
    for quality in arguments.qualities:
        rows = []
        for rgb in held:
            target, tokens = model.start(rgb, quality)
            weights, first = model.evaluate.weights(quality), model.evaluate(target, tokens)
            done: dict[tuple[int, ...], State] = {(): first}  # by the sources of the rounds: each is computed once
            row = []
            for rounds in sources.values():
                for n in range(len(rounds)):
                    key = tuple(map(id, rounds[: n + 1]))
                    if key not in done:
                        state = done[key[:-1]]
                        found = rounds[n](target, state, weights)
                        done[key] = model.evaluate(target, model.moved(target, state, found, weights, n))
                row.append(100 * (done[tuple(map(id, rounds))].cost / first.cost - 1))
            rows.append(row)
        means = dict(zip(sources, np.mean(rows, 0).round(2).tolist(), strict=True))
        print(f"quality {quality}: J in % of rounding's: {means}", flush=True)


def add(arguments: argparse.Namespace) -> None:
    net = (arguments.net / ONNX).read_bytes() if arguments.net else None
    if not arguments.exact:
        write_graphs(arguments.model, read_graphs(arguments.model / GRAPHS) | ({NETWORK: net} if net else {}))
        return
    config = PretrainedConfig.read(arguments.model)
    numbers = integer_model.load(config.files[0], config.synthesis, config.context)
    graphs = {adjoint.NETWORK: adjoint_graph(numbers.synthesis, numbers.shape)}
    write_search(arguments.model, graphs | ({adjoint.RATES: net} if net else {}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    making = commands.add_parser("cache", help="write samples")
    making.set_defaults(run=cache)
    making.add_argument("model", type=Path, help="a model folder of integers")
    making.add_argument("folder", type=Path, help="where the samples go")
    making.add_argument("data", type=Path, nargs="+", help="tars or folders of images")
    making.add_argument("--val", type=Path, required=True)
    making.add_argument("--count", type=int, default=3600, help="crops of this process, with those that are there")
    making.add_argument("--qualities", type=int, nargs=2, default=[FIRST, LAST], help="of the crops: from, to")
    making.add_argument("--first", type=int, default=0, help="number of the first file, where several processes work")
    training = commands.add_parser("train", help="train on them")
    training.set_defaults(run=train)
    training.add_argument("samples", type=Path, help="the folder of a cache; new files are taken up on the way")
    training.add_argument("-o", "--output", type=Path, required=True)
    training.add_argument(
        "--until", type=until, required=True, help="HH:MM, or 9m from now: the learning rate falls to that moment"
    )
    training.add_argument("--widths", type=lambda text: [int(n) for n in text.split(",")], default=[64, 96, 192])
    training.add_argument("--blocks", type=lambda text: [int(n) for n in text.split(",")], default=[1, 2, 2])
    training.add_argument("--lr", type=float, default=2e-3)
    training.add_argument("--batch", type=int, default=4)
    training.add_argument("--average", type=float, default=0.998, help="decay of the averaged weights")
    training.add_argument("--seed", type=int, default=0)
    measuring = commands.add_parser("measure", help="compare with the true gradient")
    measuring.set_defaults(run=measure)
    measuring.add_argument("model", type=Path)
    measuring.add_argument("net", type=Path, nargs="?", help="the folder of a training run")
    measuring.add_argument("--val", type=Path, required=True)
    measuring.add_argument("--crops", type=int, default=6)
    measuring.add_argument("--crop", type=int, default=256)
    measuring.add_argument("--qualities", type=int, nargs="+", default=MEASURED)
    adding = commands.add_parser("add", help="put the graph into a model folder")
    adding.set_defaults(run=add)
    adding.add_argument("model", type=Path)
    adding.add_argument("net", type=Path, nargs="?", help="the folder of a training run")
    for command in (making, measuring, adding):
        command.add_argument("--exact", action="store_true", help="of the network beside the adjoint")
    for command in (making, training, measuring):
        command.add_argument("--device", default="cpu")
        command.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(getattr(arguments, "threads", 1))
    torch.autograd.set_multithreading_enabled(False)
    arguments.run(arguments)


if __name__ == "__main__":
    main()
