"""A model's networks of small integers by name: what goes in, what comes out, and the function that computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from . import synthesis
from .layers import Layers
from .synthesis import SynthesisShape


@dataclass(frozen=True)
class Network:
    """A network that every engine can run.

    function: takes the engine's operations (ops.Ops) and a map for each input, returns the outputs.
    inputs: by name, the channels and whether the map is signed. outputs: by name, whether a map is signed; None: sums.
    """

    function: Callable[..., Sequence[Any]]
    inputs: Mapping[str, tuple[int, bool]]
    outputs: Mapping[str, bool | None]


def synthesis_networks(layers: Layers, shape: SynthesisShape) -> dict[str, Network]:
    """The three parts of the synthesis; layers: named as in synthesis.py."""
    inputs = {f"x{stride}": (layers[f"input{stride}"].inputs, True) for stride in (4, 8, 16)}
    features = {f"h{stride}": (len(layers[f"input{stride}"].weight), True) for stride in (4, 8, 16)}
    return {
        "synthesis.down": Network(
            lambda ops, x4, x8, x16: synthesis.down(ops, x4, x8, x16, layers, shape),
            inputs,
            dict.fromkeys(features, True),
        ),
        "synthesis.middle": Network(
            lambda ops, x: [synthesis.middle(ops, x, layers, shape)], {"h16": features["h16"]}, {"y16": True}
        ),
        "synthesis.up": Network(
            lambda ops, h4, h8, h16: synthesis.up(ops, h4, h8, h16, layers, shape),
            features,
            dict.fromkeys(("c4", "c8", "c16")),
        ),
    }
