"""Where figures come from: command line, machine, versions, model and effort."""

from __future__ import annotations

import os
import platform
import re
import shlex
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .. import __version__

_LIBRARIES = {"libjpeg_turbo": "libjpeg-turbo", "webp": "libwebp", "jpg_2000": "OpenJPEG", "avif": "libavif"}
_PACKAGES = ("torch", "numpy", "pillow", "pillow-jxl-plugin")


def provenance(codec: Any = None, command: str | None = None, others: Sequence[Any] = ()) -> dict[str, str]:
    """What a report says about how it came about, in the order to show it.

    codec: the vitcodec.Codec or the Entrant that was measured, if any, and others: those that were
    measured beside it. command: as typed; None: this process's own.
    """
    import torch

    facts = {
        "command": command or shlex.join(["vitcodec", *sys.argv[1:]]),
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{_processor()}, {_cores()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "threads": f"{torch.get_num_threads()} for vitcodec, one for each other codec",
        "versions": ", ".join([f"vitcodec {__version__}", *_versions()]),
    }
    if codec is not None:
        facts["device"] = _device(getattr(codec, "device", "cpu"))
        options = getattr(codec, "options", None)
        facts["model"] = _model(codec)
        if others:
            facts["other models"] = "; ".join(map(_model, others))
        if options is not None:
            facts["effort"] = str(options.effort)
    return facts


def _model(codec: Any) -> str:
    config = getattr(codec, "config", None)
    return f"{codec.name}, SHA-256 {config.sha256}" if config else str(codec.name)


def _cores() -> int | None:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _versions() -> list[str]:
    from PIL import features

    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    libraries = ((name, features.version(key)) for key, name in _LIBRARIES.items())
    return found + [f"{name} {number}" for name, number in libraries if number]


def _device(device: Any) -> str:
    import torch

    return (
        f"{device} ({torch.cuda.get_device_name(device)})" if getattr(device, "type", None) == "cuda" else str(device)
    )


def _processor() -> str:
    """The processor's name as its maker gives it, where the system tells."""
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8", "replace"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()
