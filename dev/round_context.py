"""Train the context model of a folder of integers with its rounding in the loop, on fixed tokens.

    python dev/round_context.py train MODEL runs/tokens -o runs/context-rounded --until 23:40

Tokens are those of a folder of token_cache.py. It goes on from its checkpoint if there is one, by the clock, and
writes log.jsonl, checkpoint.pt and average.safetensors, the averaged weights. Validation compares with the folder's
model on the same tokens, in %.

    python dev/round_context.py put MODEL runs/tokens runs/context-rounded -o FOLDER

writes a folder with the trained context model and tables that are fitted to it.
"""

from __future__ import annotations

import argparse
import copy
import json
import shutil
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np
import torch
from clock import descend, until
from safetensors.torch import load_file, save_file
from torch import Tensor

from vitcodec.bitstream.tables import LOG_SCALE_UNIT, SCALE_LOW
from vitcodec.engines.onnx import GRAPHS, read_graphs
from vitcodec.options import QUALITIES
from vitcodec.pipeline import loading
from vitcodec.pretrained import integer_model
from vitcodec.pretrained.config import SEARCH, PretrainedConfig
from vitcodec.quality import step_of
from vitcodec.training.assemble import ANALYSIS, PROPOSALS, write_folder, write_search
from vitcodec.training.coding_tables import fit_coding_tables
from vitcodec.training.model import Average
from vitcodec.training.rounded_context import RoundedContext
from vitcodec.training.token_cache import VALIDATION, read_shards


class Tokens:
    """The crops of files."""

    def __init__(self, paths: list[Path]):
        image, self.steps, tokens = read_shards(paths)
        assert tokens is not None
        self.tokens, self.pixels = tokens, image[0, ..., 0].numel()  # of a crop
        table = torch.tensor([step_of(q) for q in QUALITIES])
        self.qualities = (self.steps[:, None] / table).log().abs().argmin(1) + 1
        self.order = torch.argsort(self.steps)

    def batch(self, count: int) -> Tensor:
        """A random crop of each stratum of the steps."""
        return self.order[((torch.arange(count) + torch.rand(count)) / count * len(self.steps)).long()]


class Trainer:
    def __init__(self, model: integer_model.IntegerModel):
        self.net = RoundedContext(model)
        # where log scales start: a folder has them for each quality, in units of a table
        first = torch.from_numpy(model.coding.base_scales[0]).float() * LOG_SCALE_UNIT + SCALE_LOW
        self.base = first + float(np.log(step_of(1)))

    def bits(self, data: Tokens, chosen: Tensor) -> Tensor:
        """(B,)"""
        tokens = data.tokens.map(lambda t: t[chosen].int())
        step = data.steps[chosen]
        return self.net.measured(tokens, data.qualities[chosen], self.base, step).bits()

    @torch.no_grad()
    def validated(self, data: Tokens) -> np.ndarray:
        """Bits per pixel at each step of the validation crops."""
        found, pixels = [], data.pixels
        for at in data.steps.unique().flip(0):
            k = torch.nonzero(data.steps == at).flatten()
            found.append(np.mean([self.bits(data, part).mean().item() / pixels for part in k.split(4)]))
        return np.array(found)


def put(arguments: argparse.Namespace) -> None:
    """Write a folder with the trained layers, in place of the model's own."""
    torch.set_num_threads(1)
    start, config = time.time(), PretrainedConfig.read(arguments.model)
    model = integer_model.load(config.files[0], config.synthesis, config.context)
    net = RoundedContext(model)
    net.load_state_dict(load_file(arguments.run_folder / "average.safetensors"))
    graphs = read_graphs(config.folder / GRAPHS)
    arguments.output.mkdir(parents=True, exist_ok=True)
    config, model = replace(config, folder=arguments.output), replace(model, context=net.export())

    def write() -> None:
        write_folder(config, model, graphs[ANALYSIS], graphs.get(PROPOSALS))

    write()
    data = Tokens([p for p in sorted(arguments.tokens.glob("*.npz")) if p.stem.isdigit()])
    entropy = loading.load(PretrainedConfig.read(arguments.output), "cpu").encoder.entropy
    chosen = np.random.default_rng(0).permutation(len(data.steps))[: arguments.fitted].tolist()
    samples = (
        (data.tokens.map(lambda t, k=k: np.ascontiguousarray(t[k : k + 1].int().numpy())), int(data.qualities[k]))
        for k in chosen
    )
    narrow, wide, flags = fit_coding_tables(entropy, samples)
    model = replace(model, coding=replace(model.coding, narrow=narrow, wide=wide, flags=flags))
    write()
    if config.search:  # its graphs have no weights of the context model
        write_search(arguments.output, read_graphs(arguments.model / SEARCH))
    for path in arguments.model.iterdir():  # what the folder holds beside that: README.md, floating-point parts
        if not (arguments.output / path.name).exists():
            shutil.copy(path, arguments.output / path.name)
    print(f"{arguments.output}: written in {time.time() - start:.0f} s")


