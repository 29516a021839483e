"""The layer tables in docs/layers, from what `vitcodec models show` knows: a page for every model, in two languages.

Layers of a block are one row, and so are blocks that are alike. `make docs` calls render().
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from vitcodec.context.config import CURRENT
from vitcodec.models.summary import Row, layer_table, table_of, totals
from vitcodec.pretrained import registry
from vitcodec.pretrained.presets import PRESETS
from vitcodec.subbands import LEVELS

from .language import ENGLISH, SPANISH, Language

FOLDER = Path(__file__).parent.parent / "docs" / "layers"
SIZE = 768, 512  # pixels: width and height of the picture that the figures are for
# presets, with what ships of them, then other models that ship
MODELS = tuple(dict.fromkeys([*PRESETS, *(config.name for config in registry.available())]))


@dataclass(frozen=True)
class Texts:
    """What a page says around its table."""

    folder: Path
    words: dict[str, str]  # English words of the tables -> this language's; phrases are replaced before their parts
    title: str
    page: str  # of a model
    index: str
    models: dict[str, str]  # what each is
    language: Language = ENGLISH

    def number(self, value: float) -> str:
        """A count, or a figure with two decimals."""
        return self.language.number(value)


IN_ENGLISH = Texts(
    folder=FOLDER,
    words={},
    title="Layers of `{name}`",
    page="""{model}

Every layer in the order of the data, for a picture of {width}x{height} pixels. In all {parameters} parameters;
{encode} thousand multiplications (kMAC) a pixel to encode, {decode} to decode.

- Output: rows x columns x channels. Layers that work on areas of tokens: areas x tokens x channels, or areas x rows x
  columns x channels. The last number is how many neurons the layer has at each place.
- A row is a block of layers, or several blocks that are alike.
- `vitcodec models show {name}` prints each layer by itself, `--image-size` for another picture.

[How it works](../architecture.md) explains the parts. [All models](README.md).
""",
    index="""# Layers of every model

These pages are generated (`make docs`). Figures are for a picture of {width}x{height} pixels, context model included;
kMAC are thousands of multiplications. They are those of the weights that ship, or of presets that have none yet, as
`vitcodec models show NAME` prints them.

[How it works](../architecture.md) explains the parts. [En español](es/README.md).
""",
    models={
        "swin": "The default: a U-Net over the wavelet subbands with shifted-window attention at stride 16. In the "
        "decoder, which integers carry, wide convolutions take its place.",
        "swin-ssimulacra2": "An earlier `swin` for SSIMULACRA2: other gains, decoder and context model.",
        "swin-ssimulacra2-2": "An earlier `swin` for SSIMULACRA2.",
        "swin-ssimulacra2-3": "`swin` tuned for SSIMULACRA2.",
        "swin-ms-ssim-3": "`swin` tuned for MS-SSIM.",
        "swin-ms-ssim-2": "An earlier one tuned for MS-SSIM.",
        "swin-ms-ssim": "Made from an earlier `swin` and tuned for MS-SSIM: window attention in the decoder too.",
        "vit": "A plain vision transformer: global attention within areas of 256x256 pixels.",
        "beit": "A transformer with mask tokens and a cross-attention decoder, made for erased tokens.",
        "cnn": "The U-Net of `swin` with convolutions in place of attention.",
        "vit-b16": "`vit` with timm's `vit_base_patch16_224` as its encoder.",
        "vit-l16": "`vit` with timm's `vit_large_patch16_224` as its encoder.",
        "beit-base": "`beit` with timm's `beit_base_patch16_224` as its encoder.",
        "swin-s": "`swin` with timm's `swin_small_patch4_window7_224` as its encoder.",
        "swin-b": "`swin` with timm's `swin_base_patch4_window7_224` as its encoder.",
    },
)
IN_SPANISH = Texts(
    folder=FOLDER / "es",
    words={
        "layer": "capa",
        "kind": "tipo",
        "output": "salida",
        "heads": "cabezas",
        "parameters": "parámetros",
        "kMAC/pixel": "kMAC/píxel",
        "alike": "iguales",
        "cross-attention": "atención cruzada",
        "window attention": "atención por ventanas",
        "attention": "atención",
        "depthwise conv": "convolución por canal",
        "conv": "convolución",
        "gated MLP": "MLP con compuertas",
        "dense": "densa",
        "layer norm": "normalización por capa",
        "RMS norm": "normalización RMS",
        "learned": "parámetro aprendido",
        "integer networks of level": "redes enteras del nivel",
        "integer networks of the low band": "redes enteras de la banda baja",
        "features of the quantisation step": "características del paso de cuantización",
        "orthonormal": "ortonormal",
        "levels": "niveles",
        "factor for each band and quality": "factor por banda y calidad",
        "model": "modelo",
        "family": "familia",
        "encode": "codificar",
        "decode": "decodificar",
    },
    title="Capas de `{name}`",
    page="""{model}

