"""`vitcodec export` and `vitcodec finetune`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..errors import UsageError
from ..pretrained import registry
from ..pretrained.config import PretrainedConfig
from ..training.config import NEW_MODELS, TrainingConfig
from . import options
from . import train_options as o
from .bars import Phases
from .folders import checked_name
from .output import Output
from .train import train_command

if TYPE_CHECKING:
    import numpy as np

RUN = "run"  # the folder of finetune's run, in the model's


def export_command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a training run.", show_default=False)],
    data: o.Data,
    output: o.ModelFolder,
    name: o.Name = None,
    last: o.Last = False,
    dead_zone: o.DeadZone = None,
    val: o.Measured = None,
    with_model: o.With = None,
    share: o.Share = 0.5,
    quick: o.Quick = False,
    device: options.Device = "cpu",
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Turn a training run into a model folder, in up to 20 minutes of one core.

    It holds the run's averaged weights at its best validation: the entropy model as integer networks, calibrated on
    DATA, tables and filters fitted to crops of DATA that are coded for it, and README.md, a model card to complete.

    \b
    vitcodec export runs/b shard-*.tar -o my-model --val val.tar
    vitcodec export runs/b shard-*.tar -o my-model --quick
    vitcodec export runs/b shard-*.tar -o my-model --with swin --share 0.5
    vitcodec encode photos/ -m ./my-model
    """
    out = Output(quiet=quiet)
    model_name = checked_name(name, output, overwrite)

    import torch

    from ..devices import choose
    from ..distortion import TUNINGS
    from ..training.card import CARD, write_card
    from ..training.package import interpolate, load_run, load_training_model, measure, write_model
    from ..training.validation import REFERENCE

    if threads:
        torch.set_num_threads(threads)
    place = choose(device)[0]
    trained = load_run(run, last)
    out.say(f"{run}: {trained.origin}")
    if with_model is not None:
        interpolate(trained.model, load_training_model(registry.find(with_model)), share)
    images, held_out = _large(out, data), [] if val is None else _large(out, [val])
    if quick:
        out.say("--quick: tables and filters are fitted to few crops; export without it for the final model")
    rounding = trained.dead_zone if dead_zone is None else dead_zone
    training = {**trained.training, "quick": True} if quick else trained.training
    phases = Phases(out.say)
    try:
        write_model(
            trained.model,
            output,
            model_name,
            images,
            rounding,
            training,
            trained.tune,
            gauge=trained.gauge,
            device=place,
            quick=quick,
            report=phases,
        )
        change = measure(output, held_out, place, phases) if held_out else None
    finally:
        phases.close()
    if change is not None:
        out.say(f"{change:+.2f} % BD-rate against {REFERENCE} in {TUNINGS[trained.tune].title}, by the sizes of files")
    if not write_card(PretrainedConfig.read(output)):
        out.warn(f"{output / CARD}: is there already and stays; its figures may be of the model before")
    out.say(f"{output}: written; complete its {CARD}. To use it: vitcodec encode photo.jpg -m {_as_model(output)}")
    parent = str(output.resolve().parent)
    if parent not in os.environ.get("VITCODEC_MODELS", "").split(os.pathsep):
        out.say(f"its files decode without -m where VITCODEC_MODELS lists the folder: export VITCODEC_MODELS={parent}")


def finetune_command(
    data: o.Data,
    output: o.ModelFolder,
    init: o.Init = "swin",
    time_limit: o.TimeLimit = "10m",
    val: o.Validation = None,
    lr: o.LearningRate = None,
    batch: o.Batch = TrainingConfig.batch,
    crop: o.Crop = TrainingConfig.crop,
    tune: o.Tune = TrainingConfig.tune,
    log: o.Log = None,
    resume: o.Resume = False,
    name: o.Name = None,
    quick: o.Quick = False,
    device: options.Device = "auto",
    precision: o.Precision = "float32",
    threads: options.Threads = None,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model on for your images, and export it: one command, one model folder.

    The run, with its checkpoint and log, is in FOLDER/run. --time-limit is for the training; the export takes up to 20
    minutes of one core more, or one or two with --quick. What comes out is never worse in validation than what it
    started from. `vitcodec train` and `vitcodec export` have more options.

    \b
    vitcodec finetune photos/ -o my-model
    vitcodec finetune photos/ -o my-model --time-limit 1h --val held-out/
    vitcodec encode photos/ -m ./my-model
    """
    checked_name(name, output, overwrite)
    if init in NEW_MODELS or init.startswith("run:") or registry.find(init).integers:
        from ..training.assemble import check_onnx

        check_onnx()  # before the training, not after it
    from ..training.schedule import ScheduleOver

    try:
        train_command(
            data,
            output=output / RUN,
            init=init,
            time_limit=time_limit,
            val=val,
            lr=lr,
            batch=batch,
            crop=crop,
            tune=tune,
            log=log,
            resume=resume,
            device=device,
            precision=precision,
            threads=threads,
            quiet=quiet,
        )
    except ScheduleOver:  # it was the export that was stopped
        Output(quiet=quiet).say(f"{output / RUN}: its training is complete")
    export_command(
        output / RUN,
        data,
        output,
        name=name or output.resolve().name,
        val=val,
        quick=quick,
        device=device,
        threads=threads,
        overwrite=overwrite,
        quiet=quiet,
    )


def _large(out: Output, paths: Sequence[Path]) -> list[np.ndarray]:
    """The images that crops can be cut from. Raises UsageError where there is none."""
    from ..training.data import read_images
    from ..training.package import CROP

    images = [image for image in read_images(paths, out.warn) if min(image.shape[:2]) >= CROP]
    if not images:
        raise UsageError(
            f"{paths[0]}: no image has sides of at least {CROP} pixels, which export needs; give larger ones"
        )
    return images


def _as_model(folder: Path) -> str:
    """A folder as -m takes it."""
    text = str(folder)
    return text if os.sep in text else f".{os.sep}{text}"
