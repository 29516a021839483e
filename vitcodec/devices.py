"""Which device to compute on."""

from __future__ import annotations

import re

import torch

from .errors import DeviceError, UsageError


def choose(name: str = "auto") -> tuple[torch.device, str]:
    """name: auto (cuda, then mps, then cpu), cpu, cuda, cuda:N or mps. Returns the device and why it is that one.

    Raises DeviceError, UsageError for another name.
    """
    if name == "auto":
        return _best()
    if name == "cpu":
        return torch.device("cpu"), "asked for"
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise DeviceError("mps is not available here; use --device cpu or auto")
        return torch.device("mps"), "asked for"
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if not match:
        raise UsageError(f"unknown device '{name}'; give auto, cpu, cuda, cuda:N or mps")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    number = int(match[1] or 0)
    if not count:
        raise DeviceError(f"{name} is not available: {_why_no_cuda()}; use --device cpu or auto")
    if number >= count:
        raise DeviceError(f"{name} is not there; this machine has cuda:0{f' to cuda:{count - 1}' if count > 1 else ''}")
    return torch.device("cuda", number), f"asked for ({torch.cuda.get_device_name(number)})"


def _best() -> tuple[torch.device, str]:
    if torch.cuda.is_available():
        return torch.device("cuda", 0), f"the first CUDA device ({torch.cuda.get_device_name(0)})"
    if torch.backends.mps.is_available():
        return torch.device("mps"), f"Apple's GPU ({_why_no_cuda()})"
    return torch.device("cpu"), f"no GPU to use ({_why_no_cuda()})"


def _why_no_cuda() -> str:
    return "this torch is built without CUDA" if torch.version.cuda is None else "no CUDA device or driver was found"