Todas las capas en el orden de los datos, para una imagen de {width}x{height} píxeles. En total, {parameters}
parámetros; {encode} mil multiplicaciones (kMAC) por píxel para codificar y {decode} para decodificar.

- Salida: filas x columnas x canales. En las capas que trabajan por zonas de tokens: zonas x tokens x canales, o zonas x
  filas x columnas x canales. El último número es cuántas neuronas tiene la capa en cada sitio.
- Cada fila es un bloque de capas, o varios bloques iguales.
- `vitcodec models show {name}` muestra las capas una por una; con `--image-size`, para otra imagen.

[Cómo funciona](../../arquitectura.md) explica las partes. [Todos los modelos](README.md).
""",
    index="""# Las capas de todos los modelos

Estas páginas se generan (`make docs`). Las cifras son para una imagen de {width}x{height} píxeles, con el modelo de
contexto incluido; kMAC son miles de multiplicaciones. Son las de los pesos que se distribuyen o, si aún no los hay, las
de la configuración prevista, como las muestra `vitcodec models show NAME`.

[Cómo funciona](../../arquitectura.md) explica las partes. [In English](../README.md).
""",
    models={
        "swin": "El modelo por defecto: una U-Net sobre las subbandas de la ondícula, con atención por ventanas "
        "desplazadas a 1/16 de la resolución. En el decodificador, que calcula con enteros, hay convoluciones "
        "anchas en su lugar.",
        "swin-ssimulacra2": "Un `swin` anterior para SSIMULACRA2: otras ganancias, otro decodificador y otro modelo de "
        "contexto.",
        "swin-ssimulacra2-2": "Un `swin` anterior para SSIMULACRA2.",
        "swin-ssimulacra2-3": "`swin` ajustado para SSIMULACRA2.",
        "swin-ms-ssim-3": "`swin` ajustado para MS-SSIM.",
        "swin-ms-ssim-2": "Uno anterior, ajustado para MS-SSIM.",
        "swin-ms-ssim": "Hecho a partir de un `swin` anterior y ajustado para MS-SSIM, con atención por ventanas "
        "también en el decodificador.",
        "vit": "Un transformador de visión sencillo: atención global dentro de zonas de 256x256 píxeles.",
        "beit": "Un transformador con tokens de máscara y un decodificador de atención cruzada, hecho para tokens "
        "borrados.",
        "cnn": "La U-Net de `swin` con convoluciones en lugar de atención.",
        "vit-b16": "`vit` con `vit_base_patch16_224` de timm como codificador.",
        "vit-l16": "`vit` con `vit_large_patch16_224` de timm como codificador.",
        "beit-base": "`beit` con `beit_base_patch16_224` de timm como codificador.",
        "swin-s": "`swin` con `swin_small_patch4_window7_224` de timm como codificador.",
        "swin-b": "`swin` con `swin_base_patch4_window7_224` de timm como codificador.",
    },
    language=SPANISH,
)


@dataclass(frozen=True)
class Line:
    """A row of a page's table."""

    name: str
    kind: str
    output: str
    heads: str
    parameters: int
    kmac: float


def render(check: bool = False) -> list[Path]:
    """Write the pages that differ from what the models say, or with `check` only find them; returns their paths."""
    changed = []
    for path, text in _pages().items():
        if path.is_file() and path.read_text("utf-8") == text:
            continue
        changed.append(path)
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
    return changed


def figures(name: str) -> tuple[int, float]:
    """Parameters and kMAC a pixel of decoding: what presets.py is to state of a preset."""
    preset = PRESETS[name]
    sums = totals(table_of(preset.family, preset.config, CURRENT, *SIZE))
    return sums["parameters"], sums["decode_kmac_per_pixel"]


def _pages() -> dict[Path, str]:
    found = {}
    for texts in (IN_ENGLISH, IN_SPANISH):
        found[texts.folder / "README.md"] = _index(texts)
        for name in MODELS:
            found[texts.folder / f"{name}.md"] = _page(name, texts)
    return found


