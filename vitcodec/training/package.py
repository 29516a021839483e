"""Model folders in training: what a run starts from, and the folder that its checkpoint is made into."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .. import files
from ..codec import Codec
from ..context.config import CURRENT
from ..context.model import ContextModel
from ..distortion import TUNINGS
from ..errors import UsageError, WeightsError
from ..models import untrained
from ..models.autoencoder import Autoencoder
from ..models.backbone import load_pretrained
from ..options import QUALITIES, EncodeOptions
from ..picture import Picture
from ..pipeline.loading import Coder
from ..pretrained import registry
from ..pretrained.config import CONFIG, PretrainedConfig
from ..pretrained.presets import PRESETS
from ..quality import round_tokens, step_of
from ..subbands import Subbands
from . import validation
from .assemble import check_onnx
from .best import Best
from .checkpoint import averaged_model
from .config import CHECKPOINT, NEW_MODELS, TrainingConfig
from .data import Crops
from .filters import EncodedSample
from .floats import load_float_family, write_float_family
from .integers import QUANTILE, context_source, is_integer_ready, load_float, write_integer_model
from .model import TrainingModel, initialise_base
from .parts import BEST, read_average
from .reporting import Report, followed, silent
from .rounding import Gauge
from .validation import REFERENCE, bd_rate_to_reference, coded_curves, mean_curve, reference_curve

CALIBRATION_BATCHES = 24  # of the export
COUNTED_BATCHES, COUNTED_EFFORT = 50, 2
QUICK = 4, 10, 1  # the same three where it must be quick
BATCH, CROP = 4, 256  # crops in each of them, and their side in pixels
MEASURED = 12  # images that `measure` codes
# tuning -> what config.json calls its values
CURVE_KEYS = {"psnr": "psnr", "ms-ssim": "ms_ssim_db", "ssimulacra2": "ssimulacra2"}


def new_model(name: str) -> TrainingModel:
    """An untrained model by a family's or a preset's name: a wavelet codec. Raises WeightsError for an unknown name."""
    autoencoder = untrained(name)
    return TrainingModel(autoencoder, ContextModel(CURRENT))


def initial_model(init: str, name: str | None, images: Sequence[np.ndarray], seed: int) -> TrainingModel:
    """What a run starts from.

    init: "wavelet" for an untrained model, "timm" for one with a pretrained encoder, else a model as registry.find
    takes it. name: a family or preset; None for that of `init`, or the default.
    images: (H, W, 3) uint8, some with sides of at least 256 pixels. They tell an untrained context model where its
    scales start. Raises WeightsError, UsageError.
    """
    if init not in NEW_MODELS:
        config = registry.find(init)
        return load_training_model(config, name, context_source(config))
    model = new_model(name or registry.DEFAULT_MODEL)
    initialise_base(model.context, images, np.random.default_rng(seed))
    if init == "timm":
        load_pretrained_encoder(model, name or registry.DEFAULT_MODEL)
    return model


def load_training_model(
    config: PretrainedConfig, name: str | None = None, context: Path | None = None
) -> TrainingModel:
    """The float model of a model folder.

    Raises WeightsError where the folder lacks the float context model or was made by another version.
    name: a family or preset in place of the folder's. If it has all of the folder's layers and more blocks, it takes
    the weights over and computes the same at first, as new blocks start as the identity. Any other takes the gains and
    the context model; its transforms start from the wavelet.
    context: the folder of the float context model, where that is another (integers.context_source).
    """
    registry.verify(config)
    model = load_float(config)[0] if config.integers else load_float_family(config, context)
    trained = model.autoencoder
    fresh = trained if name is None else untrained(name)
    if (fresh.family, fresh.settings) == (trained.family, trained.settings):
        return model
    kept, shapes = trained.state_dict(), {k: v.shape for k, v in fresh.state_dict().items()}
    if fresh.family != trained.family or any(shapes.get(k) != v.shape for k, v in kept.items()):
        kept = {k: kept[k] for k in ("gain", "inverse_gain")}
    fresh.load_state_dict(kept, strict=False)
    return TrainingModel(fresh, model.context)


def load_pretrained_encoder(model: TrainingModel, name: str) -> None:
    """Fill the encoder of a preset, by its name, with timm's pretrained weights.

    Raises UsageError for a preset that has none, WeightsError where they cannot be downloaded.
    """
    tag = PRESETS[name].pretrained
    if tag is None:
        presets = ", ".join(preset for preset in PRESETS if PRESETS[preset].pretrained)
        raise UsageError(f"'{name}' has no encoder of timm's; --init timm is for {presets}")
    assert model.autoencoder.analysis is not None
    load_pretrained(model.autoencoder.analysis, tag)


@torch.no_grad()
def interpolate(model: TrainingModel, other: TrainingModel, share: float) -> None:
    """Replace a model's weights by share * weights + (1 - share) * those of another model. share: 0 to 1.

    Raises WeightsError where the two differ in shape.
    Half of a run and half of what it started from can be better than either: the noise that a high learning rate adds
    is averaged away.
    """
    ours, theirs = model.state_dict(), other.state_dict()
    if {k: v.shape for k, v in ours.items()} != {k: v.shape for k, v in theirs.items()}:
        raise WeightsError(
            "the run's model and the one to average it with are not of the same shape; "
            "give the model that the run started from"
        )
    for name, weight in ours.items():
        if weight.is_floating_point():
            weight.lerp_(theirs[name].to(weight), 1 - share)


@dataclass(frozen=True)
class TrainedRun:
    """The averaged weights of a run, and how it trained them."""

    model: TrainingModel
    dead_zone: float  # of rounding
    tune: str  # a key of distortion.TUNINGS
    training: Mapping[str, Any]  # steps, minutes and megapixels, for config.json
    gauge: Gauge | None = None  # of a synthesis that was trained with its rounding
    origin: str = "the last weights"  # which of the run's weights, for people


def load_run(folder: Path, last: bool = False) -> TrainedRun:
    """The run in a folder: the averaged weights of its best validation, or the last ones.

    last: take the last, which is also done where nothing was validated after the start. They come from the checkpoint
    or, without one, the averaged weights beside it. Raises UsageError where there is neither, WeightsError where it is
    of an unknown model.
    """
    best, origin = None if last else Best.read(folder), "the last weights"
    if best is not None and best.validations > 1:
        model, metadata, largest = read_average(folder, BEST)
        origin = f"the best of {best.validations} validations, {best.bd_rate:+.2f} % after {best.steps} steps"
        if not best.steps:
            origin += ": what the run started from. No training made it better; give --last for the trained weights"
    else:
        model, metadata, largest = averaged_model(folder / CHECKPOINT)
        if not last:
            origin += ", as nothing was validated after the start"
    training = {
        "steps": metadata["steps"],
        "minutes": round(metadata["seconds"] / 60, 1),
        "megapixels": round(metadata["pixels"] / 1e6, 1),
    }
    config = metadata["config"]
    if config.get("start"):
        training["start"] = config["start"]
    gauge = Gauge(QUANTILE, largest) if largest else None
    return TrainedRun(model, config["dead_zone"], config["tune"], training, gauge, origin)


def write_model(
    model: TrainingModel,
    folder: Path,
    name: str,
    images: list[np.ndarray],
    dead_zone: float,
    training: Mapping[str, Any],
    tune: str = TrainingConfig.tune,
    seed: int = 0,
    gauge: Gauge | None = None,
    device: torch.device | str = "cpu",
    quick: bool = False,
    report: Report = silent,
) -> None:
    """Write a model folder, with the float parts that training goes on from.

    images: (H, W, 3) uint8 with sides of at least CROP pixels, to calibrate on and to fit the tables to.
    dead_zone: of the encoder's rounding, 0 to 0.4. tune: a key of distortion.TUNINGS.
    training: how the weights were made, for config.json. gauge: of a synthesis that was trained with its rounding.
    device: what runs the networks; the model is on the CPU afterwards. quick: calibrate on fewer crops, and fit tables
    and filters to fewer of them, coded with less effort. report: told how far it is.
    """
    if is_integer_ready(model):
        check_onnx()
    model.eval().to(device)
    batches, coded, effort = QUICK if quick else (CALIBRATION_BATCHES, COUNTED_BATCHES, COUNTED_EFFORT)
    crops, rng = Crops(images, seed), np.random.default_rng(seed)
    samples = _rounded(model.autoencoder, _calibration_samples(crops, rng, batches, device), dead_zone)
    calibrated = list(followed(samples, "calibrating", batches * BATCH, report))

    def counted(coder: Coder) -> Iterator[EncodedSample]:
        return followed(_encoded(coder, crops, rng, coded, effort), "coding crops", coded * BATCH, report)

    if is_integer_ready(model):
        write_integer_model(model, folder, name, calibrated, counted, dead_zone, training, tune, gauge, report=report)
    else:
        write_float_family(model, folder, name, calibrated, counted, dead_zone, training, tune, report)


def measure(
    folder: Path, images: Sequence[np.ndarray], device: torch.device | str = "cpu", report: Report = silent
) -> float:
    """Code images with the model of a folder; returns the BD-rate against REFERENCE, in per cent.

    images: (H, W, 3) uint8, of which the first MEASURED are used. The curve goes to `metrics` of the folder's
    config.json.
    """
    codec = Codec.from_pretrained(f"{registry.LOCAL}{folder}", device, torch.get_num_threads())
    config, images = codec.config, images[:MEASURED]
    distortion = TUNINGS[config.tune]
    curves = coded_curves(codec, images, distortion, report)
    change = bd_rate_to_reference([reference_curve(image, distortion) for image in images], curves, distortion)
    points = [
        {"quality": q, "bpp": round(bpp, 5), CURVE_KEYS[config.tune]: round(db, 3)}
        for q, (bpp, db) in zip(validation.CODED_QUALITIES, mean_curve(curves), strict=True)
    ]
    measured = {"images": len(images), "bd_rate_percent": {REFERENCE: round(change, 2)}, "curve": points}
    config = replace(config, metrics={**config.metrics, "validation": measured})
    files.write_atomic(folder / CONFIG, config.to_json().encode(), overwrite=True)
    return change


def _calibration_samples(
    crops: Crops, rng: np.random.Generator, batches: int, device: torch.device | str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Images (B, H, W, 3) and steps (B,) of random qualities."""
    for _ in range(batches):
        qualities = rng.integers(QUALITIES[0], QUALITIES[-1] + 1, BATCH)
        steps = torch.tensor([step_of(int(q)) for q in qualities])
        yield crops.batch(BATCH, CROP).to(device), steps.to(device)


