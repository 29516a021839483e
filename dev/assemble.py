"""Put a model folder of integers together out of trained parts: integers, graphs, probability tables, config.json.

    python dev/assemble.py runs/draft --synthesis runs/refined/synthesis --context runs/refined/context.safetensors
    --tokens runs/tokens --proposals runs/proposals-net/proposals.onnx

Analysis and gains are those of the shipped `swin` model. The folder of the synthesis holds average.safetensors and
gauge.safetensors, as the scripts of runs 23 and 25 wrote them (LOG.md); runs of `vitcodec train` go through `vitcodec
export`. The tokens are those of a cache of train_context.py: on some the
context model's maps are measured, on others the tables are fitted.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from token_cache import MODEL, load_tokens

from vitcodec.context.model import ContextModel
from vitcodec.models import build_autoencoder
from vitcodec.models.autoencoder import Autoencoder
from vitcodec.options import QUALITIES
from vitcodec.pretrained import registry
from vitcodec.pretrained.loading import own_name
from vitcodec.quality import step_of
from vitcodec.training.integers import QUANTILE, TokenSample, load_float, write_integer_model
from vitcodec.training.model import TrainingModel, load_grown
from vitcodec.training.rounding import Gauge

CALIBRATED, FITTED = 120, 500  # crops


def transforms(synthesis: Path) -> Autoencoder:
    """The shipped transforms with another synthesis: average.safetensors of a folder."""
    shipped = registry.find(MODEL)
    out = build_autoencoder(shipped.family, {**shipped.transform, "integers": True})
    state = out.state_dict()
    kept = load_float(shipped)[0].autoencoder.state_dict()
    state |= {name: t for name, t in kept.items() if not name.startswith("synthesis.")}
    trained = load_file(synthesis / "average.safetensors")
    state |= {
        name.replace("net.", "synthesis.", 1): t.float() for name, t in trained.items() if name.startswith("net.")
    }
    out.load_state_dict(state)
    return out.requires_grad_(False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--synthesis", type=Path, required=True, help="the folder of a run")
    parser.add_argument("--context", type=Path, required=True, help="its averaged weights")
    parser.add_argument("--tokens", type=Path, nargs="+", required=True, help="folders of caches")
    parser.add_argument("--proposals", type=Path, help="proposals.onnx of a run of train_proposals.py")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    start, shipped = time.time(), registry.find(MODEL)
    context = ContextModel(replace(shipped.context, flags=True)).requires_grad_(False)
    load_grown(context, {own_name(k): v.float() for k, v in load_file(arguments.context).items()})
    paths = [p for folder in arguments.tokens for p in sorted(folder.glob("*.npz")) if p.stem.isdigit()]
    tokens, steps = load_tokens(paths)
    order = np.random.default_rng(0).permutation(len(steps)).tolist()
    calibration = [(tokens.map(lambda t, k=k: t[k : k + 1].float()), steps[k : k + 1]) for k in order[:CALIBRATED]]
    quality_of = {round(step_of(q), 3): q for q in QUALITIES}

    def counted(_: object) -> Iterator[TokenSample]:
        for k in order[::-1][:FITTED]:
            own = tokens.map(lambda t, k=k: np.ascontiguousarray(t[k : k + 1].int().numpy()))
            yield own, quality_of[round(steps[k].item(), 3)]

    write_integer_model(
        TrainingModel(transforms(arguments.synthesis), context),
        arguments.folder,
        arguments.folder.name,
        calibration,
        counted,
        shipped.dead_zone,
        shipped.training,
        shipped.tune,
        Gauge(QUANTILE, load_file(arguments.synthesis / "gauge.safetensors")),
        arguments.proposals.read_bytes() if arguments.proposals else None,
    )
    print(f"{arguments.folder}: written in {time.time() - start:.0f} s, {len(steps)} crops")


if __name__ == "__main__":
    main()
