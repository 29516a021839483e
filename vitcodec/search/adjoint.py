"""The gradient of the distortion through the decoder's network, without torch: its adjoint, run as a graph.

What the network adds to the gradient over the coefficients is its Jacobian, transposed, times the error. The graph
(training/adjoint.py) computes that, forward and then backward, in floating point with matrix products in 8 bits. Its
weights are those of the decoder and are supplied when it is loaded, so that the graph is small. It runs in the encoder
alone: a file is the same picture whatever it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from ..dequantiser import GAIN_BITS, Dequantiser
from ..integer.layers import WEIGHT_LIMIT, ZERO_POINT, Layer, Layers
from ..integer.synthesis import SynthesisShape
from ..reconstruction import CONTRAST_BITS, CONTRAST_FACTOR
from ..subbands import Subbands
from ..tiles import Area, crop
from .measures import Target, Weights
from .proposals import Proposals, by_level, by_stride
from .state import State

NETWORK, RATES = "adjoint", "rates"  # names among a model's graphs: of this, and of the proposals beside it
INPUTS = ("c4", "c8", "c16", "e4", "e8", "e16", "position")
OUTPUTS = ("g4", "g8", "g16")
# of log(1 + |c|) where c is 0, as a share: a token that is changed moves by a whole step, not by a little
ZERO_SLOPE = 0.4
# sites at a time, as maps are kept for the way back, 120 kB a site; rows around them that reach into results
MOST, REACH = 1600, 4
LEAST_ROWS = 8
BOX = 5  # sites along a side of the mean that the low band enters relative to

# maps of INPUTS, (1, h, w, C) float32 -> maps of OUTPUTS
Network = Callable[..., list[np.ndarray]]


def weights_of(layers: Layers, shape: SynthesisShape) -> dict[str, np.ndarray]:
    """The weights of the graph, by their names in it.

    NAME.w and NAME.t are the weights of a layer and of its transpose; NAME.b its biases. Matrices are int8 of at most
    WEIGHT_LIMIT in magnitude, (inputs, outputs), and float32 NAME.ws and NAME.ts scale their columns; depthwise kernels
    are float32.
    """
    found: dict[str, np.ndarray] = {}
    for name, layer in layers.items():
        factor = 2.0 ** -_product_shift(name, shape)
        unit = 2.0 ** -layer.shift.astype(np.float64)
        found[f"{name}.b"] = (layer.bias * unit).astype(np.float32)
        found |= _depthwise(name, layer, unit) if layer.depthwise else _matrix(name, layer, unit * factor)
    # of the last layers nothing goes on forward
    ends = "output", f"up4.{shape.blocks[0] - 1}.down"
    return {name: w for name, w in found.items() if not name.startswith(ends) or name.rpartition(".")[2] in ("t", "ts")}


def _product_shift(name: str, shape: SynthesisShape) -> int:
    """By how much the product that a layer gets was shifted: here the layer does that."""
    part, *rest = name.split(".")
    return shape.of(part)[int(rest[0])] if rest[-1:] == ["down"] and part != "dense" else 0


def _depthwise(name: str, layer: Layer, unit: np.ndarray) -> dict[str, np.ndarray]:
    kernel = (layer.weight.transpose(0, 3, 1, 2) * unit[:, None, None, None]).astype(np.float32)
    return {f"{name}.w": kernel, f"{name}.t": np.ascontiguousarray(kernel[:, :, ::-1, ::-1])}


def _matrix(name: str, layer: Layer, unit: np.ndarray) -> dict[str, np.ndarray]:
    weight = layer.weight[:, 0, 0]  # (outputs, inputs)
    real = weight * unit[:, None]
    scale = np.maximum(np.abs(real).max(0), 1e-12) / WEIGHT_LIMIT
    return {
        f"{name}.w": np.ascontiguousarray(weight.T),
        f"{name}.ws": unit.astype(np.float32),
        f"{name}.t": np.rint(real / scale).astype(np.int8),
        f"{name}.ts": scale.astype(np.float32),
    }


class Adjoint:
    """Errors of coefficients as tokens feel them. network: runs the graph."""

    def __init__(self, network: Network, dequantiser: Dequantiser):
        self.network, self.dequantiser = network, dequantiser

    def __call__(self, target: Target, state: State) -> Subbands:
        """State.felt and what the network adds to it: float32 (1, h, w, C), in steps.

        Times Weights.slope it is the gradient of lambda D over the tokens, but for their rounding.
        """
        gains = self.dequantiser.gains[target.quality - 1].astype(np.float32) / (1 << GAIN_BITS)
        position = float(self.dequantiser.positions[target.quality - 1]) - ZERO_POINT
        whole = Area(0, 0, *state.tokens.grid)
        out = state.felt.map(np.empty_like)
        for part in _strips(whole):
            around = part.grown(REACH, whole)
            seen, errors = crop(state.tokens, around), crop(state.felt, around)
            low, *details = (t * gains[level, : t.shape[-1]] for level, t in enumerate(seen))
            coefficients = Subbands(_contrast(low), tuple(details))
            maps = [np.ascontiguousarray(m, np.float32) for b in (coefficients, errors) for m in by_stride(b)]
            added = by_level(self.network(*maps, np.full((1, 1, 1, 1), position, np.float32)))
            added = Subbands(_contrast(added.low), added.details)
            inner = part.within(around)
            together = crop(errors.combine(np.add, added), inner)
            for place, own in crop(out, part).zip(together):
                place[...] = own
        return out


class Exact:
    """A source of slopes for rounds of updates: the exact slope of the distortion and proposals for the rest.

    proposals: those of a network that was trained beside the adjoint.
    """

    def __init__(self, adjoint: Adjoint, proposals: Proposals):
        self.adjoint, self.proposals = adjoint, proposals

    def __call__(self, target: Target, state: State, weights: Weights) -> Subbands:
        """The slopes of all tokens, float32."""
        return self.proposals(target, replace(state, felt=self.adjoint(target, state)), weights)


def _strips(whole: Area) -> Iterator[Area]:
    """Rows of sites, as many at a time as MOST allows."""
    rows = whole.h if whole.h * whole.w <= MOST else max(MOST // whole.w - 2 * REACH, LEAST_ROWS)
    count = -(-whole.h // rows)
    for k in range(count):
        start, end = whole.h * k // count, whole.h * (k + 1) // count
        yield Area(start, 0, end - start, whole.w)


def _contrast(low: np.ndarray) -> np.ndarray:
    """reconstruction.contrast of numbers that are not whole. But for the borders it is its own transpose."""
    _, h, w, _ = low.shape
    padded = np.pad(low, ((0, 0), (BOX // 2,) * 2, (BOX // 2,) * 2, (0, 0)), mode="edge")
    rows = np.sum([padded[:, k : k + h] for k in range(BOX)], 0)
    total = np.sum([rows[:, :, k : k + w] for k in range(BOX)], 0)
    return np.asarray((low - total / BOX**2) * (CONTRAST_FACTOR / (1 << CONTRAST_BITS)), np.float32)