def _page(name: str, texts: Texts) -> str:
    sums = totals(rows_of(name))
    text = texts.page.format(
        name=name,
        model=texts.models[name],
        width=SIZE[0],
        height=SIZE[1],
        parameters=texts.number(sums["parameters"]),
        encode=texts.number(sums["encode_kmac_per_pixel"]),
        decode=texts.number(sums["decode_kmac_per_pixel"]),
    )
    return f"# {texts.title.format(name=name)}\n\n{text}\n{_table(name, texts)}\n"


def _index(texts: Texts) -> str:
    head = "| model | family | parameters | encode kMAC/pixel | decode kMAC/pixel |"
    rows = [_translated(head, texts.words), "|---|---|---:|---:|---:|"]
    for name in MODELS:
        sums = totals(rows_of(name))
        keys = "parameters", "encode_kmac_per_pixel", "decode_kmac_per_pixel"
        costs = " | ".join(texts.number(sums[key]) for key in keys)
        rows.append(f"| [{name}]({name}.md) | {_family(name)} | {costs} |")
    text = texts.index.format(width=SIZE[0], height=SIZE[1])
    return text + "\n" + "\n".join(rows) + "\n"


def _table(name: str, texts: Texts) -> str:
    words = texts.words
    rows = [
        _translated("| layer | kind | output | heads | parameters | kMAC/pixel |", words),
        "|---|---|---|---:|---:|---:|",
    ]
    for line in _merged(rows_of(name)):
        label, kind = line.name.replace("alike", words.get("alike", "alike")), _translated(line.kind, words)
        costs = f"{texts.number(line.parameters)} | {texts.number(line.kmac)}"
        rows.append(f"| `{label}` | {kind} | {line.output} | {line.heads} | {costs} |")
    return "\n".join(rows)


@cache
def rows_of(name: str) -> list[Row]:
    """Every layer of the weights that ship, or of a preset that has none."""
    return layer_table(name, SIZE)


def _family(name: str) -> str:
    return PRESETS[name].family if registry.is_preset(name) else registry.find(name).family


def _block(layer: str) -> str:
    """Where a layer belongs: the block that ends in a number, a level of the context model, or itself."""
    if layer.startswith("context"):
        return ".".join(layer.split(".")[: 3 if ".levels." in layer else 2])
    found = re.match(r"(.*\.\d+)\.", layer)
    return found[1] if found else layer


def _kind(block: str, rows: list[Row]) -> str:
    if block.startswith("context.levels"):
        return f"integer networks of level {LEVELS - int(block[-1])}"
    if block.startswith("context"):
        low = block.endswith("low")
        return "integer networks of the low band" if low else "features of the quantisation step"
    attention = [r.kind for r in rows if "attention" in r.kind]
    convolution = [r.kind for r in rows if "conv" in r.kind]
    if attention:
        return f"{attention[0]}, MLP"
    kinds = list(dict.fromkeys(r.kind for r in rows))
    if set(kinds) == {"dense", "learned"}:
        return "MLP"
    return f"{convolution[0]}, gated MLP" if convolution else " + ".join(kinds)


def _lines(rows: list[Row]) -> Iterator[Line]:
    """A line for each block."""
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        blocks.setdefault(_block(row.layer), []).append(row)
    for block, inside in blocks.items():
        last = next((r for r in reversed(inside) if r.macs_per_pixel), inside[-1])
        output = "" if block.startswith("context") else "x".join(map(str, last.output))
        heads = next((str(r.heads) for r in inside if r.heads), "")
        kmac = sum(r.macs_per_pixel for r in inside) / 1000
        yield Line(block, _kind(block, inside), output, heads, sum(r.parameters for r in inside), kmac)


def _merged(rows: list[Row]) -> Iterator[Line]:
    """Runs of blocks that differ in their number alone as one line."""

    def alike(line: Line) -> tuple[object, ...]:
        stem, kind = re.sub(r"\d+$", "", line.name), line.kind.replace(", shifted", "")
        return stem, kind, line.output, line.heads, line.parameters

    for _, group in groupby(_lines(rows), alike):
        run = list(group)
        first, last = run[0], run[-1]
        if len(run) == 1:
            yield first
        else:
            name = f"{first.name} ... {last.name.rsplit('.', 1)[1]} ({len(run)} alike)"
            parameters, kmac = sum(r.parameters for r in run), sum(r.kmac for r in run)
            yield Line(name, first.kind, first.output, first.heads, parameters, kmac)


def _translated(text: str, words: dict[str, str]) -> str:
    for english, word in sorted(words.items(), key=lambda pair: -len(pair[0])):
        text = re.sub(rf"\b{re.escape(english)}\b", word, text)
    return text
