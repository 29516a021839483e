"""The options of `vitcodec train` and `vitcodec export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..training.config import NEW_RATE, PARTS, SHORT_MINUTES, SHORT_VALIDATION_CROPS, TRAINED_RATE, VALIDATION_CROPS
from . import values

Data = Annotated[list[Path], typer.Argument(metavar="DATA...", show_default=False, help="Folders and tars of images.")]
Family = Annotated[
    str | None,
    typer.Option(
        "-m",
        "--model",
        metavar="NAME",
        show_default=False,
        autocompletion=values.families,
        help="A family or preset, see vitcodec models list. [default: that of --init, or swin]",
    ),
]
Folder = Annotated[
    Path,
    typer.Option(
        "-o", "--output", metavar="FOLDER", help="The run's folder: checkpoint, best and last weights, log.jsonl."
    ),
]
Init = Annotated[
    str,
    typer.Option(
        "--init",
        metavar="NAME",
        autocompletion=values.inits,
        help="What to start from: wavelet (untrained), timm (a preset's pretrained encoder), a model's name, "
        "local-dir:PATH or hf-hub:ORG/NAME, or run:FOLDER, the averaged weights of a run.",
    ),
]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the folder's checkpoint.")]
TimeLimit = Annotated[
    str,
    typer.Option(
        "--time-limit",
        metavar="TIME",
        help="Length of the whole run, as 60s, 9m30s, 90m or 2h. The learning rate falls to zero at its end.",
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
ValidationCrops = Annotated[
    int | None,
    typer.Option(
        "--val-crops",
        metavar="N",
        min=1,
        show_default=False,
        help=f"Central crops that validation takes, one of an image. [default: {VALIDATION_CROPS}; "
        f"{SHORT_VALIDATION_CROPS} in runs of less than {SHORT_MINUTES} minutes]",
    ),
]
EntropyOnly = Annotated[
    bool, typer.Option("--entropy-only", help="Train the entropy model alone, with fixed transforms.")
]
DecoderOnly = Annotated[
    bool, typer.Option("--decoder-only", help="Train the decoder's network alone, with fixed tokens.")
]
FixedEncoder = Annotated[
    bool, typer.Option("--fixed-encoder", help="Train decoder and entropy model, and leave the encoder as it is.")
]
Refined = Annotated[
    bool,
    typer.Option("--refined", help="Train decoder and entropy model on tokens that the encoder's search chooses."),
]
RefinedShare = Annotated[
    float,
    typer.Option(
        "--refined-share",
        metavar="SHARE",
        min=0.01,
        max=1,
        help="Share of the time, at the end, that --refined is for; before it, training is on rounded tokens.",
    ),
]
Searching = Annotated[
    float,
    typer.Option("--searching", metavar="SHARE", min=0, max=0.9, help="Share of that time that the search takes."),
]
Pool = Annotated[
    int, typer.Option("--pool", metavar="N", min=1, help="Searched crops that are kept; 0.6 MB each with --crop 256.")
]
Tokens = Annotated[
    Path | None,
    typer.Option(
        "--tokens",
        metavar="FOLDER",
        help="Train decoder, entropy model or both on crops whose tokens were chosen before (dev/token_cache.py), "
        "with the encoder fixed.",
    ),
]
Rounded = Annotated[
    bool | None,
    typer.Option(
        "--rounded/--float",
        show_default=False,
        help="Whether the decoder computes as its integers do. [default: --rounded for trained weights that have them]",
    ),
]
Grow = Annotated[
    str | None,
    typer.Option(
        "--grow",
        metavar="JSON",
        show_default=False,
        help='Settings to enlarge, as {"transform": {"synthesis": [1, 3, 2, 12]}}; new blocks change nothing at first.',
    ),
]
Bend = Annotated[
    float,
    typer.Option(
        "--bend",
        metavar="BITS",
        min=0,
        help="Hold latents back that are rounded to 0: take so many bits, times the squared gain of the band, off the "
        "slope of the distortion there. About 3 from trained weights.",
    ),
]
CoolDown = Annotated[
    float,
    typer.Option(
        "--cool-down", metavar="SHARE", min=0, max=1, help="Share of the time, at the end, in which the rate falls."
    ),
]
Decay = Annotated[
    float,
    typer.Option("--average", metavar="DECAY", min=0, max=1, help="What stays of the averaged weights in a step."),
]
ValidateEvery = Annotated[
    str | None,
    typer.Option(
        "--validate-every",
        metavar="TIME",
        show_default=False,
        help="Between validations, of which the best weights are kept. [default: a quarter of the time, at most 30m; "
        "30m with --refined]",
    ),
]
Log = Annotated[
    list[str] | None,
    typer.Option(
        "--log",
        metavar="NAME",
        show_default=False,
        help="Log to tensorboard (in the run's folder) or wandb too; pip install 'vitcodec[tensorboard]' or "
        "'vitcodec[wandb]'.",
    ),
]
Checkpoint = Annotated[
    Path | None,
    typer.Option(
        "--checkpoint", metavar="FILE", show_default=False, help="The checkpoint. [default: in the run's folder]"
    ),
]
LearningRate = Annotated[
    float | None,
    typer.Option(
        "--lr",
        min=0,
        show_default=False,
        help=f"Peak learning rate. [default: {NEW_RATE:g}, from trained weights {TRAINED_RATE:g}]",
    ),
]
Rates = Annotated[
    list[str] | None,
    typer.Option(
        "--rate",
        metavar="PART=FACTOR",
        show_default=False,
        help="Train a part faster or slower than --lr says, as analysis=0.1 or gains=10, or not at all, with 0; can be "
        f"given several times. Parts: {', '.join(PARTS)}.",
    ),
]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Crops per step.")]
Crop = Annotated[int, typer.Option("--crop", metavar="PIXELS", min=32, help="Side of a crop, a multiple of 32.")]
Tune = Annotated[
    str,
    typer.Option(
        "--tune",
        metavar="NAME",
        autocompletion=values.tunings,
        help="The distortion to train for: psnr, ms-ssim or ssimulacra2.",
    ),
]
Relative = Annotated[
    bool,
    typer.Option(
        "--relative",
        help="Count each crop's cost as a share of its own bits, so that smooth crops count like textured ones. A step "
        "takes about half as long again.",
    ),
]
Prices = Annotated[
    str | None,
    typer.Option(
        "--prices",
        metavar="NAME",
        show_default="that of --init",
        help="The model whose curves say what distortion costs with --relative, as --init takes it. Where --init is a "
        "run, give what that run started from.",
    ),
]
Scales = Annotated[
    str,
    typer.Option(
        "--scales",
        metavar="LIST",
        help="By how much larger than --crop crops are cut, as 1,1,1.25,1.6: each as often, then scaled down.",
    ),
]
Colours = Annotated[
    float, typer.Option("--colours", metavar="SHARE", min=0, max=1, help="Share of the crops that are recoloured.")
]
Precision = Annotated[
    str, typer.Option("--precision", metavar="NAME", help="float32, or bfloat16 for the matrix products (GPUs).")
]
Compile = Annotated[
    bool | None,
    typer.Option(
        "--compile/--no-compile",
        show_default=False,
        help="Compile blocks with torch.compile; takes minutes on a CPU. [default: on GPUs]",
    ),
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
Last = Annotated[
    bool, typer.Option("--last", help="Take the run's last weights, and not those of its best validation.")
]
Quick = Annotated[
    bool,
    typer.Option(
        "--quick",
        help="Fit tables and filters to fewer crops: a rougher model, to try out, in a minute or so.",
    ),
]
ModelFolder = Annotated[
    Path, typer.Option("-o", "--output", metavar="FOLDER", show_default=False, help="The model folder to write.")
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
