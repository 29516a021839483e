"""Progress bars on a terminal: one over the images and, below it, one within a large image."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from .. import progress

LARGE = 2.0  # megapixels from which an image has a bar of its own


@dataclass
class Progress:
    """The bars, or nothing where none are shown."""

    shown: bool = False
    bar: Any = None  # over the images; None for a single one
    megapixels: float = 0.0

    def advance(self, megapixels: float = 0.0, steps: int = 1) -> None:
        if self.bar is not None:
            self.megapixels += megapixels
            elapsed = self.bar.format_dict["elapsed"]
            if self.megapixels and elapsed:
                self.bar.set_postfix_str(f"{self.megapixels / elapsed:.2f} MP/s", refresh=False)
            self.bar.update(steps)

    def note(self, text: str) -> None:
        """Words after the bar."""
        if self.bar is not None:
            self.bar.set_postfix_str(text, refresh=False)

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        """A bar over the megapixels of one image, while a codec works on it in here."""
        if not self.shown:
            yield
            return
        inner = _Inner(name, 0 if self.bar is None else 1)
        try:
            with progress.watched(inner.show):
                yield
        finally:
            inner.close()

    def write(self, text: str) -> None:
        """A message on stderr, above the bars."""
        if self.shown:
            from tqdm import tqdm

            tqdm.write(text, file=sys.stderr)
        else:
            print(text, file=sys.stderr)


@dataclass
class Phases:
    """One thing after another: a bar for each on a terminal, elsewhere a line for each, and for each quarter of it."""

    say: Callable[[str], None]
    phase: str = ""
    quarter: int = 0
    bar: Any = None

    def __call__(self, phase: str, done: int, total: int) -> None:
        """So much of a phase is done."""
        if phase != self.phase:
            self.close()
            self.phase, self.quarter = phase, 0
            if total > 1 and sys.stderr.isatty():
                from tqdm import tqdm

                self.bar = tqdm(desc=phase, total=total, file=sys.stderr, dynamic_ncols=True, leave=False)
            else:
                self.say(phase)
        if self.bar is not None:
            self.bar.update(done - self.bar.n)
        elif total > 20 and self.quarter < (quarter := 4 * done // total) < 4:
            self.quarter = quarter
            self.say(f"{phase}: {done} of {total}")

    def close(self) -> None:
        """After the last phase."""
        if self.bar is not None:
            self.bar.close()
            self.bar = None


@dataclass
class _Inner:
    name: str
    position: int
    bar: Any = None

    def show(self, done: float, total: float) -> None:
        if total < LARGE:
            return
        if self.bar is None:
            from tqdm import tqdm

            shape = "{desc}: {percentage:3.0f}%|{bar}| {n:.1f}/{total:.1f} MP [{elapsed}<{remaining}]"
            options = {"position": self.position, "leave": False, "dynamic_ncols": True, "bar_format": shape}
            self.bar = tqdm(desc=self.name, total=total, file=sys.stderr, **options)
        if done < self.bar.n:  # the search for a target encodes the image again
            self.bar.reset(total)
        self.bar.n = done
        self.bar.refresh()  # reports are seldom: each is shown

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()
