"""The training curve: loss and validation BD-rate over the minutes trained, as SVG."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..files import write_atomic

WIDTH, HEIGHT, MARGIN = 720, 200, 50  # of a panel, and of its left and right edge


def training_svg(log: Path, target: Path) -> None:
    """Draw a run's log.jsonl (see journal.py). Nothing is written before some quantity has two points."""
    entries = log_entries(log)
    panels = [
        (title, points)
        for key, title in (("loss", "loss, mean of 100 steps"), ("bd_rate", "validation BD-rate (%)"))
        if len(points := [(e["minutes"], e[key]) for e in entries if key in e]) > 1
    ]
    if not panels:
        return
    drawn = [_panel(title, points, k * HEIGHT) for k, (title, points) in enumerate(panels)]
    size = f'viewBox="0 0 {WIDTH} {len(panels) * HEIGHT + 24}"'
    caption = f'<text x="{WIDTH // 2}" y="{len(panels) * HEIGHT + 14}" text-anchor="middle">minutes</text>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="12">'
    background = '<rect width="100%" height="100%" fill="white"/>'
    svg = "\n".join([head + background, *drawn, caption, "</svg>", ""])
    write_atomic(target, svg.encode(), overwrite=True)


def log_entries(log: Path) -> list[dict[str, Any]]:
    """The entries of a log. Lines that a kill or a full disk cut off are passed over."""
    found = []
    for line in log.read_text("utf-8", "replace").splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def _panel(title: str, points: list[tuple[float, float]], top: int) -> str:
    """One quantity over the minutes, `top` pixels down."""
    low, high = (f(value for _, value in points) for f in (min, max))
    first, last = points[0][0], points[-1][0]
    bottom = top + HEIGHT - 24

    def x(minutes: float) -> float:
        return MARGIN + (minutes - first) / max(last - first, 1e-9) * (WIDTH - 2 * MARGIN)

    def y(value: float) -> float:
        return bottom - (value - low) / max(high - low, 1e-9) * (HEIGHT - 60)

    path = " ".join(f"{x(m):.1f},{y(v):.1f}" for m, v in points)
    return "\n".join(
        [
            f'<text x="{MARGIN}" y="{top + 18}" font-size="14">{title}</text>',
            *(f'<path d="M{MARGIN} {y(v):.1f}H{WIDTH - MARGIN}" stroke="#ddd"/>' for v in (low, high)),
            *(f'<text x="{MARGIN - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.4g}</text>' for v in (low, high)),
            *(f'<text x="{x(m):.1f}" y="{bottom + 16}" text-anchor="middle">{m:.0f}</text>' for m in (first, last)),
            f'<polyline points="{path}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>',
        ]
    )
