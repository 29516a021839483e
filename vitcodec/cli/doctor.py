"""`vitcodec doctor`: does this installation work, and on what?"""

from __future__ import annotations

import importlib.metadata
import math
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from .. import __version__
from ..errors import VitcodecError
from ..pretrained import hub, registry
from ..pretrained.config import PretrainedConfig
from . import codecs, options
from .environment import ENVIRONMENT
from .output import DONE, FAILED, LEFT_OUT, Output, explain

Full = Annotated[
    bool, typer.Option("--full", help="Import torch, and send a larger picture through every model. Takes a minute.")
]


@dataclass(frozen=True)
class _Check:
    name: str
    run: Callable[[], str]  # what is found; raises what is wrong
    remedy: str = ""  # where the error's message has none


def doctor_command(full: Full = False, device: options.Device = "auto", json: options.Json = False) -> int:
    """Check that this installation works: libraries, device, settings, weights, and a picture there and back.

    It takes a few seconds, and longer where torch has to be imported: for GPUs, models in floating point and --full.

    \b
    vitcodec doctor
    vitcodec doctor --device cuda
    vitcodec doctor --full
    """
    out, began, failed, count = Output(json), time.perf_counter(), list[str](), 0
    out.say("checking libraries, device, settings, weights, and a picture there and back")
    for check in _checks(full, device):
        count += 1
        try:
            text, status = check.run(), "ok"
        except Exception as error:
            text, status = explain(error).line, "failed"
            text += f"; {check.remedy}" if check.remedy else ""
            failed.append(f"{check.name}: {text}")
        out.result(f"{status:<6}  {check.name:<18}  {text}")
        out.record({"check": check.name, "status": status, "detail": text})
    seconds = round(time.perf_counter() - began, 1)
    out.summary({"command": "doctor", "done": count - len(failed), "failed": len(failed), "seconds": seconds})
    if not failed:
        out.say(f"all is well: {count} checks in {seconds} s")
    out.failures(failed, count)
    return FAILED if failed else DONE


def _checks(full: bool, device: str) -> Iterator[_Check]:
    yield _Check("vitcodec", _vitcodec)
    yield _Check("libraries", _libraries)
    yield _Check("onnxruntime", _onnxruntime, "pip install --force-reinstall onnxruntime")
    yield _Check("torch", lambda: _torch(full), "reinstall torch: https://pytorch.org/get-started/locally")
    yield _Check("device", lambda: _device(device))
    yield _Check("images", _images, "pip install --force-reinstall pillow")
    yield _Check("entropy coder", _entropy_coder, "pip install --force-reinstall constriction")
    yield _Check("settings", _settings)
    found = [*registry.available(), *registry.searched()]
    for config in found:
        yield _Check(f"model {config.name}", lambda config=config: _weights(config))  # type: ignore[misc]
    for config in found if full else []:
        yield _Check(f"with {config.name}", lambda config=config: _round_trip(device, config))  # type: ignore[misc]
    if not full:
        yield _Check("there and back", lambda: _round_trip(device))


