"""Peak memory of a piece of work in this process."""

from __future__ import annotations

import contextlib
import ctypes
import re
from collections.abc import Callable
from typing import Any

STATUS, RESET = "/proc/self/status", "/proc/self/clear_refs"  # of Linux; see proc(5)


def peak_memory(work: Callable[[], Any], device: Any = None) -> tuple[Any, int | None]:
    """The result of `work`, and the most bytes that it held at once, above what was held before; None: unknown.

    device: a torch.device. On CUDA it is torch's count of the device's memory, elsewhere the resident set of the
    process, whose peak only Linux lets one reset. The C library keeps memory that earlier work freed, and would use it
    again uncounted, so it is asked to give it back first.
    """
    if getattr(device, "type", "cpu") == "cuda":
        return _on_cuda(work, device)
    with contextlib.suppress(AttributeError, OSError):  # glibc alone has it
        ctypes.CDLL(None).malloc_trim(0)
    try:
        with open(RESET, "w", encoding="ascii") as file:
            file.write("5")  # the high-water mark falls to what is resident now
        before = _status("VmRSS")
    except (OSError, TypeError):
        return work(), None
    result = work()
    return result, max(_status("VmHWM") - before, 0)


def _status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    with open(STATUS, encoding="ascii", errors="replace") as file:
        found = re.search(rf"^{name}:\s+(\d+) kB", file.read(), re.MULTILINE)
    if found is None:
        raise TypeError(f"{STATUS} has no {name}")
    return int(found[1]) * 1024


def _on_cuda(work: Callable[[], Any], device: Any) -> tuple[Any, int]:
    import torch

    torch.cuda.reset_peak_memory_stats(device)
    before = torch.cuda.memory_allocated(device)
    result = work()
    return result, torch.cuda.max_memory_allocated(device) - before
