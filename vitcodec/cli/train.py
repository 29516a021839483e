"""`vitcodec train`."""

from __future__ import annotations

import json
import math
import re
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from ..errors import UsageError
from ..pretrained import hub, registry
from ..training.config import (
    CHECKPOINT,
    NEW_MODELS,
    NEW_RATE,
    PARTS,
    SHORT_MINUTES,
    SHORT_VALIDATION_CROPS,
    TRAINED_RATE,
    VALIDATION_CROPS,
    VALIDATION_SECONDS,
    TrainingConfig,
)
from ..training.trackers import check_tracker, open_tracker
from . import options
from . import train_options as o
from .output import Output

CHECKPOINTS = 5  # at least, in a short run


def parse_time(text: str) -> float:
    """'90', '90m', '2h', '1h30', '9m30s' -> minutes. Raises UsageError."""
    number, text = r"(\d+(?:\.\d+)?)", text.strip()
    units = re.fullmatch(rf"(?:{number}h)?(?:{number}m)?(?:{number}s)?", text)
    match = units if units and any(units.groups()) else re.fullmatch(rf"(?:{number}h)?{number}()", text)
    if not match:
        raise UsageError(f"time limit '{text}' is not understood; write it as 90m, 1h30m or 9m30s")
    hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return 60 * hours + minutes + seconds / 60


def parse_scales(text: str) -> tuple[float, ...]:
    """'1,1,1.25,1.6' -> numbers of at least 1. Raises UsageError."""
    try:
        scales = tuple(float(part) for part in text.split(","))
    except ValueError:
        scales = ()
    if not scales or not all(1 <= scale <= 4 for scale in scales):
        raise UsageError(f"scales '{text}' are not understood; write numbers from 1 to 4, as 1,1,1.25,1.6")
    return scales


def parse_rates(texts: list[str]) -> dict[str, float]:
    """'analysis=0.1' -> factors by parts. Raises UsageError."""
    found = {}
    for text in texts:
        part, _, number = text.partition("=")
        try:
            factor = float(number)
        except ValueError:
            factor = -1
        if part not in PARTS or not 0 <= factor < math.inf:
            raise UsageError(f"rate '{text}' is not understood; write {', '.join(PARTS)}, = and a factor, as gains=10")
        found[part] = factor
    return found


def parse_settings(text: str | None) -> dict[str, Any]:
    """JSON -> an object; none for None. Raises UsageError."""
    try:
        found = json.loads(text or "{}")
    except ValueError:
        found = None
    if not isinstance(found, dict) or not all(isinstance(own, dict) for own in found.values()):
        raise UsageError(
            """--grow is no JSON object of objects; give as '{"transform": {"synthesis": [1, 3, 2, 12]}}'"""
        )
    return found


def public_name(init: str) -> str:
    """What a run starts from, without the folders of this machine."""
    return init if init.startswith(hub.HUB) else init.rstrip("/").rpartition("/")[2].rpartition(":")[2]