def _vitcodec() -> str:
    return (
        f"{__version__} in {Path(__file__).parents[1]}, "
        f"Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    )


def _libraries() -> str:
    """That what vitcodec requires is there, in versions that it takes."""
    try:
        from packaging.requirements import Requirement

        required = importlib.metadata.requires("vitcodec") or []
    except (ImportError, importlib.metadata.PackageNotFoundError):
        return "not checked: vitcodec runs from a folder, without its package's metadata, or packaging is missing"
    wrong, absent, right = [], [], 0
    for requirement in map(Requirement, required):
        if requirement.marker is not None and not requirement.marker.evaluate({"extra": ""}):
            continue
        wanted = f"{requirement.name}{requirement.specifier}"
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            if requirement.name in LEFT_OUT.values():
                absent.append(requirement.name)
            else:
                wrong.append((f"{requirement.name} is missing", wanted))
            continue
        if requirement.specifier.contains(version, prereleases=True):
            right += 1
        else:
            wrong.append((f"{requirement.name} is {version}", wanted))
    if wrong:
        named = " ".join(f"'{wanted}'" for _, wanted in wrong)
        raise VitcodecError(f"{', '.join(what for what, _ in wrong)}; pip install {named}")
    without = f"; without {', '.join(absent)}, as in the light installation" if absent else ""
    return f"{right} that vitcodec needs, in versions that it takes{without}"


def _onnxruntime() -> str:
    import onnxruntime

    return f"{onnxruntime.__version__}, runs models of integers on CPUs"


def _torch(thoroughly: bool) -> str:
    """Importing it takes longer than all the rest."""
    try:
        version = importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:  # the light installation
        return "not installed; GPUs, training, high efforts and models in floating point need it"
    if not thoroughly:
        return f"{version}, not tried (--full does)"
    import torch

    return f"{torch.__version__}, {torch.get_num_threads()} threads"


def _device(name: str) -> str:
    device, reason = codecs.describe_device(name)
    return f"{device}: {reason}"


def _images() -> str:
    import PIL
    from PIL import features

    wanted = {
        "jpg": "JPEG",
        "zlib": "PNG",
        "webp": "WebP",
        "avif": "AVIF",
        "libtiff": "TIFF",
        "jpg_2000": "JPEG 2000",
        "littlecms2": "ICC profiles",
    }
    present = [name for key, name in wanted.items() if features.check(key)]
    absent = [name for key, name in wanted.items() if not features.check(key)]
    return f"Pillow {PIL.__version__} with {', '.join(present)}{'; without ' + ', '.join(absent) if absent else ''}"


def _entropy_coder() -> str:
    import constriction  # noqa: F401 (that it can be imported is the check)

    return f"constriction {importlib.metadata.version('constriction')}"


def _settings() -> str:
    """Environment variables: which are set, and that they name what there is."""
    given = {name: os.environ[name] for name in ENVIRONMENT if os.environ.get(name)}
    model = given.get("VITCODEC_MODEL", "")
    if model and not model.startswith(hub.HUB) and not hub.is_name(model):  # those may have to be downloaded
        try:
            registry.find(model)
        except VitcodecError as error:
            raise VitcodecError(f"VITCODEC_MODEL: {error}") from error
    for folder in filter(None, given.get("VITCODEC_MODELS", "").split(os.pathsep)):
        if not Path(folder).is_dir():
            raise VitcodecError(f"VITCODEC_MODELS: {folder}: no such folder; correct it or unset VITCODEC_MODELS")
    cache = Path(given.get("VITCODEC_CACHE", "."))
    if cache.exists() and not (cache.is_dir() and os.access(cache, os.W_OK)) and "VITCODEC_CACHE" in given:
        raise VitcodecError(f"VITCODEC_CACHE: {cache}: no folder that can be written to; name another")
    return ", ".join(f"{name}={value}" for name, value in given.items()) or "no environment variables set"


def _weights(config: PretrainedConfig) -> str:
    registry.verify_all(config)
    return f"hash as stated, in {config.folder}"


def _round_trip(device: str, config: PretrainedConfig | None = None) -> str:
    """Encode and decode a picture of a program's making: a small one with the model that commands take, or with one."""
    import numpy as np

    from ..picture import Picture

    height, width = (64, 96) if config is None else (192, 256)
    y, x = np.mgrid[:height, :width]
    rgb = np.stack((x, y, 128 + 100 * np.sin(x / 9) * np.cos(y / 7)), -1).astype(np.uint8)
    began = time.perf_counter()
    codec = codecs.load_codec(None if config is None else f"{registry.LOCAL}{config.folder}", device, None)
    loaded = time.perf_counter()
    data = codec.encode(Picture(rgb), quality=80, effort=1 if config is None else 3, coding="tokens")
    decoded = codec.decode(data).rgb
    seconds = time.perf_counter() - loaded
    error = float(np.mean((decoded.astype(float) - rgb) ** 2)) if decoded.shape == rgb.shape else math.inf
    psnr = 10 * math.log10(255**2 / max(error, 1e-9))
    if psnr < 30:
        raise VitcodecError(f"the picture came back at {psnr:.1f} dB with {codec.name}; please report this")
    where = f"{codec.device} ({codec.engine})"
    return (
        f"{width}x{height} by {codec.name} in {len(data):,} bytes at {psnr:.1f} dB, "
        f"both ways in {seconds:.2f} s on {where}, loaded in {loaded - began:.2f} s"
    )
