"""Fit the adaptive filters of a model of integers, one for each quality, to what it makes of fixed tokens.

    python dev/fit_filter.py MODEL runs/tokens shared/data/train/train-0*.tar -o FOLDER

Tokens are those of a cache of train_context.py, made from the same images. Each quality gets the least-squares weights
of crops of about its step, every crop's error counting alike. FOLDER is a copy of MODEL with the filters in it.
"""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from token_cache import CROP, PAIR, SHARD, load_tokens

from vitcodec.adaptive_filter import SIZES, THRESHOLD_LIMIT, WEIGHT_BITS, WEIGHT_LIMIT, FilterNumbers, no_filters
from vitcodec.analysis import forward
from vitcodec.engines.onnx import GRAPHS, read_graphs
from vitcodec.fixed_point import FRACTION_BITS
from vitcodec.options import QUALITIES
from vitcodec.pipeline import loading
from vitcodec.pretrained import integer_model
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.quality import step_of
from vitcodec.search.filter_fit import RIDGE, FilterFit
from vitcodec.training.assemble import ANALYSIS, PROPOSALS, write_folder
from vitcodec.training.data import Crops, read_images

CLIPPED_STEPS = 0.15  # a threshold in quantisation steps
WIDTH = 0.35  # of the steps that count for a quality: standard deviation of their logarithm


def thresholds() -> np.ndarray:
    """Of each quality, in the planes' fixed point."""
    steps = np.array([step_of(q) for q in QUALITIES])
    return np.clip(np.rint(CLIPPED_STEPS * steps * (1 << FRACTION_BITS)), 1, THRESHOLD_LIMIT).astype(np.int32)


def equations(model: Path, tokens: Path, data: list[Path], count: int) -> Iterator[tuple[float, FilterFit]]:
    """The step of every crop and what the filter of its picture would be fitted with."""
    evaluate = loading.load(PretrainedConfig.read(model), "cpu", 1).encoder.searches.search(1).evaluate
    filters = FilterNumbers(thresholds(), no_filters().weights)
    images, table = list(read_images(data)), np.log([step_of(q) for q in QUALITIES])
    for path in sorted(p for p in tokens.glob("*.npz") if p.stem.isdigit())[:count]:
        crops, (found, steps) = Crops(images, int(path.stem)), load_tokens([path])
        originals = torch.cat([crops.batch(PAIR, CROP) for _ in range(SHARD // PAIR)]).byte().numpy()
        for k, (step, image) in enumerate(zip(steps.tolist(), originals, strict=True)):
            quality = int(np.abs(table - np.log(step)).argmin()) + 1
            own = found.map(lambda t, k=k: np.ascontiguousarray(t[k : k + 1].int().numpy()))
            original = forward(image).map(lambda t, step=step: t / np.float32(step))
            decoded = evaluate.transform.corrected(own, quality)
            fit = FilterFit(filters.at(quality), 1.0)
            fit.add(original, decoded.combine(np.subtract, original), step)
            yield step, fit


def fitted(found: list[tuple[float, FilterFit]]) -> FilterNumbers:
    """The filters of all qualities."""
    logs, rows = np.log([step for step, _ in found]), []
    for quality in QUALITIES:
        share = np.exp(-0.5 * ((logs - np.log(step_of(quality))) / WIDTH) ** 2) / [sum(f.energy) for _, f in found]
        row = []
        for plane, size in enumerate(SIZES):
            products = sum(s * f.products[plane] for s, (_, f) in zip(share, found, strict=True))
            targets = sum(s * f.targets[plane] for s, (_, f) in zip(share, found, strict=True))
            row.append(np.linalg.solve(products + RIDGE * np.trace(products) / size * np.eye(size), targets))
        weights = np.concatenate(row) * (1 << WEIGHT_BITS)
        rows.append(np.clip(np.rint(weights), -WEIGHT_LIMIT, WEIGHT_LIMIT))
    return FilterNumbers(thresholds(), np.array(rows, np.int8))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="a folder of format 1")
    parser.add_argument("tokens", type=Path, help="the folder of a cache")
    parser.add_argument("data", type=Path, nargs="+", help="what the cache was made from")
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--count", type=int, default=1000, help="at most so many files of the cache")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    start, config = time.time(), PretrainedConfig.read(arguments.model)
    filters = fitted(list(equations(arguments.model, arguments.tokens, arguments.data, arguments.count)))
    model = replace(integer_model.load(config.files[0], config.synthesis, config.context), filter=filters)
    graphs = read_graphs(config.folder / GRAPHS)
    write_folder(replace(config, folder=arguments.output), model, graphs[ANALYSIS], graphs[PROPOSALS])
    for path in arguments.model.iterdir():
        if not (arguments.output / path.name).exists():
            shutil.copy(path, arguments.output / path.name)
    print(f"{arguments.output}: written in {time.time() - start:.0f} s")


if __name__ == "__main__":
    main()
