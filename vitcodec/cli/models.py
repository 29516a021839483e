"""`vitcodec models`: list, show, init, download, verify, push."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ..errors import UsageError, VitcodecError
from ..pretrained import hub, registry
from ..pretrained.config import PretrainedConfig
from ..pretrained.presets import PRESETS
from ..suggestions import meant
from . import options, values
from .folders import checked_name
from .layout import new_app
from .output import DONE, FAILED, Output, explain
from .output import size as megabytes

app = new_app(help="List, show, make, download, check and upload models.")

Name = Annotated[
    str,
    typer.Argument(
        metavar="NAME",
        autocompletion=values.models_and_presets,
        help="A model's or a preset's name, a folder or hf-hub:ORG/NAME[@REVISION].",
        show_default=False,
    ),
]
Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[NAME]...",
        help="[default: all that are listed]",
        show_default=False,
        autocompletion=values.models,
    ),
]
Repository = Annotated[
    str, typer.Argument(metavar="hf-hub:ORG/NAME[@REVISION]", help="A model on the hub.", show_default=False)
]
ImageSize = Annotated[
    str, typer.Option("--image-size", metavar="WxH", help="The image that shapes and multiplications are for.")
]
Depth = Annotated[
    int | None,
    typer.Option(
        "--depth", min=1, metavar="N", help="Rows of layers whose names agree in the first N parts, added up."
    ),
]
Preset = Annotated[
    str,
    typer.Argument(metavar="PRESET", help="A family or a preset: models list has them.", show_default=False),
]
Private = Annotated[bool, typer.Option("--private", help="If the repository is new, only you can see it.")]
_HEAD = ("name", "family", "parameters", "kMAC/pixel", "status", "BD-rate", "licence", "weights")


@app.command("list", short_help="The models that there are.")
def list_command(json: options.Json = False) -> int:
    """The models that came with the package, the default first, those in the folders that VITCODEC_MODELS lists, those
    that were downloaded, and presets to train.

    kMAC/pixel: thousands of multiplications a pixel of decoding; BD-rate: on Kodak, against JPEG, at the effort that
    the model's README names.

    \b
    vitcodec models list
    vitcodec models list --json
    """
    out = Output(json)
    shipped = registry.available()
    records = [_record(*model) for model in registry.listed()]
    for name, preset in PRESETS.items():
        if name not in {config.name for config in shipped}:
            records.append(
                {
                    "name": name,
                    "family": preset.family,
                    "sha256": None,
                    "parameters": preset.parameters,
                    "kmac_per_pixel": preset.kmac_per_pixel,
                    "licence": preset.licence,
                    "status": "preset" if preset.config else "untrained",
                    "bd_rate_jpeg_percent": None,
                }
            )
    keys = ("name", "family", "parameters", "kmac_per_pixel", "status", "bd_rate_jpeg_percent", "licence", "sha256")
    out.result(table(_HEAD, [tuple(_text(r[k])[:16] if k == "sha256" else _text(r[k]) for k in keys) for r in records]))
    for record in records:
        out.record(record)
    out.summary({"command": "models list", "default": registry.DEFAULT_MODEL, "models": len(records)})
    return DONE


def _record(name: str, status: str, config: PretrainedConfig) -> dict[str, Any]:
    return {
        "name": name,
        "family": config.family,
        "sha256": config.sha256,
        "parameters": config.parameters,
        "kmac_per_pixel": config.kmac_per_pixel,
        "licence": config.licence,
        "status": status,
        "bd_rate_jpeg_percent": config.metrics.get("kodak_bd_rate_percent", {}).get("jpeg"),
    }


@app.command("show", short_help="A model's layers, neurons and multiplications.")
def show_command(name: Name, image_size: ImageSize = "768x512", depth: Depth = None, json: options.Json = False) -> int:
    """A model's layers: output shape, width, heads, parameters, multiplications per pixel.

    Of layers that work on areas or windows, the shape begins with how many there are.

    \b
    vitcodec models show swin
    vitcodec models show vit-b16 --image-size 256x256
    vitcodec models show swin --depth 2
    vitcodec models show local-dir:my-model
    """
    out = Output(json)
    size = _size(image_size)
    config = None if registry.is_preset(name) else registry.find(name)
    family = PRESETS[name].family if config is None else config.family
    from ..models.summary import layer_table, totals, up_to_depth

    rows = layer_table(name, size)
    sums = totals(rows)
    if depth is not None:
        rows = up_to_depth(rows, depth)
    head = ("layer", "kind", "output", "width", "heads", "parameters", "MAC/pixel")
    cells = [
        (
            r.layer,
            r.kind,
            "x".join(map(str, r.output)),
            str(r.width),
            _text(r.heads),
            f"{r.parameters:,}",
            f"{r.macs_per_pixel:,.2f}",
        )
        for r in rows
    ]
    title = f"{config.name if config else name} ({family}{'' if config else ', untrained'})"
    out.result(f"{title}, for an image of {size[0]}x{size[1]} pixels\n\n{table(head, cells, left=2)}\n")
    out.result("\n".join(f"{key.replace('_', ' ')}: {_text(value)}" for key, value in sums.items()))
    for row in rows:
        out.record(asdict(row))
    sha256 = config.sha256 if config else None
    out.summary(
        {
            "command": "models show",
            "name": config.name if config else name,
            "family": family,
            "sha256": sha256,
            "image_size": size,
            **sums,
        }
    )
    return DONE


def _size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text)
    if not match:
        raise UsageError(f"image size '{text}' is not understood; write it as 768x512")
    return int(match[1]), int(match[2])


@app.command("init", short_help="Make a model folder of a preset, untrained.")
def init_command(
    preset: Preset,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", show_default=False, help="The model folder to write.")
    ],
    name: Annotated[
        str | None,
        typer.Option("--name", metavar="NAME", show_default=False, help="The model's name. [default: the folder's]"),
    ] = None,
    overwrite: options.Overwrite = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Make a model folder of a preset, untrained: it encodes and decodes as the wavelet does, and can be trained on.

    Entropy model and gains are the default model's; the layers of the transforms are there with random weights, and
    correct nothing yet.

    \b
    vitcodec models init vit-b16 -o my-vit
    vitcodec encode photo.jpg -m ./my-vit
    vitcodec train photos/ -o runs/a --init ./my-vit --lr 1e-3
    """
    out = Output(json, quiet)
    if preset not in PRESETS:
        near = meant(preset, list(PRESETS))
        guess = f"did you mean {near}? " if near else ""
        raise UsageError(f"unknown preset '{preset}'; {guess}there are {', '.join(PRESETS)}")
    own = checked_name(name, output, overwrite)
    from ..training.wavelet_start import write_wavelet_start

    config = write_wavelet_start(preset, output, own)
    size = sum(file.stat().st_size for file in config.files)
    text = f"{config.family}, {config.parameters:,} parameters, {megabytes(size)}"
    out.say(f"{output}: {own} ({text}); use it with -m local-dir:{output}")
    out.summary(
        {"command": "models init", "name": own, "preset": preset, "family": config.family, "folder": str(output)}
    )
    return DONE


