"""The enhancement network of integers, described once for every engine: convolutions over the decoded pixels.

Its input is made in vitcodec/enhancement.py, at stride 2: a site has four pixels of the three colour planes. There are
no gates and no strides, so that every engine runs it fast: a layer, blocks that add to its output, and a last layer.
"""

from __future__ import annotations

from .catalogue import Network
from .layers import Layers
from .ops import Ops, T

PIXELS = 4 * 3  # numbers of a site: 2x2 pixels of three planes
FEATURES = 2 * PIXELS + 1  # each pixel as it is and against its surroundings, and the quality
ENTER, LEAVE = "enter", "leave"


def enhance(ops: Ops[T], x: T, layers: Layers) -> T:
    """FEATURES channels, signed -> what is added to the pixels of each site, PIXELS sums in parts of a step."""
    h = ops.convolve(x, layers[ENTER])
    for k in range(block_count(layers)):
        h = ops.add(h, ops.convolve(h, layers[block_name(k)]), signed=False)
    return ops.sums(h, layers[LEAVE])


def block_name(k: int) -> str:
    """The layer of a block, counted from 0."""
    return f"block{k}"


def block_count(layers: Layers) -> int:
    """How many blocks there are."""
    return len(layers) - 2


def layer_names(layers: Layers) -> list[str]:
    """In the order of computation."""
    return [ENTER, *(block_name(k) for k in range(block_count(layers))), LEAVE]


def reach(layers: Layers) -> int:
    """How many sites around each its result depends on."""
    return sum(layer.weight.shape[1] // 2 for layer in layers.values())


def fits(layers: Layers) -> bool:
    """Whether layers are those of such a network."""
    names = layer_names(layers)
    if sorted(layers) != sorted(names) or len(layers) < 2:
        return False
    width = len(layers[ENTER].weight)
    first, *blocks, last = (layers[name] for name in names)
    return (
        (first.inputs, first.signed_input, first.signed_output) == (FEATURES, True, False)
        and all(
            (len(b.weight), b.inputs, b.signed_input, b.signed_output) == (width, width, False, True) for b in blocks
        )
        and (len(last.weight), last.inputs, last.signed_input, last.weight.shape[1]) == (PIXELS, width, False, 1)
        and all(layer.groups == 1 for layer in layers.values())
    )


def enhancement_network(layers: Layers) -> Network:
    """The network for the catalogue."""
    return Network(lambda ops, x: [enhance(ops, x, layers)], {"x": (FEATURES, True)}, {"sums": None})
