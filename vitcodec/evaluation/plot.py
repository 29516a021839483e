"""Rate-distortion plots as SVG text, without a plotting library.

A plot stands alone, light and with a key, or in a page that styles it by its classes: `curve c0`, `c1`, ... in order,
`grid`, `tick`, `paper`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from .bdrate import Curve

COLOURS = ("#d62728", "#1f77b4", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f")
WIDTH, HEIGHT = 760, 480
LEFT, RIGHT, TOP, BOTTOM = 56, 16, 40, 48  # margins around the axes
_STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10)  # dB between horizontal lines


def rate_distortion_svg(
    curves: Mapping[str, Curve],
    title: str,
    rates: tuple[float, float] | None = (0, 2.5),
    axis: str = "PSNR of RGB in dB",
    labels: Mapping[str, Sequence[str]] | None = None,
    key: bool = True,
) -> str:
    """One line per named curve, quality in dB over bits per pixel; the first curve is drawn boldest.

    rates: the bits per pixel that are drawn, on a linear axis; None: all of them, on a logarithmic one, where equal
    distances are equal ratios. axis: its title. labels: what to say of each point of a curve, on hovering. key: whether
    to name the curves in the plot. Points of infinite quality, which lossless pictures have, are not drawn. Raises
    ValueError where no point is within the rates.
    """
    low_rate, high_rate = rates or (0, math.inf)
    points = {
        name: sorted((b, v, t) for (b, v), t in zip(c, _texts(name, c, labels), strict=True) if math.isfinite(v))
        for name, c in curves.items()
    }
    shown = {name: [p for p in curve if low_rate <= p[0] <= high_rate and p[0] > 0] for name, curve in points.items()}
    everything = [p for curve in shown.values() for p in curve]
    if not everything:
        raise ValueError("no curve has a point within the range of rates to be drawn")
    x, ticks = _linear(*rates) if rates else _logarithmic(min(p[0] for p in everything), max(p[0] for p in everything))
    y, levels = _heights(min(p[1] for p in everything), max(p[1] for p in everything))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect class="paper" width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    if title:
        lines.append(f'<text x="{LEFT}" y="24" font-size="15">{escape(title)}</text>')
    for level in levels:
        lines.append(f'<path class="grid" d="M{LEFT} {y(level):.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        lines.append(f'<text class="tick" x="{LEFT - 8}" y="{y(level) + 4:.1f}" text-anchor="end">{level:g}</text>')
    for bpp in ticks:
        lines.append(f'<path class="grid" d="M{x(bpp):.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        lines.append(
            f'<text class="tick" x="{x(bpp):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{bpp:.3g}</text>'
        )
    lines.append(
        f'<text x="{(LEFT + WIDTH) / 2:.0f}" y="{HEIGHT - 8}" text-anchor="middle">'
        f"bits per pixel{'' if rates else ' (logarithmic)'}</text>"
    )
    lines.append(
        f'<text class="axis" x="14" y="{HEIGHT / 2:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 14 {HEIGHT / 2:.0f})">{escape(axis)}</text>'
    )
    for i, (name, curve) in reversed(list(enumerate(shown.items()))):
        lines += _curve(i, name, [(x(bpp), y(value), text) for bpp, value, text in curve])
    if key:
        lines += [line for i, name in enumerate(shown) for line in _key(i, name, len(shown))]
    return "\n".join([*lines, "</svg>", ""])


def _texts(name: str, curve: Curve, labels: Mapping[str, Sequence[str]] | None) -> Sequence[str]:
    return labels[name] if labels else [""] * len(curve)


def _stroke(i: int) -> tuple[str, float]:
    return COLOURS[i % len(COLOURS)], 2.5 if i == 0 else 1.3


def _curve(i: int, name: str, points: list[tuple[float, float, str]]) -> list[str]:
    colour, width = _stroke(i)
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in points)
    lines = [f'<g class="curve c{i % len(COLOURS)}" data-curve="{i}" data-name="{escape(name)}">']
    lines.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}"/>')
    for x, y, text in points:
        hover = f' data-text="{escape(text)}"><title>{escape(name)}: {escape(text)}</title></circle>' if text else "/>"
        lines.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{width + 0.7:.1f}" fill="{colour}"{hover}')
    return [*lines, "</g>"]


def _key(i: int, name: str, count: int) -> list[str]:
    colour, width = _stroke(i)
    y = HEIGHT - BOTTOM - 18 * (count - i) + 4
    return [
        f'<path d="M{WIDTH - 210} {y}h24" stroke="{colour}" stroke-width="{width}"/>',
        f'<text x="{WIDTH - 180}" y="{y + 4}">{escape(name)}</text>',
    ]


Position = Callable[[float], float]


def _linear(low: float, high: float) -> tuple[Position, list[float]]:
    """Where a rate is drawn, and the rates to mark."""
    return lambda bpp: LEFT + (bpp - low) / (high - low) * (WIDTH - LEFT - RIGHT), [
        low + (high - low) * i / 5 for i in range(6)
    ]


def _logarithmic(low: float, high: float) -> tuple[Position, list[float]]:
    start, end = math.log(low) - 0.08, math.log(high) + 0.08
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    marks = [m * 10.0**d for d in decades for m in ((1, 1.5, 2, 3, 5, 7) if high / low < 8 else (1, 2, 5))]
    ticks = [m for m in marks if start <= math.log(m) <= end]
    return lambda bpp: LEFT + (math.log(bpp) - start) / (end - start) * (WIDTH - LEFT - RIGHT), ticks


def _heights(low: float, high: float) -> tuple[Position, list[float]]:
    """Where a value is drawn, and the values to mark: steps that give at most fifteen lines."""
    step = next((s for s in _STEPS if (high - low) / s <= 15), _STEPS[-1])
    step = max(step, 2) if high - low > 8 else step
    bottom, top = math.floor(low / step), math.ceil(high / step + 1e-9)
    scale = (HEIGHT - TOP - BOTTOM) / ((top - bottom) * step)
    return lambda value: HEIGHT - BOTTOM - (value - bottom * step) * scale, [k * step for k in range(bottom, top + 1)]
