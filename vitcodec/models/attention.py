"""What a token attends to in an analysis network: the weights of every attention for its query, while the network runs.

The networks are not changed. A hook on every block with attention says where the token is among those that the block
works on. The weights come from the queries, keys and biases that it gives to torch's scaled_dot_product_attention.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from ..subbands import LEVELS
from .autoencoder import Autoencoder
from .blocks import WindowBlock
from .tokens import TransformerBlock, place_of


@dataclass(frozen=True)
class Attended:
    """What a token attends to in one block: rows x columns of keys, from (top, left) of the block's map on.

    Lengths are in tokens of the block. The shares of a head and its `outside` add up to 1.
    """

    layer: str  # the block's name in the analysis
    kind: str
    stride: int  # pixels along a side of a token
    row: int  # of the token
    column: int
    top: int
    left: int
    weights: Tensor  # (heads, rows, columns), the shares of the token's attention
    typical: Tensor  # the same, the mean over all tokens of the map that attend to these keys
    outside: Tensor  # (heads,), the share of the token's attention on keys that are not in the map


class _Place(NamedTuple):
    """Where a token is among those that a block works on."""

    call: int  # of the block, counted from 0
    batch: int
    token: int
    keys: Tensor  # (keys, 2), each key's row and column on the map, negative where it is not in it; no class tokens


def attended(autoencoder: Autoencoder, image: Tensor, step: Tensor, y: int, x: int) -> list[Attended]:
    """Of every block with attention in the analysis, in the order of the data.

    image: (1, H, W, 3) in 0..255, sides multiples of 32; step: (1,), in 8-bit levels. y, x: a pixel of the token.
    """
    if autoencoder.analysis is None:
        return []
    with ExitStack() as stack:
        recorder = _Recorder(autoencoder.analysis, image.shape[1], image.shape[2], y, x, stack)
        stack.enter_context(torch.no_grad())
        stack.enter_context(recorder)
        autoencoder.encode(image, step)
    return recorder.found


class _Recorder(TorchFunctionMode):
    """Sees every call of scaled_dot_product_attention in its thread."""

    def __init__(self, analysis: Any, height: int, width: int, y: int, x: int, stack: ExitStack):
        """stack: takes the hooks off the analysis again."""
        super().__init__()
        self.found: list[Attended] = []
        self._analysis, self._size, self._pixel, self._stack = analysis, (height, width), (y, x), stack
        self._thread = threading.get_ident()
        self._calls: dict[str, int] = {}
        self._current: Callable[..., Attended] | None = None  # of the block that runs, if the token is in its call
        inner = set[nn.Module]()
        for name, block in analysis.named_modules():
            if not getattr(block, "fused_attn", True):  # timm's, which can multiply by itself
                stack.callback(setattr, block, "fused_attn", False)
                block.fused_attn = True
            if isinstance(block, WindowBlock):
                self._watch(name, block, block.window, block.shift)
            elif hasattr(block, "shift_size"):  # timm's Swin
                inner.add(block.attn)
                self._watch(f"{name}.attn", block, block.window_size[0], block.shift_size[0], rolls=True)
            elif isinstance(block, TransformerBlock) or (hasattr(block, "num_heads") and block not in inner):
                self._watch(name, block)

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is F.scaled_dot_product_attention and self._current:
            self.found.append(self._current(*args, **(kwargs or {})))
        return func(*args, **(kwargs or {}))

    def _watch(self, name: str, block: nn.Module, window: int = 0, shift: int = 0, rolls: bool = False) -> None:
        """window: 0 where areas of sites attend."""
        kind = f"window attention {window}x{window}{', shifted' if shift else ''}" if window else "attention"

        def enter(block: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if threading.get_ident() != self._thread:  # others may run the same network
                return
            call = self._calls[name] = self._calls.get(name, -1) + 1
            stride = self._size[0] // inputs[0].shape[1] if window else 1 << LEVELS
            rows, columns, row, column = (n // stride for n in (*self._size, *self._pixel))
            place = (
                _in_windows(rows, columns, row, column, window, shift, rolls)
                if window
                else _in_areas(self._analysis, rows, columns, row, column)
            )

            def found(*arguments: Any, **options: Any) -> Attended:
                shares = _shares(place.batch, *arguments, **options).cpu()
                return Attended(name, kind, stride, row, column, *_on_map(shares, place))

            self._current = found if call == place.call else None

        def leave(*_: Any) -> None:
            if threading.get_ident() == self._thread:
                self._current = None

        self._stack.callback(block.register_forward_pre_hook(enter).remove)
        self._stack.callback(block.register_forward_hook(leave).remove)


def _shares(
    batch: int,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
) -> Tensor:
    """What scaled_dot_product_attention multiplies the values with: (heads, queries, keys), of one of the batch."""
    scores = query[batch] @ key[batch].mT * (scale or 1 / math.sqrt(query.shape[-1]))
    if attn_mask is not None:
        scores = scores + attn_mask.expand(len(query), *scores.shape)[batch]
    return scores.float().softmax(-1)


def _on_map(shares: Tensor, place: _Place) -> tuple[int, int, Tensor, Tensor, Tensor]:
    """Attended's top, left, weights, typical and outside. shares: (heads, queries, keys); queries are keys too."""
    classes = shares.shape[-1] - len(place.keys)  # before the others
    inside = F.pad((place.keys >= 0).all(1), (classes, 0))
    rows, columns = place.keys[inside[classes:]].T
    top, left = int(rows.min()), int(columns.min())

    def drawn(values: Tensor) -> Tensor:
        out = values.new_zeros(len(values), int(rows.max()) + 1 - top, int(columns.max()) + 1 - left)
        out[:, rows - top, columns - left] = values[:, inside]
        return out

    own = shares[:, classes + place.token]
    return top, left, drawn(own), drawn(shares[:, inside].mean(1)), own[:, ~inside].sum(1)


def _in_windows(rows: int, columns: int, row: int, column: int, window: int, shift: int, rolls: bool) -> _Place:
    """In a map of rows x columns that is cut into windows. The first begins `shift` tokens above and left of the map.

    rolls: where the others have padding there, timm's Swin has the other end of the map. Keys there count as not in
    the map.
    """

    def along(n: int, side: int) -> tuple[int, int, Tensor]:
        """The window that a line is in, its place there, and the window's lines."""
        at = (n - shift) % side if rolls else n + shift
        line = at // window * window + torch.arange(window)
        line = torch.where(line < side, (line + shift) % side, -1) if rolls else line - shift
        return at // window, at % window, torch.where((line < side) & ((line - n).abs() < window), line, -1)

    (down, i, lines), (across, j, others) = along(row, rows), along(column, columns)
    wide = -(-(columns if rolls else columns + shift) // window)
    return _Place(0, down * wide + across, i * window + j, torch.cartesian_prod(lines, others))


def _in_areas(analysis: Any, rows: int, columns: int, row: int, column: int) -> _Place:
    """In a map of rows x columns sites that by_areas cuts."""
    window = analysis.grid >> LEVELS
    pads = getattr(analysis, "timm", False)  # to whole areas
    height, width = (-(-n // window) * window if pads else n for n in (rows, columns))
    call, batch, (top, left, r, c) = place_of(height, width, window, row, column)
    lines, others = top + torch.arange(r), left + torch.arange(c)
    keys = torch.cartesian_prod(torch.where(lines < rows, lines, -1), torch.where(others < columns, others, -1))
    return _Place(call, batch, (row - top) * c + column - left, keys)
