"""How far the work on one picture is, told to whoever watches it.

    with watched(lambda done, total: print(f"{done:.1f} of {total:.1f} megapixels")):
        codec.encode(picture)

The watcher belongs to the thread that calls the codec, and goes through no signature on the way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Watcher = Callable[[float, float], None]  # megapixels done, and in all

_watcher: ContextVar[Watcher | None] = ContextVar("watcher", default=None)


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` of the work that is done in here."""
    token = _watcher.set(watcher)
    try:
        yield
    finally:
        _watcher.reset(token)


def report(share: float, pixels: int) -> None:
    """This share, 0 to 1, of the work on so many pixels is done."""
    watcher = _watcher.get()
    if watcher is not None:
        watcher(share * pixels / 1e6, pixels / 1e6)
