"""`vitcodec train` and `vitcodec export`."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from ..errors import UsageError
from ..training.config import TrainingConfig
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
        help="What to start from: wavelet (untrained), timm (a preset's pretrained encoder), or a model's name, "
        "local-dir:PATH or hf-hub:ORG/NAME.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")]
TimeLimit = Annotated[
    str,
    typer.Option(
        "--time-limit",
        metavar="TIME",
        help="Length of the whole schedule, as 90m or 2h. The learning rate falls to zero at its end.",
    ),
]
Steps = Annotated[
    int | None,
    typer.Option("--steps", min=1, metavar="N", show_default=False, help="Stop after at most N steps."),
]
Validation = Annotated[
    Path | None,
    typer.Option(
        "--val", metavar="PATH", show_default=False, help="A folder or tar to validate on. [default: 5 % of the data]"
    ),
]
EntropyOnly = Annotated[
    bool, typer.Option("--entropy-only", help="Train the entropy model alone, with fixed transforms.")
]
DecoderOnly = Annotated[
    bool, typer.Option("--decoder-only", help="Train the decoder's network alone, with fixed tokens.")
]
RefinedOnly = Annotated[
    bool,
    typer.Option(
        "--refined",
        help="Train decoder and entropy model on the tokens that the RDO search of the default effort chooses.",
    ),
]
LearningRate = Annotated[float, typer.Option("--lr", min=0, help="Peak learning rate.")]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Crops per step.")]
Crop = Annotated[int, typer.Option("--crop", metavar="PIXELS", min=32, help="Side of a crop, a multiple of 32.")]
Tune = Annotated[str, typer.Option("--tune", metavar="NAME", help="The distortion to train for: psnr or ms-ssim.")]
Reduced = Annotated[
    float,
    typer.Option(
        "--reduced", metavar="SHARE", min=0, max=1, help="Share of the batches that are cut twice as large and halved."
    ),
]
Precision = Annotated[
    str, typer.Option("--precision", metavar="NAME", help="float32, or bfloat16 for the matrix products (GPUs).")
]
Compile = Annotated[
    bool, typer.Option("--compile", help="Compile the step with torch.compile (GPUs; takes minutes on a CPU).")
]
Seed = Annotated[int, typer.Option("--seed", help="Of all random choices: crops, steps and noise.")]
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
Share = Annotated[float, typer.Option("--share", min=0, max=1, help="Weight of the run in that average.")]
Measured = Annotated[
    Path | None,
    typer.Option(
        "--val",
        metavar="PATH",
        show_default=False,
        help="A folder or tar of images to code with the model; prints its BD-rate and notes the curve in config.json.",
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
        help="Dead zone of the encoder's rounding, in quantisation steps. [default: that of the run]",
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
    time_limit: TimeLimit = f"{TrainingConfig.minutes:g}m",
    steps: Steps = None,
    val: Validation = None,
    entropy_only: EntropyOnly = False,
    decoder_only: DecoderOnly = False,
    refined: RefinedOnly = False,
    lr: LearningRate = TrainingConfig.learning_rate,
    batch: Batch = TrainingConfig.batch,
    crop: Crop = TrainingConfig.crop,
    reduced: Reduced = 0.0,
    tune: Tune = TrainingConfig.tune,
    seed: Seed = TrainingConfig.seed,
    device: options.Device = "auto",
    precision: Precision = "float32",
    compile: Compile = False,
    threads: options.Threads = None,
    quiet: options.Quiet = False,
) -> None:
    """Train a model. Ctrl-C stops and writes a checkpoint; --resume goes on from it.

    The run's folder gets checkpoint.safetensors, log.jsonl and curve.svg. With several GPUs: torchrun --nproc-per-node
    N -m vitcodec train ...

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

    import signal

    import torch

    from ..distortion import TUNINGS
    from ..training.data import Crops, read_images
    from ..training.engine import engine
    from ..training.loop import Run
    from ..training.package import initial_model
    from ..training.refined import DEAD_ZONE, RefinedTokens
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
    trained = initial_model(init, model, usable, seed)
    source = None
    if refined:
        source = RefinedTokens.of(init, where.device)
    run = Run(trained, config, output, where, source)
    if run.checkpoint.exists() and not resume:
        raise UsageError(f"{run.checkpoint} exists; give --resume to go on from it, or another --output")
    if resume:
        run.resume()
    stopped: list[int] = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: stopped.append(number))
    out.say(
        f"{len(usable)} images, {len(held_out)} for validation, on {where.device} in {precision}, "
        f"{torch.get_num_threads()} threads"
    )
    validation = ValidationSet.of(held_out, distortion)
    crops = Crops(usable, run.seed, where.device, reduced)
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
    data: Data,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", show_default=False, help="The model folder to write.")
    ],
    name: Name = None,
    dead_zone: DeadZone = None,
    val: Measured = None,
    with_model: With = None,
    share: Share = 0.5,
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
    write_model(trained.model, output, model_name, images, rounding, trained.training, trained.tune)
    out.say(f"{output}: written; use it with -m local-dir:{output}")
    if val is not None:
        change = measure(output, [image for image in read_images([val]) if min(image.shape[:2]) >= CROP])
        out.say(f"{change:+.2f} % BD-rate against {REFERENCE} in {TUNINGS[trained.tune].title}, by the sizes of files")
