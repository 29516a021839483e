"""From a training checkpoint to a model folder: export, hash, config.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from .. import files
from ..codec import Codec
from ..context.integer import log_thresholds
from ..context.model import NEW, ContextConfig, ContextModel
from ..errors import UsageError, WeightsError
from ..models import build_autoencoder, tupled, untrained
from ..models.autoencoder import parameter_count
from ..models.backbone import load_pretrained
from ..models.summary import kmac_per_pixel
from ..pretrained.hub import part_names
from ..pretrained.loading import entropy_tensors, own_name, read_parts, split_parts, stored_name
from ..pretrained.presets import PRESETS
from ..pretrained.registry import LOCAL, PretrainedConfig, verify
from ..quality import step_of
from .data import Crops
from .export import build_entropy_model
from .loop import TrainingModel
from .validation import QUALITIES, REFERENCE, against, coded_curve, reference_curve

CALIBRATION_BATCHES, COUNTING_BATCHES = 24, 160
BATCH, CROP = 4, 256


def new_model(name: str) -> TrainingModel:
    """An untrained model by a family's or a preset's name: a wavelet codec. Raises WeightsError."""
    return TrainingModel(untrained(name), ContextModel())


def load_training_model(card: PretrainedConfig, name: str | None = None) -> TrainingModel:
    """The float model behind a model folder, to train on from. Raises WeightsError where the folder lacks the float context model.

    name: a family or preset to start in place of the folder's. One that has all of its layers and more blocks takes them over, and computes the same
    at first, as new blocks start as the identity; any other takes the gains and the context model, and starts its transforms from the wavelet.
    """
    file = card.folder / "context-float.safetensors"
    if not file.is_file():
        raise WeightsError(
            f"{card.folder}: has no context-float.safetensors, which training starts from; it is in the source repository, not in the wheel"
        )
    verify(card)
    try:
        config = ContextConfig(**tupled(card.config["context"]))
        # links and blocks that a model lacks change nothing at first
        context = ContextModel(
            replace(
                config,
                conditional=config.conditional or NEW.conditional,
                extra_blocks=config.extra_blocks if any(config.extra_blocks) else NEW.extra_blocks,
            )
        )
        context.load_state_dict(
            {own_name(k): v.float() for k, v in load_file(file).items()}, strict=context.config == config
        )
        shipped = {
            k.removeprefix("autoencoder."): v.float()
            for k, v in read_parts(card).items()
            if k.startswith("autoencoder.")
        }
        trained = build_autoencoder(card.family, card.config["transform"])
        del shipped["steps"]
        trained.load_state_dict(shipped)
    except (KeyError, TypeError, RuntimeError) as error:
        raise WeightsError(
            f"{card.folder}: was made by another version of the program; start from the wavelet, or from newer weights"
        ) from error
    fresh = trained if name is None else untrained(name)
    if (fresh.family, fresh.settings) == (trained.family, trained.settings):
        return TrainingModel(trained, context)
    kept, shapes = trained.state_dict(), {k: v.shape for k, v in fresh.state_dict().items()}
    if fresh.family != trained.family or any(shapes.get(k) != v.shape for k, v in kept.items()):
        kept = {k: kept[k] for k in ("gain", "inverse_gain")}
    fresh.load_state_dict(kept, strict=False)
    return TrainingModel(fresh, context)


@torch.no_grad()
def interpolate(model: TrainingModel, other: TrainingModel, share: float) -> None:
    """Make a model's weights `share` of themselves and the rest of another's. Raises WeightsError where the two differ in shape.

    Half of a run and half of what it started from can be better than either: what a learning rate adds as noise is averaged away.
    """
    ours, theirs = model.state_dict(), other.state_dict()
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        raise WeightsError(
            "the run's model and the one to average it with are not of the same shape; give the model that the run started from"
        )
    for name, weight in ours.items():
        if weight.is_floating_point():
            weight.lerp_(theirs[name].to(weight), 1 - share)


def model_of_run(checkpoint: Path) -> TrainingModel:
    """The untrained model that a run's checkpoint fits. Raises UsageError where there is none, WeightsError where it does not say."""
    if not checkpoint.exists():
        raise UsageError(f"{checkpoint.parent}: holds no {checkpoint.name}; give the folder of a training run")
    try:
        with safe_open(checkpoint, "pt") as file:
            made_of = json.loads(file.metadata()["training"])["model"]
        context = ContextModel(ContextConfig(**tupled(made_of["context"])))
        return TrainingModel(build_autoencoder(made_of["family"], made_of["transform"]), context)
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{checkpoint}: does not say what model it is of; was it made by an earlier vitcodec?"
        ) from error