@contextmanager
def caught_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM as numbers in a list, in here."""
    caught: list[int] = []
    numbers = signal.SIGINT, signal.SIGTERM
    before = [signal.signal(number, lambda number, frame: caught.append(number)) for number in numbers]
    try:
        yield caught
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


def train_command(
    data: o.Data,
    model: o.Family = None,
    output: o.Folder = Path("runs/new"),
    init: o.Init = "wavelet",
    grow: o.Grow = None,
    resume: o.Resume = False,
    time_limit: o.TimeLimit = f"{TrainingConfig.minutes:g}m",
    steps: o.Steps = None,
    val: o.Validation = None,
    validate_every: o.ValidateEvery = None,
    val_crops: o.ValidationCrops = None,
    log: o.Log = None,
    checkpoint: o.Checkpoint = None,
    entropy_only: o.EntropyOnly = False,
    decoder_only: o.DecoderOnly = False,
    fixed_encoder: o.FixedEncoder = False,
    refined: o.Refined = False,
    refined_share: o.RefinedShare = 1.0,
    searching: o.Searching = TrainingConfig.searching,
    pool: o.Pool = TrainingConfig.pool,
    tokens: o.Tokens = None,
    rounded: o.Rounded = None,
    lr: o.LearningRate = None,
    rate: o.Rates = None,
    bend: o.Bend = TrainingConfig.bend,
    cool_down: o.CoolDown = TrainingConfig.cool_down,
    average: o.Decay = TrainingConfig.average,
    batch: o.Batch = TrainingConfig.batch,
    crop: o.Crop = TrainingConfig.crop,
    scales: o.Scales = "1",
    colours: o.Colours = TrainingConfig.colours,
    tune: o.Tune = TrainingConfig.tune,
    relative: o.Relative = False,
    prices: o.Prices = None,
    seed: o.Seed = TrainingConfig.seed,
    device: options.Device = "auto",
    precision: o.Precision = "float32",
    compile: o.Compile = None,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a model. Ctrl-C stops and writes a checkpoint; --resume goes on from it.

    The run's folder gets checkpoint.safetensors, the averaged weights at the best validation and at the end, log.jsonl
    and curve.svg. With several processes: torchrun --nproc-per-node N -m vitcodec train ...

    \b
    vitcodec train photos/ shard-*.tar --val val.tar -o runs/a --time-limit 20m --entropy-only
    vitcodec train photos/ shard-*.tar --val val.tar -o runs/b --init swin --time-limit 2h
    vitcodec train photos/ shard-*.tar --val val.tar -o runs/c --init run:runs/b --refined --time-limit 1h
    """
    started = time.monotonic()
    out = Output(quiet=quiet)
    minutes, sizes, changes = parse_time(time_limit), parse_scales(scales), parse_settings(grow)
    rates = parse_rates(rate or [])
    if entropy_only + decoder_only + refined > 1:
        raise UsageError("--entropy-only, --decoder-only and --refined contradict each other; give one")
    if fixed_encoder and (entropy_only or decoder_only):
        raise UsageError(
            "--fixed-encoder trains decoder and entropy model; leave --entropy-only and --decoder-only out"
        )
    if tokens and (refined or fixed_encoder):
        raise UsageError("--tokens fixes the encoder's choice; leave --refined and --fixed-encoder out")
    if tokens and init in NEW_MODELS:
        raise UsageError("--tokens needs the model that chose them; give it with --init")
    if (refined or fixed_encoder) and init in NEW_MODELS:
        raise UsageError(f"--{'refined' if refined else 'fixed-encoder'} needs a trained model; give it with --init")
    if refined and tune != TrainingConfig.tune:
        raise UsageError(f"the search of --refined knows squared error alone; leave --tune {tune} out")
    if prices and not relative:
        raise UsageError("--prices is for --relative, which counts each crop's cost by them; give both")
    if crop % 32:
        raise UsageError(f"crops of {crop} pixels are no multiple of 32; give --crop 128 or 256")
    registry.check_tune(tune)
    loggers = options.listed(log or [])
    for name in loggers:
        check_tracker(name)
    least, most = VALIDATION_SECONDS
    between = min(most, max(least, 60 * minutes / 4)) if not refined else most
    if (output / CHECKPOINT if checkpoint is None else checkpoint).exists() and not resume:
        raise UsageError(
            f"{checkpoint or output / CHECKPOINT} exists; give --resume to go on from it, or another --output"
        )

    import torch

    from ..distortion import TUNINGS
    from ..training.best import Best
    from ..training.data import Crops, read_images
    from ..training.engine import engine
    from ..training.integers import is_integer_ready
    from ..training.loop import Run
    from ..training.start import ready_to_round, starting_point
    from ..training.token_cache import validation_samples
    from ..training.validation import ValidationSet

    distortion = TUNINGS[tune]
    if crop < distortion.smallest_side:
        raise UsageError(
            f"--tune {tune} needs crops of at least {distortion.smallest_side} pixels; give --crop 192 or 256"
        )
    if threads:
        torch.set_num_threads(threads)
    where = engine(device, precision)
    if not where.first:
        out = Output(quiet=True)  # one of several processes speaks for all
    images = list(read_images(data, out.warn))
    if val is None:
        if len(images) == 1:
            raise UsageError("one image is too few: every 20th is held out; give more, or held-out ones with --val")
        # every 20th image, so that validation is on images that are not trained on
        held_out, images = images[::20], [image for k, image in enumerate(images) if k % 20]
    else:
        held_out = list(read_images([val], out.warn))
    usable = [image for image in images if min(image.shape[:2]) >= crop]
    if not usable:
        raise UsageError(f"no training image has sides of at least {crop} pixels; give larger ones or a smaller --crop")
    torch.manual_seed(seed)
    start = starting_point(init, model, changes, usable, seed)
    if start.note:
        out.warn(start.note)
    has_integers = is_integer_ready(start.model)
    if rounded and not has_integers:
        raise UsageError("the model's decoder is not one that integers can carry; leave --rounded out")
    trained = init not in NEW_MODELS
    config = TrainingConfig(
        minutes=minutes,
        learning_rate=lr if lr is not None else TRAINED_RATE if trained else NEW_RATE,
        rates=rates,
        bend=bend,
        cool_down=cool_down,
        average=average,
        batch=batch,
        crop=crop,
        dead_zone=start.dead_zone if refined or fixed_encoder or tokens else TrainingConfig.dead_zone,
        entropy_only=entropy_only,
        decoder_only=decoder_only,
        fixed_encoder=fixed_encoder,
        rounded=has_integers and (trained if rounded is None else rounded),
        refined=refined_share if refined else 0.0,
        searching=searching,
        pool=pool,
        fixed_tokens=tokens is not None,
        scales=sizes,
        colours=colours,
        tune=tune,
        relative=relative,
        compile=where.device.type == "cuda" if compile is None else compile,
        seed=seed,
        start=public_name(init),
        checkpoint_seconds=min(TrainingConfig.checkpoint_seconds, 60 * minutes / CHECKPOINTS),
        validation_seconds=between if validate_every is None else 60 * parse_time(validate_every),
    )
    crops = Crops(usable, seed, where.device, sizes, colours)
    gauge = start.gauge
    if config.rounded:
        gauge = ready_to_round(start.model.to(where.device), gauge, crops, config.dead_zone)
    trackers = [open_tracker(name, output, asdict(config)) for name in loggers] if where.first else []
    priced = starting_point(prices, None, {}, usable, seed).model if prices else None
    run = Run(start.model, config, output, where, gauge, started, checkpoint, trackers, tokens, priced)
    if resume:
        run.resume()
    crops.seed(run.seed)
    out.say(
        f"{len(usable)} images, {len(held_out)} for validation, on {where.device} in {precision}, "
        f"{torch.get_num_threads()} threads"
    )
    count = val_crops or (SHORT_VALIDATION_CROPS if minutes < SHORT_MINUTES else VALIDATION_CROPS)
    if tokens:
        validation = ValidationSet.with_tokens(validation_samples(tokens, count), distortion)
    else:
        validation = ValidationSet.of(held_out, distortion, crop, count)
    del images, usable
    with out.progress(int(60 * minutes), "s") as bar, caught_signals() as stopped:
        shown = 0

        def advance(seconds: float) -> None:
            nonlocal shown
            bar.note(run.state)
            bar.advance(steps=int(seconds) - shown)
            shown = int(seconds)

        def stop() -> bool:
            return bool(stopped) or (steps is not None and run.steps >= steps)

        run.train(crops, validation, out.say, stop, advance)
    where.close()
    if stopped:
        out.say(f"stopped after {run.steps} steps; the same command with --resume goes on")
        raise typer.Exit(130)
    best = Best.read(output)
    if best is not None and best.validations > 1 and not best.steps:
        out.warn(
            f"no validation was better than that of the start ({best.bd_rate:+.2f} %), whose weights export takes "
            "unless --last is given; train for longer, or with a lower --lr"
        )
    elif best is not None and best.validations > 1:
        out.say(
            f"best validation: {best.bd_rate:+.2f} % after {best.steps} of {run.steps} steps; export takes its weights"
        )
    out.say(f"{run.checkpoint}: {run.steps} steps; vitcodec export {output} DATA... -o FOLDER makes a model of them")
