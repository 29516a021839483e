"""The default model by its layers: figures that pages name in {{...}}, and tables in two languages.

All figures are those of the weights that ship, from what `vitcodec models show` knows and from config.json.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from vitcodec.bitstream.tables import MEANS, SCALES, SHAPES
from vitcodec.models.autoencoder import KNOTS
from vitcodec.models.summary import Row, layer_table, totals
from vitcodec.pretrained import registry
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.quality import step_of
from vitcodec.subbands import CHANNELS, CODING_ORDER, LEVELS

from .. import layers
from ..language import SPACE, Language
from .library import Library, Lines, table

EXAMPLE = 512, 512  # pixels: width and height of examples/astronaut.png, which the pages follow
FIGURE = re.compile(r"\{\{([^{}]+)\}\}")  # may go on in the next line
NEURAL = "dense", "conv"  # the kinds of layers whose outputs are neurons

Value = int | float | str


@dataclass(frozen=True)
class Anatomy:
    """What can be asked of a model's layers, each by a name in the modules, such as analysis.encoder.2."""

    rows: list[Row]
    config: PretrainedConfig

    def of(self, part: str) -> list[Row]:
        """The rows of a module and of those in it. Raises KeyError where there are none."""
        found = [r for r in self.rows if f"{r.layer}.".startswith(f"{part}.")]
        if not found:
            raise KeyError(part)
        return found

    def parameters(self, part: str = "") -> int:
        return sum(r.parameters for r in (self.of(part) if part else self.rows))

    def layers(self, part: str, kind: str = "") -> int:
        """How many layers of a kind; by default, of those that have neurons."""
        kinds = (kind,) if kind else NEURAL
        return sum(any(k in r.kind for k in kinds) for r in self.of(part))

    def neurons(self, part: str) -> int:
        """Outputs of dense and convolutional layers at one place."""
        return sum(r.width for r in self.of(part) if any(k in r.kind for k in NEURAL))

    def heads(self, part: str) -> int:
        """Attention heads of all layers."""
        return sum(r.heads or 0 for r in self.of(part))

    def macs(self, part: str) -> float:
        """Multiplications a pixel."""
        return sum(r.macs_per_pixel for r in self.of(part))

    def width(self, layer: str) -> int:
        return self.of(layer)[-1].width

    def inputs(self, layer: str) -> int:
        """Of a dense layer: how many numbers each neuron sees."""
        (row,) = self.of(layer)
        return row.parameters // row.width - 1

    def weights(self, layer: str) -> int:
        """Of a dense or convolutional layer: parameters of each neuron, its bias included."""
        (row,) = self.of(layer)
        return row.parameters // row.width

    def output(self, layer: str) -> str:
        return "x".join(map(str, self.of(layer)[-1].output))

    def sites(self, layer: str) -> int:
        """How many places of the example the layer works at."""
        rows, columns, _ = self.of(layer)[-1].output
        return rows * columns

    def setting(self, path: str) -> Value:
        """Of config.json: names with dots between them, and indices."""
        found: Any = asdict(self.config)
        for name in path.split("."):
            found = found[int(name) if name.isdecimal() else name]
        return found

    def offsets(self) -> int:
        """Between two sites of an attention window."""
        return (2 * int(self.setting("transform.window")) - 1) ** 2

    def dead_zone(self) -> float:
        """Details below this magnitude, in steps, become zero."""
        return 0.5 + float(self.setting("dead_zone"))

    def tables(self) -> int:
        """Of probabilities."""
        return SHAPES * MEANS * SCALES

    def knots(self) -> int:
        """Step positions that have gains of their own."""
        return KNOTS

    def values(self) -> int:
        """Of the example's pixels, and so of its coefficients."""
        return 3 * EXAMPLE[0] * EXAMPLE[1]

    def gains(self) -> int:
        """Of encoder and decoder."""
        return self.parameters("gain") + self.parameters("inverse_gain")

    def step(self, quality: str) -> float:
        """In 8-bit levels, rounded as pages say it."""
        return round(step_of(int(quality)))

    def cost(self, way: str) -> float:
        """Thousands of multiplications a pixel to encode or to decode, as in docs/layers."""
        return float(totals(layers.rows_of(self.config.name))[f"{way}_kmac_per_pixel"])

    def billions(self, way: str) -> float:
        """Of multiplications for the example."""
        return self.cost(way) * EXAMPLE[0] * EXAMPLE[1] / 1e6

    def __call__(self, expression: str) -> Value:
        """A figure: the name of a method, then its arguments. Raises KeyError."""
        name, *arguments = expression.split()
        if name not in ASKED:
            raise KeyError(expression)
        found: Value = getattr(self, name)(*arguments)
        return found


