"""The context model's networks, described once for every engine. They treat rows: maps (1, 1, N, C), all unsigned.

Each is a layer, then residual blocks, then a last layer whose sums are what is predicted. What is not there is left
out: features have no last layer. Where channels of a head are coded one after another, its residual blocks' output
comes out too, as an input of the networks of the conditions. The floating-point original is context/heads.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .catalogue import Network
from .layers import Layers, under
from .ops import Ops, T, residual

ENTER, LEAVE = "enter", "leave"  # a network's first and last layer; between them 0.expand, 0.reduce, 1.expand, ...
CONDITION = "condition"  # HEAD.condition.1 is the network of a head's second group of channels


def stack(ops: Ops[T], x: T, layers: Layers, hidden: bool = False) -> list[T]:
    """[sums of the last layer] where there is one; then, if it is asked for or all there is, what comes before it."""
    y = ops.convolve(x, layers[ENTER])
    k = 0
    while f"{k}.expand" in layers:
        y = residual(ops, y, under(layers, str(k)))
        k += 1
    if LEAVE not in layers:
        return [y]
    return [ops.sums(y, layers[LEAVE]), *([y] if hidden else [])]


def treats_rows(network: str) -> bool:
    """Whether a network, by its name in the catalogue, is one of the context model: every site is treated by itself."""
    return network.startswith(("low.", "level"))


def condition(head: str, group: int) -> str:
    """The name of the network that adds to the predictions of a head's second, third, ... group: 1, 2, ..."""
    return f"{head}.{CONDITION}.{group}"


def context_networks(layers: Layers) -> dict[str, Network]:
    """All networks that a context model's layers, NETWORK.LAYER, make up."""
    names = [name.removesuffix(f".{ENTER}") for name in layers if name.endswith(f".{ENTER}")]
    networks = {}
    for name in names:
        own = under(layers, name)
        hidden = f"{condition(name, 1)}.{ENTER}" in layers
        outputs: dict[str, bool | None] = {"sums": None} if LEAVE in own else {}
        if hidden or not outputs:
            outputs["rows"] = False
        networks[name] = Network(_of(own, hidden), {"x": (own[ENTER].inputs, False)}, outputs)
    return networks


def _of(layers: Layers, hidden: bool) -> Callable[[Ops[Any], Any], Sequence[Any]]:
    return lambda ops, x: stack(ops, x, layers, hidden)