def train(arguments: argparse.Namespace) -> None:
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    torch.autograd.set_multithreading_enabled(False)
    folder: Path = arguments.output
    folder.mkdir(parents=True, exist_ok=True)

    def log(**entry: object) -> None:
        with (folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"time": datetime.now().isoformat(timespec="seconds"), **entry}) + "\n")
        print(entry, flush=True)

    config = PretrainedConfig.read(arguments.model)
    trainer = Trainer(integer_model.load(config.files[0], config.synthesis, config.context))
    net = trainer.net
    held = Tokens([arguments.tokens / VALIDATION])
    data = Tokens([p for p in sorted(arguments.tokens.glob("*.npz")) if p.stem.isdigit()])
    trained = [p for p in net.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(trained, betas=(0.9, 0.98))
    average, k, checkpoint = Average(net, arguments.average), 0, folder / "checkpoint.pt"
    if checkpoint.exists():
        state = torch.load(checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        average.mean, k, reference = state["average"], state["k"], np.array(state["reference"])
    else:
        reference = trainer.validated(held)
        log(bpp=reference.round(5).tolist())

    def save() -> None:
        state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "average": average.mean, "k": k}
        torch.save({**state, "reference": reference.tolist()}, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").replace(checkpoint)
        save_file({n: v.contiguous() for n, v in average.mean.items()}, folder / "average.safetensors")

    def validate() -> None:
        current = copy.deepcopy(net.state_dict())
        net.load_state_dict(average.mean)
        found = trainer.validated(held)
        net.load_state_dict(current)
        log(k=k, minutes=round((time.time() - start) / 60, 1), change=(100 * (found / reference - 1)).round(3).tolist())

    losses: list[float] = []
    start = checked = saved = time.time()
    end = arguments.until.timestamp()
    while (done := (time.time() - start) / (end - start)) < 1:
        for group in optimiser.param_groups:
            group["lr"] = arguments.lr * min(1, (k + 1) / 20) * (1 - done) ** 0.8
        chosen = data.batch(arguments.batch)
        loss = (trainer.bits(data, chosen) * data.steps[chosen] / 26).mean() / data.pixels
        descend(loss, [optimiser], trained)
        k += 1
        average.update(k)
        losses.append(loss.item())
        if k % 25 == 0:
            log(k=k, loss=round(float(np.mean(losses)), 5), minutes=round((time.time() - start) / 60, 1))
            losses = []
        if time.time() - saved > 240:
            save()
            saved = time.time()
        if time.time() - checked > 60 * arguments.validate:
            validate()
            checked = time.time()
    save()
    validate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    training, putting = commands.add_parser("train"), commands.add_parser("put")
    for command, run in ((training, train), (putting, put)):
        command.set_defaults(run=run)
        command.add_argument("model", type=Path, help="a folder of integers")
        command.add_argument("tokens", type=Path, help="the folder of a cache")
        command.add_argument("-o", "--output", type=Path, required=True)
    putting.add_argument("run_folder", type=Path, metavar="RUN")
    putting.add_argument("--fitted", type=int, default=500, help="crops that the tables are fitted to")
    training.add_argument("--until", type=until, required=True, help="HH:MM, or 9m from now")
    training.add_argument("--lr", type=float, default=0.02, help="in units of the integers")
    training.add_argument("--batch", type=int, default=4)
    training.add_argument("--average", type=float, default=0.99, help="decay of the averaged weights")
    training.add_argument("--validate", type=float, default=10, help="minutes between validations")
    training.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.run(arguments)


if __name__ == "__main__":
    main()
