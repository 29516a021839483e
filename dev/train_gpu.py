"""Train a model of integers on one GPU, in one run of minutes: analysis, context model and synthesis together.

    python dev/train_gpu.py shared/data/train/train-0*.tar --val shared/data/train/val.tar -m weights/swin
    -o runs/joint --seconds 480 --grow '{"transform": {...}, "context": {...}}'

One step - forward, backward, optimisers, average - is one CUDA graph. The blocks of analysis and synthesis and the
probabilities are compiled, each kind once: the whole, 13,000 operators, would take minutes. The synthesis computes as
its integers do (training/rounding.py), so that what comes out can be stored as it is. Crops are cut, scaled and
recoloured on the card.

Context model and synthesis are trained, on tokens that the search chooses with the model as it is then
(training/batched_search.py): a share of the time goes to searching new crops (--searching), which stay in memory. With
--encoder the analysis and the gains are trained too, on rounded tokens; that moves the operating point and cost more
than it gained (dev/LOG.md, run 26). --grow: fields of the transform's and the context model's settings
that are larger than the model's; new blocks change nothing before they are trained.

The learning rate falls to zero by the clock. Averaged weights are written as they come (a set of float parts as in a
model's folder, and description.json, from which the next run goes on), so that a run that is cut off loses little.
log.jsonl has all figures; "J" is bits plus weighted squared error a pixel at each of four steps, of validation crops.
Without a GPU the same steps run one by one, in float32: to try a run out.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from token_cache import STEPS
from torch import Tensor, nn

from vitcodec import wavelet
from vitcodec.context import density
from vitcodec.context import model as context_model
from vitcodec.context.heads import Dense
from vitcodec.distortion import TUNINGS
from vitcodec.errors import WeightsError
from vitcodec.integer import synthesis
from vitcodec.integer.ops import gated
from vitcodec.integer.torch_ops import TorchOps, TrainedLayer
from vitcodec.models.blocks import ConvBlock, WindowBlock
from vitcodec.models.synthesis import ConvSynthesis, GatedBlock
from vitcodec.pretrained.config import FLOAT_CONTEXT, FLOAT_SYNTHESIS, FLOAT_TRANSFORM, PretrainedConfig
from vitcodec.pretrained.loading import own_name, stored_name
from vitcodec.quality import COARSEST, FINEST, round_tokens, step_position
from vitcodec.subbands import Subbands
from vitcodec.training.batched_search import BatchedSearch
from vitcodec.training.data import Crops, read_images, validation_crops
from vitcodec.training.integers import GAUGE, QUANTILE, load_float
from vitcodec.training.model import TrainingModel
from vitcodec.training.optimiser import SMALLEST_SIDE, orthogonalise
from vitcodec.training.rounding import Gauge, RoundedSynthesis, layer_shift, measure

MIDDLE_STEP = 26.0
DEAD_ZONE = 0.09  # of rounding
DISTORTION = TUNINGS["psnr"]
SCALES = 1.0, 1.0, 1.25, 1.6  # how much larger than it stays a crop is cut
ADAM = 0.9, 0.98  # how much stays of the mean and of the mean square of gradients
WARM = 40  # steps of rising learning rate
SHIFT_INTERVAL = 25  # steps, after which shifts follow their weights
SYNTHESIS = "synthesis."
DESCRIPTION = "description.json"


def loaded(folder: Path) -> tuple[TrainingModel, Gauge]:
    """A model's folder, or what an earlier run of this script wrote. Raises WeightsError."""
    if not (folder / DESCRIPTION).exists():
        return load_float(PretrainedConfig.read(folder))
    model = TrainingModel.build(json.loads((folder / DESCRIPTION).read_text()))
    transform, net, context = (load_file(folder / n) for n in (FLOAT_TRANSFORM, FLOAT_SYNTHESIS, FLOAT_CONTEXT))
    gauge = {k.removeprefix(GAUGE): net.pop(k) for k in list(net) if k.startswith(GAUGE)}
    model.autoencoder.load_state_dict({k: v.float() for k, v in (transform | net).items()})
    model.context.load_state_dict({own_name(k): v.float() for k, v in context.items()})
    return model, Gauge(QUANTILE, gauge)


