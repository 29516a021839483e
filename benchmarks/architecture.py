"""Make the layer tables of docs/architecture.md and docs/arquitectura.md again, from what `vitcodec models show` knows.

    python benchmarks/architecture.py            # rewrite what stands between the markers
    python benchmarks/architecture.py --check    # exit 1 if that would change a file

Layers of a block are one row, and blocks that are alike are one too. It also prints the figures that vitcodec/presets.py states.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

from vitcodec.context.model import NEW
from vitcodec.models.summary import Row, table_of, totals
from vitcodec.pretrained.presets import PRESETS

DOCS = Path(__file__).parent.parent / "docs"
SIZE = 768, 512
SPANISH = {
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
    "shifted": "desplazada",
    "depthwise conv": "convolución separable",
    "gated MLP": "MLP con compuerta",
    "dense": "densa",
    "layer norm": "normalización por capa",
    "RMS norm": "normalización RMS",
    "learned": "parámetro aprendido",
    "integer networks of level": "redes enteras del nivel",
    "integer networks of the low band": "redes enteras de la banda baja",
    "integer networks": "redes enteras",
    "the quality": "la calidad",
    "colour": "color",
    "inverse wavelet": "wavelet inversa",
    "orthonormal 3x3": "ortonormal 3x3",
    "levels": "niveles",
    "factor for each band and quality": "factor por banda y calidad",
    "model": "modelo",
    "family": "familia",
    "encode": "codificar",
    "decode": "decodificar",
}


@dataclass(frozen=True)
class Line:
    name: str
    kind: str
    output: str
    heads: str
    parameters: int
    kmac: float


def block_of(layer: str) -> str:
    """Where a layer belongs: the block that ends in a number, a level of the entropy model, or itself."""
    if layer.startswith("entropy"):
        return ".".join(layer.split(".")[: 3 if ".levels." in layer else 2])
    found = re.match(r"(.*\.\d+)\.", layer)
    return found[1] if found else layer


def kind_of(block: str, rows: list[Row]) -> str:
    if block.startswith("entropy.levels"):
        return f"integer networks of level {4 - int(block[-1])}"
    if block.startswith("entropy"):
        return "integer networks of the low band" if block.endswith("low") else "integer networks: the quality"
    attention = [r.kind for r in rows if "attention" in r.kind]
    convolution = [r.kind for r in rows if "conv" in r.kind]
    if attention:
        return f"{attention[0]}, MLP"
    return f"{convolution[0]}, gated MLP" if convolution else " + ".join(dict.fromkeys(r.kind for r in rows))


def lines(rows: list[Row]) -> Iterator[Line]:
    blocks: dict[str, list[Row]] = {}
    for row in rows:
        blocks.setdefault(block_of(row.layer), []).append(row)
    for block, inside in blocks.items():
        shown = next((r for r in reversed(inside) if r.macs_per_pixel), inside[-1])
        heads = next((str(r.heads) for r in inside if r.heads), "")
        kmac = sum(r.macs_per_pixel for r in inside) / 1000
        output = "" if block.startswith("entropy") else "x".join(map(str, shown.output))
        yield Line(block, kind_of(block, inside), output, heads, sum(r.parameters for r in inside), kmac)


def merged(rows: list[Row]) -> Iterator[Line]:
    """Runs of blocks that differ in their number alone as one line."""

    def alike(line: Line) -> tuple[object, ...]:
        return (
            re.sub(r"\d+$", "", line.name),
            line.kind.replace(", shifted", ""),
            line.output,
            line.heads,
            line.parameters,
        )

    for _, group in groupby(lines(rows), alike):
        run = list(group)
        first, last = run[0], run[-1]
        if len(run) == 1:
            yield first
        else:
            name = f"{first.name} ... {last.name.rsplit('.', 1)[1]} ({len(run)} alike)"
            yield Line(
                name, first.kind, first.output, first.heads, sum(r.parameters for r in run), sum(r.kmac for r in run)
            )


@cache
def rows_of(name: str) -> list[Row]:
    preset = PRESETS[name]
    return table_of(preset.family, dict(preset.config), NEW, *SIZE)


def table(name: str, words: dict[str, str]) -> str:
    head = "| layer | kind | output | heads | parameters | kMAC/pixel |"
    body = [
        f"| `{line.name}` | {line.kind} | {line.output} | {line.heads} | {line.parameters:,} | {line.kmac:.2f} |"
        for line in merged(rows_of(name))
    ]
    return "\n".join(
        [translated(head, words), "|---|---|---|---:|---:|---:|", *(translated_row(row, words) for row in body)]
    )


def overview(words: dict[str, str]) -> str:
    head = "| model | family | parameters | encode kMAC/pixel | decode kMAC/pixel |"
    body = []
    for name, preset in PRESETS.items():
        sums = totals(rows_of(name))
        body.append(
            f"| `{name}` | {preset.family} | {sums['parameters']:,} | {sums['encode_kmac_per_pixel']:,.2f} | {sums['decode_kmac_per_pixel']:,.2f} |"
        )
        if (sums["parameters"], sums["decode_kmac_per_pixel"]) != (preset.parameters, preset.kmac_per_pixel):
            print(
                f"vitcodec/presets.py: {name} has {sums['parameters']:_} parameters and {sums['decode_kmac_per_pixel']} kMAC/pixel",
                file=sys.stderr,
            )
    return "\n".join([translated(head, words), "|---|---|---:|---:|---:|", *body])


def translated(text: str, words: dict[str, str]) -> str:
    for english, word in sorted(words.items(), key=lambda pair: -len(pair[0])):  # phrases before their parts
        text = re.sub(rf"\b{re.escape(english)}\b", word, text)
    return text


def translated_row(row: str, words: dict[str, str]) -> str:
    _, name, kind, *rest = row.split("|")
    return "|".join(("", name.replace("alike", words.get("alike", "alike")), translated(kind, words), *rest))


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args(arguments).check
    changed = 0
    for file, words in (("architecture.md", {}), ("arquitectura.md", SPANISH)):
        path = DOCS / file
        text = path.read_text("utf-8")

        def fill(match: re.Match[str], words: dict[str, str] = words) -> str:
            made = overview(words) if match[1] == "overview" else table(match[1], words)
            return f"<!-- table: {match[1]} -->\n{made}\n<!-- end -->"

        made = re.sub(r"<!-- table: ([\w-]+) -->\n.*?<!-- end -->", fill, text, flags=re.S)
        if made != text:
            changed += 1
            print(f"{path}: {'differs' if check else 'written'}")
            if not check:
                path.write_text(made, "utf-8")
    return 1 if check and changed else 0


if __name__ == "__main__":
    sys.exit(main())
