"""Memory that is not in use, back to the system."""

from __future__ import annotations

import ctypes
import sys
from functools import cache


@cache
def _library() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if sys.platform == "linux" else None


def give_back() -> None:
    """Ask the C library to return what was freed: glibc keeps hundreds of megabytes between blocks of a picture.

    Takes some 0.2 s per gigabyte, as what is needed next comes from the system anew. Nothing elsewhere.
    """
    trim = getattr(_library(), "malloc_trim", None)
    if trim is not None:
        trim(0)