def grown(model: TrainingModel, changes: dict) -> TrainingModel:
    """The model with more blocks. Raises WeightsError where a layer would change its size."""
    description = model.description
    for part, own in changes.items():
        description[part] = description[part] | own
    out = TrainingModel.build(json.loads(json.dumps(description)))
    state, known = out.state_dict(), model.state_dict()
    if wrong := [k for k, v in known.items() if k not in state or state[k].shape != v.shape]:
        raise WeightsError(f"{wrong[0]} would change; only blocks can be added")
    out.load_state_dict(state | known)
    net = out.autoencoder.synthesis
    assert isinstance(net, ConvSynthesis)
    for row in (*net.encoder, *net.decoder):
        for before, block in zip(row, list(row)[1:], strict=False):
            if isinstance(block, GatedBlock) and not block.down.weight.any():
                nn.init.normal_(block.down.weight, std=1e-3)  # all but nothing, and enough for a shift
                with torch.no_grad():
                    block.scale.copy_(before.scale)
    return out


class _Linear(torch.autograd.Function):
    """A matrix product with bias, x (N, i), whose bias gradient is one too: sums over rows are slow."""

    @staticmethod
    def forward(context, x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:  # type: ignore[no-untyped-def, override]
        half = weight.bfloat16()
        x = x.bfloat16()
        context.save_for_backward(x, half)
        return torch.addmm(bias.bfloat16(), x, half.T)

    @staticmethod
    def backward(context, gradient: Tensor) -> tuple[Tensor | None, Tensor, Tensor]:  # type: ignore[no-untyped-def, override]
        x, half = context.saved_tensors
        ones = gradient.new_ones(8, len(gradient))
        back = gradient @ half if context.needs_input_grad[0] else None
        return back, (gradient.T @ x).float(), (ones @ gradient)[0].float()


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    return _Linear.apply(x.flatten(0, -2), layer.weight, layer.bias).unflatten(0, x.shape[:-1])


class _Fast:
    """Whether what runs is a step of training: validation and search, with other shapes, go without compilation."""

    on = False


class _FastLinear(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return _linear(self, x) if _Fast.on else super().forward(x)


class _FastDense(Dense):
    def forward(self, x: Tensor) -> Tensor:
        return F.relu(_linear(self, x)) if _Fast.on else super().forward(x)


def _gated(x: Tensor, shift: Tensor, *numbers: Tensor) -> Tensor:
    """integer.ops.gated of the weights, biases and scales of its four layers; a number would be compiled in."""
    names = "mix", "gate", "value", "down"
    layers = {
        name: TrainedLayer(*numbers[3 * k : 3 * k + 3], groups=x.shape[-1] if name == "mix" else 1)
        for k, name in enumerate(names)
    }
    return gated(TorchOps(x.device), x, layers, shift)  # type: ignore[arg-type]


def _compiled(function: Callable) -> Callable:
    """Compiled in steps of training."""
    fast = torch.compile(function, dynamic=False)

    @functools.wraps(function)
    def call(*arguments: Any) -> Any:
        return (fast if _Fast.on else function)(*arguments)

    return call


def compile_parts(model: TrainingModel, device: torch.device) -> None:
    """Compile what is made of many small operators, by kinds of blocks, and let linear layers have fast gradients."""
    torch._dynamo.config.recompile_limit = 64
    compiled, shifts = _compiled(_gated), [torch.tensor(float(k), device=device) for k in range(16)]

    def blockwise(_: TorchOps, x: Tensor, layers: Mapping[str, TrainedLayer], shift: int) -> Tensor:
        own = [layers[name] for name in ("mix", "gate", "value", "down")]
        return compiled(x, shifts[shift], *(t for layer in own for t in (layer.weight, layer.bias, layer.scale)))

    synthesis.gated = blockwise  # type: ignore[assignment]
    for kind in (ConvBlock, WindowBlock):
        kind.forward = _compiled(kind.forward)  # type: ignore[method-assign]
    density.bits = _compiled(density.bits)
    for module in model.context.modules():
        if type(module) is nn.Linear:
            module.__class__ = _FastLinear
        elif type(module) is Dense:
            module.__class__ = _FastDense


class Steps:
    """Muon for matrices and Adam for the rest, all on the device: a learning rate is a tensor, nothing waits."""

    def __init__(self, module: nn.Module, rate: Tensor, half: bool):
        self.rate, self.half = rate, half
        own = [p for p in module.parameters() if p.requires_grad]
        self.matrices: dict[torch.Size, list[nn.Parameter]] = defaultdict(list)
        for p in own:
            if p.ndim == 2 and min(p.shape) >= SMALLEST_SIDE:
                self.matrices[p.shape].append(p)
        chosen = {id(p) for ps in self.matrices.values() for p in ps}
        self.rest = [p for p in own if id(p) not in chosen]
        self.all = own
        self.momentum = {shape: torch.zeros(len(ps), *shape, device=rate.device) for shape, ps in self.matrices.items()}
        self.first, self.second = ([torch.zeros_like(p) for p in self.rest] for _ in range(2))
        self.count = torch.zeros((), device=rate.device)

    @torch.no_grad()
    def __call__(self) -> None:
        """One step down with gradients clipped to a norm of 1; none where they are not finite."""
        for p in self.all:
            p.grad = torch.zeros_like(p) if p.grad is None else p.grad
        gradients = [p.grad for p in self.all]
        norm = torch.stack(torch._foreach_norm(gradients)).norm()
        factor = torch.where(norm.isfinite(), (1 / (norm + 1e-6)).clamp_max(1), 0)
        torch._foreach_mul_(gradients, factor)
        for shape, parameters in self.matrices.items():
            gradient = torch.stack([p.grad for p in parameters]).nan_to_num()
            momentum = self.momentum[shape]
            momentum.lerp_(gradient, 0.05)
            update = orthogonalise(torch.lerp(gradient, momentum, 0.95), self.half)
            update = update * (self.rate * (-0.2 * max(shape) ** 0.5))
            torch._foreach_add_(parameters, list(update.unbind()))
        gradients = [p.grad.nan_to_num() for p in self.rest]
        self.count += 1
        torch._foreach_lerp_(self.first, gradients, 1 - ADAM[0])
        torch._foreach_mul_(self.second, ADAM[1])
        torch._foreach_addcmul_(self.second, gradients, gradients, 1 - ADAM[1])
        scale = torch._foreach_sqrt(torch._foreach_div(self.second, 1 - ADAM[1] ** self.count))
        torch._foreach_add_(scale, 1e-8)
        updates = torch._foreach_div(self.first, scale)
        torch._foreach_mul_(updates, -self.rate / (1 - ADAM[0] ** self.count))
        torch._foreach_add_(self.rest, updates)


class Run:
    """The networks on a device, and one step of training as a graph."""

    def __init__(self, model: TrainingModel, gauge: Gauge, arguments: argparse.Namespace, device: torch.device):
        self.device, self.half, self.batch = device, device.type == "cuda", arguments.batch
        self.model, self.gauge = model.to(device), gauge
        self.net = model.autoencoder.synthesis
        if arguments.rounded:
            model.autoencoder.synthesis = RoundedSynthesis(self.net, gauge).to(device)
        if not arguments.encoder:
            for name, parameter in model.autoencoder.named_parameters():
                parameter.requires_grad_(name.startswith(SYNTHESIS))
        self.rate = torch.zeros((), device=device)
        self.optimiser = Steps(model, self.rate, self.half)
        self.image = torch.zeros(self.batch, arguments.crop, arguments.crop, 3, device=device)
        self.step = torch.full((self.batch,), 26.0, device=device)
        self.tokens: Subbands | None = None
        if not arguments.encoder:
            with torch.no_grad():
                self.tokens = model.autoencoder.encode(self.image, self.step).map(torch.zeros_like)
        self.weight = torch.ones((), device=device)  # of the average
        self.parameters = list(model.parameters())
        self.average = [p.detach().clone() for p in self.parameters]
        self.losses = torch.zeros(2, device=device)
        if arguments.compile:
            compile_parts(model, device)
        self.graph: torch.cuda.CUDAGraph | None = None

    def loss(self) -> Tensor:
        _Fast.on = self.half
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half, cache_enabled=False):
            decoded, bits = self.model(
                self.image, self.step, DEAD_ZONE if self.tokens is None else 0.0, None, True, self.tokens
            )
        _Fast.on = False
        bits = bits / self.image[0, ..., 0].numel()
        costs = bits + DISTORTION.bits_per_pixel(self.image, decoded.float(), self.step)
        return torch.stack(((costs * self.step / MIDDLE_STEP).mean(), bits.mean()))

    def once(self) -> None:
        """One step, without a graph."""
        for p in self.parameters:
            p.grad = None
        found = self.loss()
        found[0].backward()
        self.optimiser()
        with torch.no_grad():
            moves = torch._foreach_sub(self.parameters, self.average)
            torch._foreach_mul_(moves, self.weight)  # _foreach_lerp_ would wait for a weight on the device
            torch._foreach_add_(self.average, moves)
            self.losses += found.detach()

    def capture(self) -> None:
        """Make the graph, after some steps that warm up and change nothing."""
        if self.device.type != "cuda":
            return
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.once()
        torch.cuda.current_stream().wait_stream(stream)
        torch.cuda.synchronize()
        for p in self.parameters:
            p.grad = None
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            self.once()

    def fill(self, image: Tensor, step: Tensor, tokens: Subbands | None = None) -> None:
        """What the next step is to train on."""
        self.image.copy_(image)
        self.step.copy_(step)
        if self.tokens is not None and tokens is not None:
            for own, new in self.tokens.zip(tokens):
                own.copy_(new)

    def train(self, image: Tensor, step: Tensor, tokens: Subbands | None = None) -> None:
        self.fill(image, step, tokens)
        if self.graph:
            self.graph.replay()
        else:
            self.once()

    @torch.no_grad()
    def follow(self) -> None:
        """Let the shifts of the integers follow their weights."""
        net = self.model.autoencoder.synthesis
        if isinstance(net, RoundedSynthesis):
            for name, source in net._sources():
                net.shift_of(name).copy_(layer_shift(net._weight(source), source.outputs))

    def averaged(self, function: Callable[[], object]) -> object:
        """What a function finds while the averaged weights are the model's."""
        current = [p.detach().clone() for p in self.parameters]
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.average)
        found = function()
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, current)
        return found

    def save(self, folder: Path) -> None:
        def write() -> None:
            model = self.model
            rounded, model.autoencoder.synthesis = model.autoencoder.synthesis, self.net
            rest = {k: v if "gain" in k else v.half() for k, v in model.autoencoder.state_dict().items()}
            net = {k: rest.pop(k) for k in list(rest) if k.startswith(SYNTHESIS)}
            net |= {f"{GAUGE}{k}": v.float() for k, v in self.gauge.largest.items()}
            context = {stored_name(k): v.half() for k, v in model.context.state_dict().items()}
            for name, part in zip((FLOAT_TRANSFORM, FLOAT_SYNTHESIS, FLOAT_CONTEXT), (rest, net, context), strict=True):
                save_file({k: v.cpu().contiguous() for k, v in part.items()}, folder / name)
            (folder / DESCRIPTION).write_text(json.dumps(model.description))
            model.autoencoder.synthesis = rounded

        self.averaged(write)

    def tokens_of(self, image: Tensor, step: Tensor) -> Subbands:
        """As they are trained on: searched, or, where the encoder is trained, rounded."""
        model, trained = self.model, [p for p in self.parameters if p.requires_grad]
        with torch.no_grad():
            tokens = round_tokens(model.autoencoder.encode(image, step), DEAD_ZONE).map(Tensor.float)
        if self.tokens is None:
            return tokens
        for p in trained:  # or the search would keep what their gradients need
            p.requires_grad_(False)
        tokens = BatchedSearch(model)(image, step, tokens)
        for p in trained:
            p.requires_grad_(True)
        return tokens

    def validate(self, images: Tensor) -> list[list[float]]:
        """Of each of STEPS: bits a pixel, PSNR, and J times the step / 26."""

        def measured() -> list[list[float]]:
            found = []
            for step in STEPS:
                bits, psnr, cost = [], [], []
                for part in images.split(16):
                    steps = torch.full((len(part),), step, device=self.device)
                    tokens = self.tokens_of(part, steps)
                    with torch.no_grad():
                        decoded, own = self.model(part, steps, 0.0, tokens=tokens)
                    own = own / part[0, ..., 0].numel()
                    error = (decoded.clamp(0, 255) - part).square().mean((1, 2, 3))
                    cost.append(own + DISTORTION.bits_per_pixel(part, decoded, steps))
                    bits.append(own)
                    psnr.append(10 * torch.log10(65025 / error))
                means = [torch.cat(v).mean().item() for v in (bits, psnr, cost)]
                found.append([round(means[0], 5), round(means[1], 4), round(means[2] * step / MIDDLE_STEP, 5)])
            return found

        found = self.averaged(measured)
        assert isinstance(found, list)
        return found


