"""Work shared among threads. NumPy and ONNX Runtime let go of Python's lock while they compute."""

from __future__ import annotations

import importlib.util
import os
import platform
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def cores() -> int:
    """How many processor cores this process may use; OMP_NUM_THREADS lowers it."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(available, int(asked))) if asked.isdigit() else available


def may_have_gpu() -> bool:
    """Whether it is worth importing torch to look for a GPU: a driver's device, or Apple's processor."""
    apple = sys.platform == "darwin" and platform.machine() == "arm64"
    nvidia = os.path.exists("/dev/nvidiactl") or os.path.exists("/dev/dxg") or sys.platform == "win32"
    return (apple or nvidia) and importlib.util.find_spec("torch") is not None


def each(function: Callable[[A], B], items: Iterable[A], threads: int) -> list[B]:
    """function of every item, in order, by so many threads at a time."""
    items = list(items)
    if min(threads, len(items)) < 2:
        return [function(item) for item in items]
    with ThreadPoolExecutor(min(threads, len(items))) as pool:
        return list(pool.map(function, items))
