"""Put a model folder of format 1 together out of trained parts: integers, graphs, probability tables, config.json.

    python dev/assemble.py runs/draft --synthesis runs/synthesis --context runs/context/average.safetensors
    --tokens runs/tokens

Analysis and gains are those of the shipped `swin` model. The folder of the synthesis is of a run of train_synthesis.py
--rounded. The tokens are those of a cache of train_context.py: on some the context model's maps are measured, on others
the tables are fitted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file
from token_cache import MODEL, load_tokens
from torch import Tensor

from vitcodec import Codec
from vitcodec.coding.maps import log_thresholds
from vitcodec.coding.tables import logistic_flags
from vitcodec.context.model import ContextModel
from vitcodec.models.synthesis import ConvSynthesis
from vitcodec.options import QUALITIES
from vitcodec.pipeline import loading
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.integer_model import CodingNumbers, IntegerModel
from vitcodec.pretrained.loading import own_name
from vitcodec.quality import step_of
from vitcodec.subbands import Subbands
from vitcodec.training import round_context
from vitcodec.training.assemble import analysis_graph, dequantiser, encoder_numbers, in_8_bits, write_folder
from vitcodec.training.coding_tables import fit_coding_tables
from vitcodec.training.export import base_scales
from vitcodec.training.model import load_grown
from vitcodec.training.rounding import Gauge, RoundedSynthesis

CALIBRATED, FITTED = 160, 400  # crops
NOT_KEPT = "parts", "metrics", "sha256"  # fields of the shipped config.json


def crops(folders: list[Path]) -> tuple[Subbands, Tensor]:
    """The tokens of caches, int16, and their steps, in random order."""
    paths = [p for folder in folders for p in sorted(folder.glob("*.npz")) if p.stem.isdigit()]
    tokens, steps = load_tokens(paths)
    order = torch.from_numpy(np.random.default_rng(0).permutation(len(steps)))
    return tokens.map(lambda t: t[order]), steps[order]


def rounded_synthesis(folder: Path) -> RoundedSynthesis:
    weights = {name: t.float() for name, t in load_file(folder / "average.safetensors").items()}
    net = RoundedSynthesis(ConvSynthesis(), Gauge(0.999, load_file(folder / "gauge.safetensors")))
    net.load_state_dict(weights)
    return net.requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--synthesis", type=Path, required=True, help="the folder of a run")
    parser.add_argument("--context", type=Path, required=True, help="average.safetensors")
    parser.add_argument("--tokens", type=Path, nargs="+", required=True, help="folders of caches")
    parser.add_argument("--name", default="draft")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start = time.time()

    def report(text: str) -> None:
        print(f"{time.time() - start:.0f} s: {text}", flush=True)

    shipped = registry.find(MODEL)
    autoencoder = Codec.load(MODEL, device="cpu").autoencoder.requires_grad_(False)
    net = rounded_synthesis(arguments.synthesis)
    config = replace(shipped.context, flags=True)
    context = ContextModel(config)
    load_grown(context, {own_name(k): v.float() for k, v in load_file(arguments.context).items()})
    context.requires_grad_(False)
    tokens, steps = crops(arguments.tokens)
    report(f"{len(steps)} crops")

    def samples() -> Iterator[tuple[Subbands, Tensor]]:
        for k in range(min(CALIBRATED, len(steps))):
            yield tokens.map(lambda t, k=k: t[k : k + 1].float()), steps[k : k + 1]

    layers, features = round_context.round_context(context, round_context.measure(context, samples()))
    report("the context model is rounded")
    old = load_arrays(shipped.folder / "model-2.safetensors") | load_arrays(shipped.folder / "model.safetensors")
    tables = old["entropy.narrow"], old["entropy.wide"], logistic_flags()
    analysis = in_8_bits(analysis_graph(autoencoder.analysis))
    fields = {k: v for k, v in json.loads((shipped.folder / "config.json").read_text()).items() if k not in NOT_KEPT}
    fields |= {"context": asdict(config), "name": arguments.name}

    def write() -> None:
        numbers = CodingNumbers(features, base_scales(context), log_thresholds(), *tables)
        model = IntegerModel(
            net.export(), net.shape, layers, config, numbers, dequantiser(autoencoder), encoder_numbers(autoencoder)
        )
        write_folder(arguments.folder, model, analysis, fields)

    write()
    report("written with the shipped tables")
    entropy = loading.load(PretrainedConfig.read(arguments.folder), "cpu", arguments.threads).encoder.entropy
    quality_of = {round(step_of(q), 3): q for q in QUALITIES}

    def coded() -> Iterator[tuple[Subbands, int]]:
        for k in range(len(steps) - 1, max(-1, len(steps) - 1 - FITTED), -1):
            own = tokens.map(lambda t, k=k: np.ascontiguousarray(t[k : k + 1].int().numpy()))
            yield own, quality_of[round(steps[k].item(), 3)]

    tables = fit_coding_tables(entropy, coded())
    write()
    report("written with its own tables")


if __name__ == "__main__":
    main()