class Source:
    """Crops and steps of training, made on the device."""

    def __init__(self, images: Sequence[np.ndarray], arguments: argparse.Namespace, device: torch.device):
        self.crops, self.size, self.count = Crops(images, arguments.seed, device), arguments.crop, arguments.batch
        self.device = device
        self.rng = np.random.default_rng(arguments.seed)
        self.generator = torch.Generator(device).manual_seed(arguments.seed)

    def _random(self, *shape: int) -> Tensor:
        return torch.rand(shape, device=self.device, generator=self.generator)

    def __call__(self) -> tuple[Tensor, Tensor]:
        scale = float(self.rng.choice(SCALES))
        x = self.crops.batch(self.count, round(self.size * scale))
        if scale != 1:
            x = F.interpolate(
                x.permute(0, 3, 1, 2), (self.size, self.size), mode="bicubic", antialias=True, align_corners=False
            ).permute(0, 2, 3, 1)
        half, n = self._random(self.count, 1, 1, 1) < 0.5, self.count
        order = torch.argsort(self._random(n, 3), 1)[:, None, None].expand(x.shape)
        mean = x.mean((1, 2), keepdim=True)
        gain, shift = 0.6 + 0.6 * self._random(n, 1, 1, 3), 40 * (self._random(n, 1, 1, 3) - 0.5)
        recoloured = ((x - mean) * gain + mean + shift).gather(3, order)
        x = torch.where(half, recoloured, x).clamp(0, 255).round()
        strata = (torch.arange(n, device=self.device) + self._random(n)) / n
        return x, FINEST * (COARSEST / FINEST) ** strata


