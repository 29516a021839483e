"""Which device to compute on, and how work is shared among threads."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

from .errors import DeviceError, UsageError

MAX_WORKERS = 4  # tiles that are entropy-coded at the same time, each with a memory of its own

A = TypeVar("A")
B = TypeVar("B")


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


def workers(device: torch.device) -> int:
    """How many tiles are entropy-coded at the same time: much of that runs in one thread."""
    return min(torch.get_num_threads(), MAX_WORKERS) if device.type == "cpu" else 1


def in_parallel(function: Callable[[A], B], items: Sequence[A], workers: int) -> list[B]:
    """function of every item, by so many threads at a time, each with its share of torch's threads."""
    workers, threads = min(workers, len(items)), torch.get_num_threads()
    if workers < 2:
        return [function(item) for item in items]
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(threads // workers,)) as pool:
            return list(pool.map(function, items))
    finally:
        torch.set_num_threads(threads)