@app.command("download", short_help="Fetch a model from the Hugging Face Hub.")
def download_command(repository: Repository, json: options.Json = False, quiet: options.Quiet = False) -> int:
    """Fetch a model from the Hugging Face Hub into the cache, or bring it up to date, and check its hash.

    The cache is $VITCODEC_CACHE, by default ~/.cache/vitcodec. With HF_HUB_OFFLINE=1 nothing is fetched.

    \b
    vitcodec models download hf-hub:someone/a-model
    vitcodec encode photo.jpg -m hf-hub:someone/a-model@v1
    """
    out = Output(json, quiet)
    config = PretrainedConfig.read(hub.download(hub.Repository.parse(repository)))
    registry.verify_all(config)
    out.say(f"{repository}: {config.name} ({config.family}) is in {config.folder}, hash as stated")
    out.summary(
        {
            "command": "models download",
            "name": config.name,
            "family": config.family,
            "sha256": config.sha256,
            "folder": str(config.folder),
        }
    )
    return DONE


@app.command("verify", short_help="Check the hashes of models.")
def verify_command(names: Names = None, json: options.Json = False) -> int:
    """Check that the weights of models are those that their config.json states.

    \b
    vitcodec models verify
    vitcodec models verify swin local-dir:my-model
    """
    out = Output(json)
    found = names or [name for name, _, _ in registry.listed()]
    failed = []
    for name in found:
        try:
            config = registry.find(name)
            registry.verify_all(config)
            status, detail = "ok", config.sha256
        except VitcodecError as error:
            status, detail = "failed", explain(error, name).line
            failed.append(detail)
        out.result(f"{status:<6}  {name}  {detail}")
        out.record({"name": name, "status": status, "detail": detail})
    out.summary({"command": "models verify", "done": len(found) - len(failed), "failed": len(failed)})
    out.failures(failed, len(found))
    return FAILED if failed else DONE


@app.command("push", short_help="Upload a model to the Hugging Face Hub.")
def push_command(
    name: Name,
    repository: Repository,
    private: Private = False,
    json: options.Json = False,
    quiet: options.Quiet = False,
) -> int:
    """Upload a model's folder, and the sources of its training images, to the Hugging Face Hub.

    Its hash is checked first. Log in with `hf auth login` before.

    \b
    vitcodec models push local-dir:my-model hf-hub:me/my-model
    """
    out = Output(json, quiet)
    target = hub.Repository.parse(repository)
    config = registry.find(name)
    registry.verify_all(config)
    if not (config.folder / "README.md").is_file():
        out.warn(f"{config.folder}: has no README.md, where others look for what the model is")
    address = hub.push(config.folder, target, private, registry.sources(config))
    out.say(f"{config.name} -> {target}: {address}")
    out.summary(
        {
            "command": "models push",
            "name": config.name,
            "sha256": config.sha256,
            "repository": target.name,
            "commit": address,
        }
    )
    return DONE


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], left: int = 2) -> str:
    """Columns aligned, the first `left` of them to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, tuple("-" * w for w in widths), *rows]
    return "\n".join(
        "  ".join(
            cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
