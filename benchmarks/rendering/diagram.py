"""The way of a picture through the codec as a drawing, docs/path-en.svg and docs/path-es.svg. Light and dark."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from vitcodec.options import EncodeOptions
from vitcodec.quality import step_of

from ..language import ENGLISH, SPANISH, Language
from .anatomy import EXAMPLE, anatomy

WIDTH, HEIGHT = 960, 372
BOX, TALL = 116, 92  # of a box, pixels
LEFT, STEP = 16, 135  # where the first column starts, and from one column to the next
ROWS = 64, 208  # tops of the two rows
LINE = 17  # from one line of text to the next

# classes: data that is passed on, arithmetic that is fixed, networks that were trained
DATA, FIXED, TRAINED = "data", "fixed", "trained"
STYLE = """
text { font: 13px sans-serif; fill: #1f2328; text-anchor: middle }
.small { font-size: 11.5px; fill: #57606a }
.row { font-size: 14px; font-weight: bold; text-anchor: start }
.key { text-anchor: start }
.card { fill: #ffffff }
.data { fill: #eef6ff; stroke: #218bff }
.fixed { fill: #f3f4f6; stroke: #8c959f }
.trained { fill: #fff1e5; stroke: #e16f24 }
.arrow { stroke: #57606a; stroke-width: 1.6; fill: none } .same { stroke-dasharray: 4 4 } .head { fill: #57606a }
@media (prefers-color-scheme: dark) {
text { fill: #e6edf3 } .small { fill: #a5b0bc } .card { fill: #0d1117 }
.data { fill: #0c2240; stroke: #4493f8 }
.fixed { fill: #1c2128; stroke: #7d8590 }
.trained { fill: #3a1d0a; stroke: #f0883e }
.arrow { stroke: #a5b0bc } .head { fill: #a5b0bc }
}"""


@dataclass(frozen=True)
class Box:
    """lines: what it is. note: a figure below."""

    kind: str
    lines: tuple[str, ...]
    note: str
    x: float
    y: float
    height: float = TALL

    def drawn(self) -> Iterator[str]:
        yield f'<rect class="{self.kind}" x="{self.x}" y="{self.y}" width="{BOX}" height="{self.height}" rx="8"/>'
        top = self.y + self.height / 2 - LINE * len(self.lines) / 2 + 4
        for k, line in enumerate((*self.lines, self.note)):
            small = ' class="small"' if k == len(self.lines) else ""
            yield f'<text{small} x="{self.x + BOX / 2}" y="{top + LINE * k}">{escape(line)}</text>'


def boxes(language: Language) -> list[Box]:
    """Those of the encoder from the left, of the decoder from the right, and the file."""
    say, model = language.say, anatomy()
    width, height = EXAMPLE
    picture, grid = f"{height}x{width}x3", f"{height // 16}x{width // 16}x768"

    def millions(part: str) -> str:
        return f"{language.number(model.parameters(part) / 1e6, 1)} M {say('parameters', 'parámetros')}"

    context = (say("context", "modelo de"), say("model and", "contexto y"), say("range coder", "codif. de rangos"))
    inverse = (say("inverse wavelet,", "ondícula"), say("filter, colour", "inversa, filtro"), say("", "y color"))
    quality = EncodeOptions.quality
    at_quality = f"{round(step_of(quality))} ({say('quality', 'calidad')} {quality})"
    tokens = (say("integer", "tokens"), say("tokens", "enteros"))
    top = [
        (DATA, (say("picture", "imagen"),), picture),
        (FIXED, (say("colour axes", "color y"), say("and wavelet", "ondícula")), "CDF 9/7"),
        (TRAINED, (say("analysis", "análisis"),), millions("analysis")),
        (FIXED, (say("step, rounding,", "paso, redondeo"), say("search", "y búsqueda")), f"\u00f7 {at_quality}"),
        (DATA, tokens, grid),
        (TRAINED, context, millions("context")),
    ]
    bottom = [
        (DATA, (say("picture", "imagen"),), picture),
        (FIXED, inverse, "CDF 9/7"),
        (TRAINED, (say("synthesis", "síntesis"),), millions("synthesis")),
        (FIXED, (say("times the step", "por el paso"),), f"\u00d7 {at_quality}"),
        (DATA, tokens, grid),
        (TRAINED, context, say("the same", "el mismo")),
    ]
    found = [
        Box(kind, tuple(filter(None, lines)), note, LEFT + STEP * k, y)
        for y, row in zip(ROWS, (top, bottom), strict=True)
        for k, (kind, lines, note) in enumerate(row)
    ]
    file = (say(".vitc file", "archivo .vitc"),)
    return [*found, Box(DATA, file, "bytes", LEFT + STEP * 6, ROWS[0], ROWS[1] + TALL - ROWS[0])]


def svg(language: Language) -> str:
    say = language.say
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        f"<title>{say('From pixels to bytes and back', 'De los píxeles a los bytes, y de vuelta')}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="card" width="{WIDTH}" height="{HEIGHT}" rx="10"/>',
        f'<text class="row" x="{LEFT}" y="{ROWS[0] - 18}">{say("encoder", "codificador")} →</text>',
        f'<text class="row" x="{LEFT}" y="{ROWS[1] - 18}">← {say("decoder", "decodificador")}</text>',
    ]
    for box in boxes(language):
        lines += box.drawn()
    for k in range(6):
        right, left = LEFT + STEP * k + BOX, LEFT + STEP * (k + 1)
        lines += [*_arrow(right, left, ROWS[0] + TALL / 2), *_arrow(left, right, ROWS[1] + TALL / 2)]
    middle = LEFT + STEP * 4 + BOX / 2
    lines.append(f'<path class="arrow same" d="M{middle} {ROWS[0] + TALL}V{ROWS[1]}"/>')
    label = say("the same integers", "los mismos enteros")
    lines.append(f'<text class="small" x="{middle - 62}" y="{ROWS[1] - 22}">{label}</text>')
    y = HEIGHT - 28
    names = {
        TRAINED: say("network, trained", "red, entrenada"),
        FIXED: say("fixed arithmetic", "cálculo fijo"),
        DATA: say("data", "datos"),
    }
    for k, (kind, name) in enumerate(names.items()):
        x = LEFT + 170 * k
        lines.append(f'<rect class="{kind}" x="{x}" y="{y - 12}" width="24" height="16" rx="4"/>')
        lines.append(f'<text class="key" x="{x + 32}" y="{y + 1}">{name}</text>')
    return "\n".join([*lines, "</svg>", ""])


def _arrow(start: float, end: float, y: float) -> Iterator[str]:
    """A level one."""
    sign = 1 if end > start else -1
    yield f'<path class="arrow" d="M{start + 2 * sign} {y}H{end - 7 * sign}"/>'
    yield f'<path class="head" d="M{end - 2 * sign} {y}l{-7 * sign} -4.5v9z"/>'


PLOTS = {"path-en": lambda _: svg(ENGLISH), "path-es": lambda _: svg(SPANISH)}
