"""Two folders of pictures, the originals and what some codec made of them, matched by name."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from ..errors import InputError, UsageError
from ..files import Problem, find_inputs, image_suffixes


def match(originals: Path, decoded: Path, recursive: bool = False) -> tuple[list[tuple[Path, Path]], list[Problem]]:
    """(original, decoded) for every name in both folders, whatever the suffixes, and what has no partner or two.

    With `recursive`, names are paths below the folders. Raises UsageError where the folders share no name.
    """
    problems: list[Problem] = []
    ones, others = (_by_name(folder, recursive, problems) for folder in (originals, decoded))
    shared = [name for name in ones if name in others]
    if not shared:
        raise UsageError(
            f"{originals} and {decoded}: two folders are taken for originals and decoded pictures of the same names, "
            "and they share none; to measure the images of several folders give globs, such as 'a/*' 'b/*'"
        )
    for own, other, folder in ((ones, others, decoded), (others, ones, originals)):
        lonely = [own[name] for name in own if name not in other]
        problems += [Problem(str(p), InputError(f"{p}: has no partner of that name in {folder}")) for p in lonely]
    return [(ones[name], others[name]) for name in shared], problems


def _by_name(folder: Path, recursive: bool, problems: list[Problem]) -> dict[str, Path]:
    """Names without suffixes; those that stand for two files are a problem."""
    found = find_inputs([str(folder)], image_suffixes(), recursive)
    problems += found.problems
    names = [(str(s.relative.with_suffix("")), s.path) for s in found.sources if s.path is not None]
    counts = Counter(name for name, _ in names)
    double = [path for name, path in names if counts[name] > 1]
    problems += [
        Problem(str(p), InputError(f"{p}: another picture there differs in its suffix only; keep one of them"))
        for p in double
    ]
    return {name: path for name, path in names if counts[name] == 1}
