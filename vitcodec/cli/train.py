"""`vitcodec train` and `vitcodec export`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from . import options
from .output import Output

Data = Annotated[list[Path], typer.Argument(metavar="DATA...", show_default=False, help="Folders and tars of images.")]
Family = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="NAME",
        show_default=False,
        help="A family or preset, see vitcodec models list. [default: that of --init, or swin]",
    ),
]
Folder = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FOLDER", help="The run's folder: checkpoint.safetensors and log.jsonl."),
]
Init = Annotated[
    str,
    typer.Option(
        "--init",
        metavar="NAME",
        help="Where to start: wavelet (untrained), timm (a preset's pretrained encoder), or a model's name, local-dir:PATH or hf-hub:ORG/NAME.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")]
TimeLimit = Annotated[
    str,
    typer.Option(
        "--time-limit", metavar="TIME", help="Of the whole schedule, as 90m or 2h; the learning rate decays to its end."
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, metavar="N", show_default=False, help="Stop after so many steps at the latest."),
]
Validation = Annotated[
    Path | None,
    typer.Option(
        "--val", metavar="PATH", show_default=False, help="A folder or tar to validate on. [default: 5 % of the data]"
    ),
]
EntropyOnly = Annotated[
    bool, typer.Option("--entropy-only", help="Train the entropy model alone, on fixed transforms.")
]
DecoderOnly = Annotated[
    bool, typer.Option("--decoder-only", help="Train the decoder's network alone, on fixed tokens.")
]
RefinedOnly = Annotated[
    bool,
    typer.Option("--refined", help="Train decoder and entropy model on the tokens that the default effort chooses."),
]
LearningRate = Annotated[float, typer.Option("--lr", min=0, help="Peak learning rate.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Crops a step.")]
Crop = Annotated[int, typer.Option("--crop", metavar="PIXELS", min=32, help="Side of a crop, a multiple of 32.")]
Tune = Annotated[str, typer.Option("--tune", metavar="NAME", help="What distortion is: psnr or ms-ssim.")]
Reduced = Annotated[
    float, typer.Option("--reduced", metavar="SHARE", min=0, max=1, help="Of batches cut twice as large and halved.")
]
Precision = Annotated[
    str, typer.Option("--precision", metavar="NAME", help="float32, or bfloat16 for the matrix products (GPUs).")
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the step with torch.compile (GPUs; minutes on a CPU).")
]
Seed = Annotated[int, typer.Option("--seed", help="For crops, steps and noise.")]
Name = Annotated[
    str | None,
    typer.Option("--name", metavar="NAME", show_default=False, help="The model's name. [default: the folder's]"),
]
With = Annotated[
    str | None,
    typer.Option(
        "--with", metavar="MODEL", show_default=False, help="Average the run's weights with those of a model."
    ),
]
Share = Annotated[float, typer.Option("--share", min=0, max=1, help="Of the run's weights in that average.")]
Held = Annotated[
    Path | None,
    typer.Option(
        "--val",
        metavar="PATH",
        show_default=False,
        help="A folder or tar to code for real with the model, and say how well.",
    ),
]
DeadZone = Annotated[
    float | None,
    typer.Option(
        "--dead-zone",
        metavar="SHARE",
        min=0,
        max=0.4,
        show_default=False,
        help="Of the encoder's rounding. [default: that of the run]",
    ),
]


def parse_time(text: str) -> float:
    """'90', '90m', '2h', '1h30m' -> minutes. Raises UsageError."""
    match = re.fullmatch(r"(?:(\d+(?:\.\d+)?)h)?(?:(\d+(?:\.\d+)?)m?)?", text.strip())
    if not match or not (match[1] or match[2]):
        raise UsageError(f"time limit '{text}' is not understood; write it as 90m or 1h30m")
    return 60 * float(match[1] or 0) + float(match[2] or 0)


def train_command(
    data: Data,
    model: Family = None,
    output: Folder = Path("runs/new"),
    init: Init = "wavelet",
    resume: Resume = False,
    time_limit: TimeLimit = "60m",
    steps: Steps = None,
    val: Validation = None,
    entropy_only: EntropyOnly = False,
    decoder_only: DecoderOnly = False,
    refined: RefinedOnly = False,
    lr: LearningRate = 1.5e-3,
    batch: Batch = 4,
    crop: Crop = 256,
    reduced: Reduced = 0.0,
    tune: Tune = "psnr",
    seed: Seed = 0,
    device: options.Device = "auto",
    precision: Precision = "float32",
    compile: Compile = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a model. Ctrl-C stops with a checkpoint; --resume goes on.

    The run's folder gets checkpoint.safetensors, log.jsonl and curve.svg. With several GPUs: torchrun --nproc-per-node N -m vitcodec train ...

    \b
    vitcodec train photos/ shard-*.tar --val val.tar -o runs/a --time-limit 20m --entropy-only
    vitcodec train photos/ shard-*.tar --val val.tar -o runs/b --init local-dir:weights/swin --time-limit 2h
    """
    out = Output(quiet=quiet)
    minutes = parse_time(time_limit)
    if entropy_only + decoder_only + refined > 1:
        raise UsageError("--entropy-only, --decoder-only and --refined contradict each other; give one")
    if refined and init in ("wavelet", "timm"):
        raise UsageError("--refined needs a trained model to start from; give it with --init")
    if crop % 32:
        raise UsageError(f"crops of {crop} pixels are no multiple of 32; give --crop 128 or 256")
    options.check_tune(tune)

    import copy
    import signal

    import numpy as np
    import torch

    from ..codec import Codec
    from ..metrics import MS_SSIM_SIDE
    from ..pretrained import registry
    from ..training.data import Crops, read_images, validation_crops
    from ..training.engine import engine
    from ..training.loop import Run, TrainingConfig, initialise_base
    from ..training.package import load_pretrained_encoder, load_training_model, new_model
    from ..training.refined import DEAD_ZONE, Refined
    from ..training.validation import reference_curve

    if tune == "ms-ssim" and crop < MS_SSIM_SIDE:
        raise UsageError(
            f"--tune ms-ssim needs crops of at least {MS_SSIM_SIDE} pixels, for five scales; give --crop 192 or 256"
        )
    if threads:
        torch.set_num_threads(threads)
    where = engine(device, precision)
    images = list(read_images(data))
    if val is None:
        # every 20th image, so that what is validated on was not trained on
        held_out, images = images[::20], [image for k, image in enumerate(images) if k % 20]
    else:
        held_out = list(read_images([val]))
    config = TrainingConfig(
        minutes=minutes,
        learning_rate=lr,
        batch=batch,
        crop=crop,
        dead_zone=DEAD_ZONE if refined else TrainingConfig.dead_zone,
        tune=tune,
        entropy_only=entropy_only,
        decoder_only=decoder_only,
        compile=compile,
        seed=seed,
    )
    usable = [image for image in images if min(image.shape[:2]) >= crop]
    if not usable:
        raise UsageError(f"no training image has sides of at least {crop} pixels; give larger ones or a smaller --crop")
    torch.manual_seed(seed)
    if init in ("wavelet", "timm"):
        trained = new_model(model or registry.DEFAULT_MODEL)
        initialise_base(trained.context, usable, np.random.default_rng(seed))
        if init == "timm":
            load_pretrained_encoder(trained, model or registry.DEFAULT_MODEL)
    else:
        trained = load_training_model(registry.find(init), model)
    source = None
    if refined:
        entropy = Codec.load(init, "cpu" if where.device.type == "cpu" else str(where.device)).entropy
        source = Refined(
            copy.deepcopy(trained.autoencoder).to(where.device),
            entropy,
            config.dead_zone,
            tune,
            precision == "bfloat16",
        )
    run = Run(trained, config, output, where, source)
    if run.checkpoint.exists() and not resume:
        raise UsageError(f"{run.checkpoint} exists; give --resume to go on from it, or another --output")
    if resume:
        run.resume()
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopped.append(number))
    out.say(
        f"{len(usable)} images, {len(held_out)} for validation, on {where.device} in {precision}, {torch.get_num_threads()} threads"
    )
    held = validation_crops(iter(held_out), 256, 12)
    crops = Crops(usable, seed + run.steps + 1_000_003 * where.rank, where.device, reduced)
    del images, usable
    with out.progress(int(60 * minutes), "s") as bar:
        shown = 0

        def advance(seconds: float) -> None:
            nonlocal shown
            bar.advance(steps=int(seconds) - shown)
            shown = int(seconds)

        run.train(
            crops,
            (held, reference_curve([image.numpy().astype(np.uint8) for image in held], tune)),
            out.say,
            lambda: bool(stopped) or (steps is not None and run.steps >= steps),
            advance,
        )
    if stopped:
        out.say(f"stopped; go on with --resume -o {output}")
        raise typer.Exit(130)
    out.say(f"{run.checkpoint}: {run.steps} steps; next: vitcodec export {output} DATA... -o FOLDER")


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training run.", show_default=False)],
    data: Data,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", show_default=False, help="The model folder to write.")
    ],
    name: Name = None,
    dead_zone: DeadZone = None,
    val: Held = None,
    with_model: With = None,
    share: Share = 0.5,
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Turn a training run's averaged weights into a model folder: integer networks, tables fitted to counts on DATA, hash.

    \b
    vitcodec export runs/b shard-*.tar -o my-model --val val.tar
    vitcodec export runs/b shard-*.tar -o my-model --with swin --share 0.5
    vitcodec encode photos/ -m local-dir:my-model
    """
    out = Output(quiet=quiet)
    if (output / "config.json").exists() and not overwrite:
        raise UsageError(f"{output} holds a model already; give --overwrite to replace it")

    import torch

    from ..pretrained import registry
    from ..training.data import read_images
    from ..training.loop import CHECKPOINT, Run, TrainingConfig
    from ..training.package import CROP, interpolate, load_training_model, measure, model_of_run, write_model
    from ..training.validation import REFERENCE

    if threads:
        torch.set_num_threads(threads)
    finished = Run(model_of_run(run / CHECKPOINT), TrainingConfig(), run)
    finished.resume()
    finished.model.load_state_dict(finished.average.mean)
    if with_model is not None:
        interpolate(finished.model, load_training_model(registry.find(with_model)), share)
    images = [image for image in read_images(data) if min(image.shape[:2]) >= CROP]
    training = {
        "steps": finished.steps,
        "minutes": round(finished.seconds / 60, 1),
        "megapixels": round(finished.pixels / 1e6, 1),
    }
    rounding = finished.dead_zone if dead_zone is None else dead_zone
    write_model(finished.model, output, name or output.resolve().name, images, rounding, training, finished.tune)
    out.say(f"{output}: written; use it with -m local-dir:{output}")
    if val is not None:
        change = measure(output, [image for image in read_images([val]) if min(image.shape[:2]) >= CROP])
        out.say(
            f"{change:+.2f} % BD-rate against {REFERENCE} in {'PSNR' if finished.tune == 'psnr' else 'MS-SSIM'}, by the sizes of files"
        )