ASKED = (
    *("parameters", "layers", "neurons", "heads", "macs", "width", "inputs", "weights", "output", "sites"),
    *("setting", "offsets", "dead_zone", "tables", "gains", "knots", "step", "values", "cost", "billions"),
)


@cache
def anatomy() -> Anatomy:
    """Of the default model, for the example."""
    name = registry.DEFAULT_MODEL
    return Anatomy(layer_table(name, EXAMPLE), registry.find(name))


def with_figures(text: str, language: Language) -> str:
    """A page with every {{expression}} replaced; `expression | 1` has one decimal. Raises KeyError."""

    def written(found: re.Match[str]) -> str:
        expression, _, decimals = (part.strip() for part in found[1].partition("|"))
        value = anatomy()(expression)
        return value if isinstance(value, str) else language.number(value, int(decimals) if decimals else None)

    return "\n\n".join(_wrapped(part, FIGURE.sub(written, part)) for part in text.split("\n\n"))


def _wrapped(before: str, after: str) -> str:
    """A paragraph whose figures are shorter or longer than their names, in lines of 120 letters again."""
    if after == before or after.startswith("|"):
        return after
    return textwrap.fill(after, 120, break_on_hyphens=False, break_long_words=False)


# tables


def bands(results: Library, language: Language) -> Lines:
    """What the wavelet makes of the example."""
    say = language.say
    rows = []
    for level in CODING_ORDER:
        width, height = (n >> (level or LEVELS) for n in EXAMPLE)
        name = say(f"level {level}", f"nivel {level}") if level else say("low band", "banda baja")
        shape = f"{height} x {width} x {CHANNELS[level]}"
        each = CHANNELS[level] << 2 * (LEVELS - (level or LEVELS))
        rows.append((name, shape, language.number(height * width * CHANNELS[level]), language.number(each)))
    headings = say("rows x columns x channels", "filas x columnas x canales")
    total = 3 * EXAMPLE[0] * EXAMPLE[1]
    rows.append((say("in all", "en total"), "", language.number(total), language.number(3 << 2 * LEVELS)))
    return table(("", headings, say("coefficients", "coeficientes"), say("of a token", "por token")), rows)


def networks(results: Library, language: Language) -> Lines:
    """The networks."""
    say, model, number = language.say, anatomy(), language.number
    names = {
        "analysis": say("analysis", "análisis"),
        "context": say("context model", "modelo de contexto"),
        "synthesis": say("synthesis", "síntesis"),
        "enhancement": say("enhancement", "mejora"),
    }
    rows = [
        (
            name,
            number(model.layers(part)),
            number(model.neurons(part)),
            number(model.heads(part)),
            number(model.parameters(part)),
            number(model.macs(part), 0),
        )
        for part, name in names.items()
    ]
    headings = (
        say("network", "red"),
        say("layers with neurons", "capas con neuronas"),
        say("neurons", "neuronas"),
        say("attention heads", "cabezas de atención"),
        say("parameters", "parámetros"),
        say("multiplications a pixel", "multiplicaciones por píxel"),
    )
    return table(headings, rows)


