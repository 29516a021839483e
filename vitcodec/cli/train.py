"""`vitcodec train` and `vitcodec export`."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError
from ..training.config import NEW_MODELS, NEW_RATE, TRAINED_RATE, VALIDATION_CROPS, TrainingConfig
from . import options, values
from . import train_options as o
from .output import Output


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
    validate_every: o.ValidateEvery = f"{TrainingConfig.validation_seconds / 60:g}m",
    val_crops: o.ValidationCrops = VALIDATION_CROPS,
    checkpoint: o.Checkpoint = None,
    entropy_only: o.EntropyOnly = False,
    decoder_only: o.DecoderOnly = False,
    fixed_encoder: o.FixedEncoder = False,
    refined: o.Refined = False,
    refined_share: o.RefinedShare = 1.0,
    searching: o.Searching = TrainingConfig.searching,
    pool: o.Pool = TrainingConfig.pool,
    rounded: o.Rounded = None,
    lr: o.LearningRate = None,
    cool_down: o.CoolDown = TrainingConfig.cool_down,
    average: o.Decay = TrainingConfig.average,
    batch: o.Batch = TrainingConfig.batch,
    crop: o.Crop = TrainingConfig.crop,
    scales: o.Scales = "1",
    colours: o.Colours = TrainingConfig.colours,
    tune: o.Tune = TrainingConfig.tune,
    seed: o.Seed = TrainingConfig.seed,
    device: options.Device = "auto",
    precision: o.Precision = "float32",
    compile: o.Compile = None,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a model. Ctrl-C stops and writes a checkpoint; --resume goes on from it.

    The run's folder gets checkpoint.safetensors, the averaged weights in parts, log.jsonl and curve.svg. With several
    processes: torchrun --nproc-per-node N -m vitcodec train ...

    \b
    vitcodec train photos/ shard-*.tar --val val.tar -o runs/a --time-limit 20m --entropy-only
    vitcodec train photos/ shard-*.tar --val val.tar -o runs/b --init swin --time-limit 2h
    vitcodec train photos/ shard-*.tar --val val.tar -o runs/c --init run:runs/b --refined --time-limit 1h
    """
    started = time.monotonic()
    out = Output(quiet=quiet)
    minutes, sizes, changes = parse_time(time_limit), parse_scales(scales), parse_settings(grow)
    if entropy_only + decoder_only + refined > 1:
        raise UsageError("--entropy-only, --decoder-only and --refined contradict each other; give one")
    if fixed_encoder and (entropy_only or decoder_only):
        raise UsageError(
            "--fixed-encoder trains decoder and entropy model; leave --entropy-only and --decoder-only out"
        )
    if (refined or fixed_encoder) and init in NEW_MODELS:
        raise UsageError(f"--{'refined' if refined else 'fixed-encoder'} needs a trained model; give it with --init")
    if refined and tune != TrainingConfig.tune:
        raise UsageError(f"the search of --refined knows squared error alone; leave --tune {tune} out")
    if crop % 32:
        raise UsageError(f"crops of {crop} pixels are no multiple of 32; give --crop 128 or 256")
    values.check_tune(tune)

    import signal

    import torch

    from ..distortion import TUNINGS
    from ..training.data import Crops, read_images
    from ..training.engine import engine
    from ..training.integers import is_integer_ready
    from ..training.loop import Run
    from ..training.start import ready_to_round, starting_point
    from ..training.validation import ValidationSet

    distortion = TUNINGS[tune]
    if crop < distortion.smallest_side:
        raise UsageError(
            f"--tune {tune} needs crops of at least {distortion.smallest_side} pixels; give --crop 192 or 256"
        )
    if threads:
        torch.set_num_threads(threads)
    where = engine(device, precision)
    images = list(read_images(data))
    if val is None:
        # every 20th image, so that validation is on images that are not trained on
        held_out, images = images[::20], [image for k, image in enumerate(images) if k % 20]
    else:
        held_out = list(read_images([val]))
    usable = [image for image in images if min(image.shape[:2]) >= crop]
    if not usable:
        raise UsageError(f"no training image has sides of at least {crop} pixels; give larger ones or a smaller --crop")
    torch.manual_seed(seed)
    start = starting_point(init, model, changes, usable, seed)
    has_integers = is_integer_ready(start.model)
    if rounded and not has_integers:
        raise UsageError("the model's decoder is not one that integers can carry; leave --rounded out")
    trained = init not in NEW_MODELS
    config = TrainingConfig(
        minutes=minutes,
        learning_rate=lr if lr is not None else TRAINED_RATE if trained else NEW_RATE,
        cool_down=cool_down,
        average=average,
        batch=batch,
        crop=crop,
        dead_zone=start.dead_zone if refined or fixed_encoder else TrainingConfig.dead_zone,
        entropy_only=entropy_only,
        decoder_only=decoder_only,
        fixed_encoder=fixed_encoder,
        rounded=has_integers and (trained if rounded is None else rounded),
        refined=refined_share if refined else 0.0,
        searching=searching,
        pool=pool,
        scales=sizes,
        colours=colours,
        tune=tune,
        compile=where.device.type == "cuda" if compile is None else compile,
        seed=seed,
        validation_seconds=60 * parse_time(validate_every),
    )
    crops = Crops(usable, seed, where.device, sizes, colours)
    gauge = start.gauge
    if config.rounded:
        gauge = ready_to_round(start.model.to(where.device), gauge, crops, config.dead_zone)
    run = Run(start.model, config, output, where, gauge, started, checkpoint)
    if run.checkpoint.exists() and not resume:
        raise UsageError(f"{run.checkpoint} exists; give --resume to go on from it, or another --output")
    if resume:
        run.resume()
    crops.seed(run.seed)
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopped.append(number))
    out.say(
        f"{len(usable)} images, {len(held_out)} for validation, on {where.device} in {precision}, "
        f"{torch.get_num_threads()} threads"
    )
    validation = ValidationSet.of(held_out, distortion, crop, val_crops)
    del images, usable
    with out.progress(int(60 * minutes), "s") as bar:
        shown = 0

        def advance(seconds: float) -> None:
            nonlocal shown
            bar.advance(steps=int(seconds) - shown)
            shown = int(seconds)

        def stop() -> bool:
            return bool(stopped) or (steps is not None and run.steps >= steps)

        run.train(crops, validation, out.say, stop, advance)
    if stopped:
        out.say(f"stopped; go on with --resume -o {output}")
        raise typer.Exit(130)
    out.say(f"{run.checkpoint}: {run.steps} steps; next: vitcodec export {output} DATA... -o FOLDER")


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training run.", show_default=False)],
    data: o.Data,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", show_default=False, help="The model folder to write.")
    ],
    name: o.Name = None,
    dead_zone: o.DeadZone = None,
    val: o.Measured = None,
    with_model: o.With = None,
    share: o.Share = 0.5,
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Turn a training run into a model folder.

    It holds the run's averaged weights: the entropy model as integer networks, calibrated on DATA, and tables fitted to
    symbol counts on DATA.

    \b
    vitcodec export runs/b shard-*.tar -o my-model --val val.tar
    vitcodec export runs/b shard-*.tar -o my-model --with swin --share 0.5
    vitcodec encode photos/ -m local-dir:my-model
    """
    out = Output(quiet=quiet)
    if (output / "config.json").exists() and not overwrite:
        raise UsageError(f"{output} holds a model already; give --overwrite to replace it")

    import torch

    from ..distortion import TUNINGS
    from ..pretrained import registry
    from ..training.data import read_images
    from ..training.package import CROP, interpolate, load_run, load_training_model, measure, write_model
    from ..training.validation import REFERENCE

    if threads:
        torch.set_num_threads(threads)
    trained = load_run(run)
    if with_model is not None:
        interpolate(trained.model, load_training_model(registry.find(with_model)), share)
    images = [image for image in read_images(data) if min(image.shape[:2]) >= CROP]
    rounding = trained.dead_zone if dead_zone is None else dead_zone
    model_name = name or output.resolve().name
    write_model(
        trained.model, output, model_name, images, rounding, trained.training, trained.tune, gauge=trained.gauge
    )
    out.say(f"{output}: written; use it with -m local-dir:{output}")
    if val is not None:
        change = measure(output, [image for image in read_images([val]) if min(image.shape[:2]) >= CROP])
        out.say(f"{change:+.2f} % BD-rate against {REFERENCE} in {TUNINGS[trained.tune].title}, by the sizes of files")
