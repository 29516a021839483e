"""What a search for inputs came across and did not take, so that nobody deletes originals that were not encoded."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from .suffixes import plugin_for

NO_SUFFIX = "without suffix"
SUBFOLDERS, HIDDEN, LINKED, SPECIAL = "subfolders", "hidden folders", "linked folders", "pipes or devices"
_SYSTEM = frozenset((".ds_store", "thumbs.db", "desktop.ini"))  # which systems leave in folders, and nobody misses
_SHOWN = 8  # kinds of files in the line for people


@dataclass
class LeftOut:
    """Paths that were left out."""

    files: list[Path] = field(default_factory=list)
    subfolders: list[Path] = field(default_factory=list)  # which -r would have taken
    hidden: list[Path] = field(default_factory=list)  # folders
    linked: list[Path] = field(default_factory=list)  # folders below, reached by a link: it may lead in a circle
    special: list[Path] = field(default_factory=list)  # no files, though they are called so
    images: bool = False  # whether it was images that were searched for

    def without(self, taken: Iterable[Path], written: Iterable[Path] = ()) -> LeftOut:
        """Each once, without those that were taken after all, and those that the command writes, with their folders."""
        outputs = keys_of(written)
        files = {*keys_of(taken), *outputs}
        folders = files | {above for folder in {os.path.dirname(key) for key in outputs} for above in _upwards(folder)}

        def others(paths: list[Path], known: set[str]) -> list[Path]:
            return list({key: p for key, p in zip(keys_of(paths), paths, strict=True) if key not in known}.values())

        subfolders, hidden, linked = (others(paths, folders) for paths in (self.subfolders, self.hidden, self.linked))
        return replace(self, files=others(self.files, files), subfolders=subfolders, hidden=hidden, linked=linked)

    def counts(self) -> dict[str, int]:
        """How many, by suffix, the most first, then folders by kind; what was not found is not in it."""
        kinds = Counter(_kind(path.name) for path in self.files)
        counts = dict(sorted(kinds.items(), key=lambda item: (-item[1], item[0])))
        others = ((SUBFOLDERS, self.subfolders), (HIDDEN, self.hidden), (LINKED, self.linked), (SPECIAL, self.special))
        return counts | {name: len(found) for name, found in others if found}

    @property
    def matters(self) -> bool:
        """Whether anything was left out but hidden files and folders, and what systems leave in folders."""
        files = (path.name for path in self.files)
        seen = any(not name.startswith(".") and name.lower() not in _SYSTEM for name in files)
        return seen or bool(self.subfolders or self.linked or self.special)

    @property
    def text(self) -> str:
        """`left out: 12 .heic, 3 .cr2; 1 subfolder, -r takes it`, or nothing."""
        counts = self.counts()
        folders = {name: counts.pop(name) for name in (SUBFOLDERS, HIDDEN, LINKED, SPECIAL) if name in counts}
        shown = [f"{count} {kind}" for kind, count in list(counts.items())[:_SHOWN]]
        if rest := list(counts.values())[_SHOWN:]:
            shown.append(f"{sum(rest)} of {len(rest)} other kinds")
        parts = [", ".join(shown)] if shown else []
        for name, count in folders.items():
            what = name if count > 1 else {SPECIAL: "pipe or device"}.get(name, name.removesuffix("s"))
            advice = {SUBFOLDERS: f", -r takes {'it' if count == 1 else 'them'}", LINKED: ", to be named itself"}
            parts.append(f"{count} {what}{advice.get(name, '')}")
        for package, kinds in _installable(counts if self.images else ()).items():
            parts.append(f"to read {' and '.join(kinds)}, pip install {package}")
        return f"left out: {'; '.join(parts)}" if parts else ""


def _kind(name: str) -> str:
    """`.jpg`, `hidden .jpg`, `.DS_Store`: what files of that name are counted as."""
    suffix = os.path.splitext(name)[1].lower()
    if not name.startswith("."):
        return suffix or NO_SUFFIX
    return f"hidden {suffix}" if suffix else name


def _installable(kinds: Iterable[str]) -> dict[str, list[str]]:
    """Packages that would read some of these kinds -> those."""
    found: dict[str, list[str]] = {}
    for kind in kinds:
        if package := plugin_for(kind):
            found.setdefault(package, []).append(kind)
    return found


def keys_of(paths: Iterable[Path]) -> list[str]:
    """What tells files apart: the folder's real path and the name. A link to another file is a file of its own."""
    folders: dict[Path, str] = {}
    for path in (paths := list(paths)):
        if path.parent not in folders:
            folders[path.parent] = os.path.realpath(path.parent)
    return [os.path.normcase(os.path.join(folders[path.parent], path.name)) for path in paths]


def _upwards(path: str) -> Iterable[str]:
    """A folder and those above it."""
    while True:
        yield path
        parent = os.path.dirname(path)
        if parent == path:
            return
        path = parent
