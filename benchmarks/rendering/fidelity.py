"""The blocks of generated pictures: the worst of all, and of each kind."""

from __future__ import annotations

import numpy as np

from ..ladder import EXACT, drops
from ..measure import Point
from .library import Block, Library, Lines, Results, block, source, table


def decibels(value: float) -> str:
    return "exact" if value >= EXACT else f"{value:.2f}"


def _by_quality(points: list[Point]) -> dict[int, list[Point]]:
    found: dict[int, list[Point]] = {}
    for p in points:
        found.setdefault(p["setting"], []).append(p)
    return found


@block("fidelity")
def fidelity(results: Library, document: Results) -> Lines:
    """Worst, 5th percentile and median at every quality, with the worst picture's name; then the falls."""
    found = document["results"]
    rows = []
    for quality, points in _by_quality(found["points"]).items():
        values, worst = [p["psnr"] for p in points], min(points, key=lambda p: p["psnr"])
        low, middle = np.percentile(values, [5, 50])
        rows.append((str(quality), *map(decibels, (worst["psnr"], low, middle)), f"`{worst['image']}`"))
    headings = ("quality", "worst PSNR (dB)", "5th percentile (dB)", "median (dB)", "the worst")
    steps = len(found["points"]) - found["images"]
    fallen = [what for what, _, _ in drops(found["points"])]
    sizes, levels = (sum(what.startswith(word) for what in fallen) for word in ("size", "PSNR"))
    return [
        *table(headings, rows, 0),
        "",
        f"{found['images']} pictures, coding `{found['coding']}`, effort {found['effort']}. Of {steps:,} steps from "
        f"one quality to the next of a picture, size falls at {sizes} and PSNR at {levels}.",
        *source(document["provenance"]),
    ]


@block("fidelity")
def fidelity_kinds(results: Library, document: Results) -> Lines:
    """The worst of each kind at every quality."""
    points = document["results"]["points"]
    qualities = list(_by_quality(points))
    rows = []
    for kind in dict.fromkeys(p["kind"] for p in points):
        own = _by_quality([p for p in points if p["kind"] == kind])
        worst = [decibels(min(p["psnr"] for p in own[q])) for q in qualities]
        rows.append((kind.replace("-", " "), str(len(own[qualities[0]])), *worst))
    return table(("kind", "pictures", *(f"worst PSNR at {q} (dB)" for q in qualities)), rows)


@block("exact")
def exact(results: Library, document: Results) -> Lines:
    """A row for each way of decoding."""
    found = document["results"]
    rows = [(r["way"], str(r["files"]), str(r["differences"])) for r in found["ways"]]
    head = f"{len(found['files'])} files, of 1x1 to {max(f['width'] for f in found['files'])} pixels across:"
    return [head, "", *table(("decoded by", "files", "differences"), rows), *source(document["provenance"])]


BLOCKS: dict[str, Block] = {"fidelity": fidelity, "fidelity-kinds": fidelity_kinds, "exact": exact}