class Pool:
    """Crops with the tokens that the search chose, on the device; the oldest give way."""

    def __init__(self, run: Run, source: Source, size: int):
        self.run, self.source, self.size = run, source, size
        self.images, self.steps, self.tokens = list[Tensor](), list[Tensor](), list[Subbands]()
        self.seconds = 0.0

    def search(self) -> None:
        """Add a batch."""
        start = time.time()
        image, step = self.source()
        tokens = self.run.tokens_of(image, step)
        self.images.append(image.byte())
        self.steps.append(step)
        self.tokens.append(tokens.map(Tensor.short))
        keep = max(1, self.size // len(step))
        self.images, self.steps, self.tokens = self.images[-keep:], self.steps[-keep:], self.tokens[-keep:]
        if self.run.half:
            torch.cuda.synchronize()
        self.seconds += time.time() - start

    def __call__(self) -> tuple[Tensor, Tensor, Subbands]:
        """Images, steps and tokens of a batch: each from any of the batches that were searched, at its own place there.

        The places of a batch are the strata of the steps.
        """
        count = len(self.steps[0])
        chosen = torch.randint(len(self.steps), (count,)).tolist()
        first, *rest = ([t[i : i + 1] for t in self.tokens[k]] for i, k in enumerate(chosen))
        low, *details = (torch.cat(parts).float() for parts in zip(first, *rest, strict=True))
        images = torch.stack([self.images[k][i] for i, k in enumerate(chosen)]).float()
        return images, torch.stack([self.steps[k][i] for i, k in enumerate(chosen)]), Subbands(low, tuple(details))


def complete(gauge: Gauge, model: TrainingModel, images: Tensor) -> Gauge:
    """The gauge with what new blocks need."""
    autoencoder, net = model.autoencoder, model.autoencoder.synthesis
    assert isinstance(net, ConvSynthesis)

    def samples():  # type: ignore[no-untyped-def]
        for part, step in zip(images.split(4), (200.0, 120.0, 64.0, 32.0, 12.0, 6.0, 3.0), strict=False):
            steps = torch.full((len(part),), step, device=part.device)
            tokens = autoencoder.encode(part, steps).map(torch.round)
            bands = autoencoder._scale(tokens, autoencoder.inverse_gain - autoencoder.gain, step_position(steps))
            yield bands, step_position(steps)

    with torch.no_grad():
        new = measure(net, samples(), QUANTILE).largest
    known = {k: v.to(images.device) for k, v in gauge.largest.items()}
    return Gauge(QUANTILE, new | known)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, nargs="+", help="tars or folders of images")
    parser.add_argument("--val", type=Path, required=True)
    parser.add_argument("-m", "--model", type=Path, required=True, help="a model's folder, or an earlier run's")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=480)
    parser.add_argument("--grow", type=json.loads, default={}, metavar="JSON")
    parser.add_argument("--float", dest="rounded", action="store_false", help="do not round the synthesis")
    parser.add_argument("--encoder", action="store_true", help="train the analysis and the gains as well")
    parser.add_argument("--first", type=float, default=0.12, help="share of the time for searching before training")
    parser.add_argument("--searching", type=float, default=0.25, help="share of the time for searching in all")
    parser.add_argument("--pool", type=int, default=8192, help="crops that are kept")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--crop", type=int, default=256)
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--lr", type=float, default=2e-4)
    parser.add_argument("--average", type=float, default=0.998)
    parser.add_argument("--held", type=int, default=32, help="validation crops")
    parser.add_argument("--every", type=float, default=100, help="seconds between validations")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def main() -> None:
    arguments = parsed()
    begun, folder, device = time.time(), arguments.output, torch.device(arguments.device)
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(arguments.seed)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.autograd.set_multithreading_enabled(False)

    def log(**entry: object) -> None:
        with (folder / "log.jsonl").open("a") as file:
            file.write(json.dumps({"seconds": round(time.time() - begun, 1), **entry}) + "\n")
        print({"seconds": round(time.time() - begun, 1), **entry}, flush=True)

    # constants that would be copied to the device within the graph
    wavelet.COLOUR, context_model.NEAREST = wavelet.COLOUR.to(device), context_model.NEAREST.to(device)
    model, gauge = loaded(arguments.model)
    if arguments.grow:
        model = grown(model, arguments.grow)
    model = model.to(device)
    held = validation_crops(read_images([arguments.val]), 256, arguments.held).to(device)
    gauge = complete(gauge, model, held[:28])
    run = Run(model, gauge, arguments, device)
    log(start=run.validate(held), parameters=sum(p.numel() for p in model.parameters()))
    source = Source(list(read_images(arguments.data)), arguments, device)
    log(images=len(source.crops), device=torch.cuda.get_device_name() if run.half else "cpu")
    pool = None if arguments.encoder else Pool(run, source, arguments.pool)
    draw: Callable[[], tuple] = pool or source
    if pool:
        while not pool.steps or pool.seconds < arguments.first * arguments.seconds:
            pool.search()
        log(searched=len(pool.steps) * arguments.batch, search_seconds=round(pool.seconds, 1))
    run.fill(*draw())
    run.capture()
    run.losses.zero_()
    start, k, counted, told, validated = time.time(), 0, 0, time.time(), time.time()
    log(ready=True)
    while (now := time.time()) - begun < arguments.seconds:
        done = (now - start) / (begun + arguments.seconds - start)
        run.rate.fill_(arguments.lr * min(1, (k + 1) / WARM) * (1 - done) ** 0.8)
        run.weight.fill_(1 - min(arguments.average, (1 + k) / (10 + k)))
        if pool and pool.seconds < arguments.searching * (now - begun):
            pool.search()
        run.train(*draw())
        k, counted = k + 1, counted + 1
        if k % SHIFT_INTERVAL == 0:
            run.follow()
        if counted == 100 or (run.device.type == "cpu" and counted == 1):
            loss, bpp = (run.losses / counted).tolist()  # waits for the device
            pixels = counted * run.image[..., 0].numel() / 1e6
            log(k=k, loss=round(loss, 5), bpp=round(bpp, 4), speed=round(pixels / (time.time() - told), 2))
            if not math.isfinite(loss):
                raise SystemExit("the loss is not finite")
            run.losses.zero_()
            counted, told = 0, time.time()
        if time.time() - validated > arguments.every:
            run.save(folder)
            log(k=k, validation=run.validate(held))
            validated = told = time.time()
            counted = 0
            run.losses.zero_()
    run.save(folder)
    log(k=k, megapixels=round(k * run.image[..., 0].numel() / 1e6), validation=run.validate(held))


if __name__ == "__main__":
    main()
