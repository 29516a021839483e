"""`vitcodec models list` and `vitcodec models show`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer

from .. import weights
from . import new_app, options
from .output import DONE, NOTHING, Output

app = new_app(help="List models and show their layers.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="A shipped model's name or local-dir:PATH.", show_default=False)]
_FIGURES = {"parameters": "parameters", "kmac_per_pixel": "kMAC/pixel", "licence": "licence"}


@app.command("list", short_help="The models that came with the package.")
def list_command(json: options.Json = False) -> int:
    """The models that came with the package, the default first.

    \b
    vitcodec models list
    vitcodec models list --json
    """
    out = Output(json)
    cards = weights.available()
    rows = [(card.name, card.family, *(_text(card.config.get(key)) for key in _FIGURES), card.sha256[:16]) for card in cards]
    if rows:
        out.result(table(("name", "family", *_FIGURES.values(), "weights"), rows))
    else:
        out.say("no models are installed; reinstall vitcodec, or give -m local-dir:PATH to its commands")
    for card in cards:
        out.record({"name": card.name, "family": card.family, "sha256": card.sha256, **{key: card.config.get(key) for key in _FIGURES}})
    out.summary({"command": "models list", "default": weights.DEFAULT_MODEL, "models": len(cards)})
    return DONE if cards else NOTHING


@app.command("show", short_help="A model's layers, neurons and multiplications.")
def show_command(name: Name, json: options.Json = False) -> int:
    """A model's layers: output shape for a 768x512 image, width, heads, parameters, MACs per pixel.

    \b
    vitcodec models show swin
    vitcodec models show local-dir:my-model
    """
    out = Output(json)
    card = weights.find(name)
    from ..models.summary import layer_table, totals

    rows = layer_table(name)
    sums = totals(rows)
    head = ("layer", "kind", "output", "width", "heads", "parameters", "MAC/pixel")
    cells = [
        (r.layer, r.kind, "x".join(map(str, r.output)), str(r.width), _text(r.heads), f"{r.parameters:,}", f"{r.macs_per_pixel:,.2f}") for r in rows
    ]
    out.result(f"{card.name} ({card.family}), for an image of 768x512 pixels\n\n{table(head, cells, left=2)}\n")
    out.result("\n".join(f"{key.replace('_', ' ')}: {_text(value)}" for key, value in sums.items()))
    for row in rows:
        out.record(asdict(row))
    out.summary({"command": "models show", "name": card.name, "family": card.family, "sha256": card.sha256, **sums})
    return DONE


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], left: int = 2) -> str:
    """Columns aligned, the first `left` of them to the left."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [head, tuple("-" * w for w in widths), *rows]
    return "\n".join(
        "  ".join(cell.ljust(w) if i < left else cell.rjust(w) for i, (cell, w) in enumerate(zip(line, widths, strict=True))).rstrip()
        for line in lines
    )


def _text(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:,}" if isinstance(value, int | float) else str(value)