def load_pretrained_encoder(model: TrainingModel, name: str) -> None:
    """Fill a preset's encoder with timm's pretrained weights. Raises UsageError for what is no such preset, WeightsError without a network."""
    tag = PRESETS[name].pretrained
    if tag is None:
        presets = ", ".join(preset for preset in PRESETS if PRESETS[preset].pretrained)
        raise UsageError(f"'{name}' has no encoder of timm's; --init timm is for {presets}")
    assert model.autoencoder.analysis is not None
    load_pretrained(model.autoencoder.analysis, tag)


def _calibration(crops: Crops, rng: np.random.Generator) -> Iterator[tuple[Tensor, Tensor]]:
    for _ in range(CALIBRATION_BATCHES):
        yield crops.batch(BATCH, CROP), torch.tensor([step_of(int(q)) for q in rng.integers(1, 101, BATCH)])


def _counting(crops: Crops, rng: np.random.Generator) -> Iterator[tuple[Tensor, int]]:
    for k in range(COUNTING_BATCHES):
        # every part of the range equally often
        yield crops.batch(BATCH, CROP), 1 + int((k + rng.random()) * 100 / COUNTING_BATCHES)


def write_model(
    model: TrainingModel,
    folder: Path,
    name: str,
    images: list[np.ndarray],
    dead_zone: float,
    training: dict[str, Any],
    tune: str = "psnr",
    seed: int = 0,
) -> None:
    """Write config.json, model.safetensors (in parts) and context-float.safetensors into a folder.

    README.md and metrics are added by hand and by benchmarks.
    """
    model.eval()
    autoencoder = model.autoencoder
    crops, rng = Crops(images, seed), np.random.default_rng(seed)
    # half precision first, so that tables are fitted to what ships
    halves = {k: (v if "gain" in k else v.half()) for k, v in autoencoder.state_dict().items()}
    autoencoder.load_state_dict({k: v.float() for k, v in halves.items()})
    calibration, counting = _calibration(crops, rng), _counting(crops, rng)
    entropy, narrow, wide = build_entropy_model(autoencoder, model.context, calibration, counting, dead_zone, tune)
    tensors = {f"autoencoder.{k}": v.contiguous() for k, v in halves.items()}
    tensors["autoencoder.steps"] = autoencoder.steps
    tensors |= entropy_tensors(entropy, torch.from_numpy(narrow), torch.from_numpy(wide), log_thresholds())
    parts = split_parts(tensors)
    config = {
        "schema_version": 1,
        "name": name,
        "family": autoencoder.family,
        "sha256": hashlib.sha256(b"".join(parts)).hexdigest(),
        "parts": len(parts),
        "transform": autoencoder.settings,
        "context": asdict(model.context.config),
        "dead_zone": dead_zone,
        "tune": tune,
        "parameters": parameter_count(model),
        "kmac_per_pixel": kmac_per_pixel(autoencoder.family, autoencoder.settings, model.context.config),
        "licence": "Apache-2.0",
        "training": training,
        "metrics": {},
    }
    folder.mkdir(parents=True, exist_ok=True)
    names = part_names(config)
    for part, data in zip(names, parts, strict=True):
        files.write_atomic(folder / part, data, overwrite=True)
    for left in folder.glob("model-*.safetensors"):  # of a larger model that was here before
        if left.name not in names:
            left.unlink()
    files.write_atomic(
        folder / "context-float.safetensors",
        save({stored_name(k): v.half() for k, v in model.context.state_dict().items()}),
        overwrite=True,
    )
    files.write_atomic(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode(), overwrite=True)


def measure(folder: Path, images: Sequence[np.ndarray], count: int = 12) -> float:
    """Code the first images (H, W, 3) uint8 with the model of a folder, note the curve in its config.json; returns the BD-rate against REFERENCE."""
    codec = Codec.load(f"{LOCAL}{folder}", "cpu")
    config = json.loads((folder / "config.json").read_text("utf-8"))
    tune = config.get("tune", "psnr")
    curve = coded_curve(codec, images[:count], tune)
    change = against(reference_curve(images[:count], tune), curve, tune)
    points = [
        {"quality": q, "bpp": round(bpp, 5), "psnr" if tune == "psnr" else "ms_ssim_db": round(db, 3)}
        for q, (bpp, db) in zip(QUALITIES, curve, strict=True)
    ]
    config["metrics"]["validation"] = {
        "images": min(count, len(images)),
        "bd_rate_percent": {REFERENCE: round(change, 2)},
        "curve": points,
    }
    files.write_atomic(folder / "config.json", (json.dumps(config, indent=2) + "\n").encode(), overwrite=True)
    return change
