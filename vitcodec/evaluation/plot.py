"""Rate-distortion plots as SVG text, without a plotting library."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from .bdrate import Curve

COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 40, 48  # margins around the axes


def rate_distortion_svg(curves: Mapping[str, Curve], title: str, rates: tuple[float, float] = (0, 2.5)) -> str:
    """One line per named curve, PSNR in dB over bits per pixel, drawn for the rates given; the first curve is drawn boldest."""
    if not any(rates[0] <= bpp <= rates[1] for curve in curves.values() for bpp, _ in curve):
        raise ValueError("no curve has a point within the range of rates to be drawn")
    shown = {name: [p for p in sorted(curve) if rates[0] <= p[0] <= rates[1]] for name, curve in curves.items()}
    psnrs = [psnr for points in shown.values() for _, psnr in points]
    low, high = 2 * math.floor(min(psnrs) / 2), 2 * math.ceil(max(psnrs) / 2 + 1e-9)

    def x(bpp: float) -> float:
        return LEFT + (bpp - rates[0]) / (rates[1] - rates[0]) * (WIDTH - LEFT - RIGHT)

    def y(psnr: float) -> float:
        return HEIGHT - BOTTOM - (psnr - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>',
    ]
    for psnr in range(low, high + 1, 2):
        lines.append(f'<path d="M{LEFT} {y(psnr):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 8}" y="{y(psnr) + 4:.1f}" text-anchor="end">{psnr}</text>')
    steps = 5
    for i in range(steps + 1):
        bpp = rates[0] + (rates[1] - rates[0]) * i / steps
        lines.append(f'<path d="M{x(bpp):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        lines.append(f'<text x="{x(bpp):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{bpp:.3g}</text>')
    lines.append(f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">bits per pixel</text>')
    lines.append(f'<text x="14" y="{HEIGHT / 2:.0f}" text-anchor="middle" transform="rotate(-90 14 {HEIGHT / 2:.0f})">PSNR of RGB in dB</text>')
    for i, (name, points) in enumerate(shown.items()):
        colour, width = COLOURS[i % len(COLOURS)], 2.5 if i == 0 else 1.3
        path = " ".join(f"{x(bpp):.1f},{y(psnr):.1f}" for bpp, psnr in points)
        lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
        lines.extend(f'<circle cx="{x(bpp):.1f}" cy="{y(psnr):.1f}" r="{width + 0.7:.1f}" fill="{colour}"/>' for bpp, psnr in points)
        key = HEIGHT - BOTTOM - 18 * (len(shown) - i) + 4
        lines.append(f'<path d="M{WIDTH - 210} {key}h24" stroke="{colour}" stroke-width="{width}"/>')
        lines.append(f'<text x="{WIDTH - 180}" y="{key + 4}">{escape(name)}</text>')
    return "\n".join([*lines, "</svg>", ""])