def stages(results: Library, language: Language) -> Lines:
    """The analysis of the example by resolution: down, then up."""
    say, model, number = language.say, anatomy(), language.number
    down, up = say("down", "bajada"), say("up", "subida")
    parts = [
        (f"1/4, {down}", ("inputs.0", "encoder.0"), "encoder.0"),
        (f"1/8, {down}", ("inputs.1", "down.0", "encoder.1"), "encoder.1"),
        ("1/16", ("inputs.2", "down.1", "encoder.2", "outputs.2"), "encoder.2"),
        (f"1/8, {up}", ("up.1", "decoder.1", "outputs.1"), "decoder.1"),
        (f"1/4, {up}", ("up.0", "decoder.0", "outputs.0"), "decoder.0"),
    ]
    rows = []
    for name, modules, body in parts:
        own = [f"analysis.{module}" for module in modules]
        attention, convolutions = (sum(model.layers(m, k) for m in own) for k in ("attention", "conv"))
        # the window attention's own row is the block's map; a dense layer inside may be wider
        maps = next(r for r in model.of(f"analysis.{body}") if "norm" in r.kind)
        counts = (convolutions, attention, *(sum(f(m) for m in own) for f in (model.heads, model.neurons)))
        parameters = sum(model.parameters(m) for m in own)
        rows.append((name, "x".join(map(str, maps.output)), *map(number, (*counts, parameters))))
    headings = (
        say("resolution", "resolución"),
        say("maps", "mapas"),
        say("convolutions", "convoluciones"),
        say("attention layers", "capas de atención"),
        say("heads", "cabezas"),
        say("neurons", "neuronas"),
        say("parameters", "parámetros"),
    )
    return table(headings, rows, 2)


def families(results: Library, language: Language) -> Lines:
    """How every model is built: attention and convolutions on both sides, and what it costs."""
    say, number = language.say, language.number
    rows = []
    for name in sorted(layers.MODELS, key=registry.is_preset):  # those that ship first
        found = layers.rows_of(name)
        sides = (_described([r for r in found if r.layer.startswith(part)], language) for part in SIDES)
        sums = totals(found)
        costs = (number(sums[f"{way}_kmac_per_pixel"], 1) for way in ("encode", "decode"))
        rows.append((f"`{name}`", *sides, f"{number(sums['parameters'] / 1e6, 1)}{SPACE}M", *costs))
    headings = (
        say("model", "modelo"),
        say("analysis (encoder)", "análisis (codificador)"),
        say("synthesis (decoder)", "síntesis (decodificador)"),
        say("parameters", "parámetros"),
        say("kMAC/pixel, encode", "kMAC/píxel, codificar"),
        say("kMAC/pixel, decode", "kMAC/píxel, decodificar"),
    )
    return table(headings, rows, 3)


SIDES = "analysis", "synthesis"


def _described(rows: list[Row], language: Language) -> str:
    """Attention layers by their reach, then convolutions."""
    say, parts = language.say, []
    kinds: dict[str, list[Row]] = {}
    for row in rows:
        if "attention" in row.kind:
            kinds.setdefault(row.kind.partition(",")[0], []).append(row)
    for kind, own in kinds.items():
        if found := re.search(r"\d+x\d+", kind):
            name = say(f"attention in windows of {found[0]}", f"atención por ventanas de {found[0]}")
        else:
            name = say(kind, "atención cruzada" if "cross" in kind else "atención global")
        layer = say("layer of", "capa de") if len(own) == 1 else say("layers of", "capas de")
        heads = sorted({r.heads for r in own if r.heads})
        span = f"{heads[0]}" if len(heads) == 1 else f"{heads[0]} {say('to', 'a')} {heads[-1]}"
        parts.append(f"{len(own)} {layer} {name} ({span} {say('heads', 'cabezas')})")
    if convolutions := sum("conv" in r.kind for r in rows):
        parts.append(f"{convolutions} {say('convolutions', 'convoluciones')}")
    return "; ".join(parts)


BLOCKS: dict[str, Callable[[Library, Language], Lines]] = {
    "example-bands": bands,
    "networks": networks,
    "analysis-stages": stages,
    "families-built": families,
}