@torch.no_grad()
def _rounded(
    autoencoder: Autoencoder, samples: Iterator[tuple[Tensor, Tensor]], dead_zone: float
) -> Iterator[tuple[Subbands, Tensor]]:
    """Images of samples, and their steps -> the rounded tokens of each, as floats, and its step."""
    for images, steps in samples:
        tokens = round_tokens(autoencoder.encode(images, steps), dead_zone).map(Tensor.float)
        yield from zip(tokens.split_batch(), steps.split(1), strict=True)


def _encoded(
    coder: Coder, crops: Crops, rng: np.random.Generator, batches: int, effort: int
) -> Iterator[EncodedSample]:
    """Tokens as the encoder chooses them, and their quality."""
    for images, quality in _counting_samples(crops, rng, batches):
        for image in images.byte().numpy():
            options = EncodeOptions(quality=quality, effort=effort)
            yield image, coder.encoder.tokens(Picture(image), options).bands, quality


def _counting_samples(crops: Crops, rng: np.random.Generator, batches: int) -> Iterator[tuple[Tensor, int]]:
    """Images (B, H, W, 3) and a quality, of every part of the range equally often."""
    for k in range(batches):
        yield crops.batch(BATCH, CROP), 1 + int((k + rng.random()) * len(QUALITIES) / batches)
