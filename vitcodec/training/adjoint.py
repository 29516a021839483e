"""The adjoint of the decoder's network as a graph: what an error of its output means for its input, to first order.

The network of integer/synthesis.py is written out forward and then backward, in floating point without rounding. The
graph has no weights of its own: they are those of the
decoder, as search/adjoint.py lays them out.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Iterable
from itertools import zip_longest

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..dequantiser import LINEAR_BITS, LOG_UNIT, STEP_BITS
from ..integer.layers import Layer, Layers, under
from ..integer.ops import GATE_BITS, GATE_FACTOR
from ..integer.synthesis import BANDS, SynthesisShape
from ..layers import depth_to_space, space_to_depth
from ..search.adjoint import INPUTS, OUTPUTS, ZERO_SLOPE

OPSET, OPERATORS = 17, "com.microsoft"  # of ONNX, and ONNX Runtime's own operators
SLOPE = GATE_FACTOR / (1 << GATE_BITS)  # of the gates' hard sigmoid
Backward = Callable[[Tensor], Tensor]


class _Matrix(nn.Module):
    """A matrix product of maps (1, H, W, C), and its transpose.

    Weights are placeholders, all different: equal ones would be joined.
    """

    def __init__(self, layer: Layer):
        super().__init__()
        outputs, inputs = len(layer.weight), layer.inputs
        self.register_buffer("w", torch.rand(inputs, outputs))
        self.register_buffer("t", torch.rand(outputs, inputs))
        self.register_buffer("b", torch.rand(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w + self.b

    def back(self, gradient: Tensor) -> Tensor:
        return gradient @ self.t


class _Depthwise(nn.Module):
    """The same of a convolution of every channel by itself."""

    def __init__(self, layer: Layer):
        super().__init__()
        width, size = layer.weight.shape[:2]
        self.register_buffer("w", torch.rand(width, 1, size, size))
        self.register_buffer("t", torch.rand(width, 1, size, size))
        self.register_buffer("b", torch.rand(width))

    def forward(self, x: Tensor) -> Tensor:
        return self._convolved(x, self.w, self.b)

    def back(self, gradient: Tensor) -> Tensor:
        return self._convolved(gradient, self.t, None)

    @staticmethod
    def _convolved(x: Tensor, kernel: Tensor, bias: Tensor | None) -> Tensor:
        y = F.conv2d(x.permute(0, 3, 1, 2), kernel, bias, padding=kernel.shape[-1] // 2, groups=len(kernel))
        return y.permute(0, 2, 3, 1)


class _HardSigmoid(torch.autograd.Function):
    """clamp(slope x + 1/2, 0, 1), as one operator of the graph."""

    @staticmethod
    def forward(_ctx, x: Tensor, slope: float) -> Tensor:  # type: ignore[no-untyped-def, override]
        return (slope * x + 0.5).clamp(0, 1)

    @staticmethod
    def symbolic(g, x, slope: float):  # type: ignore[no-untyped-def]
        return g.op("HardSigmoid", x, alpha_f=slope, beta_f=0.5)


def _clamped(x: Tensor) -> Tensor:
    """As maps of 8 bits are: at fine qualities they would run away. On the way back that is left out."""
    return x.clamp(-128, 127)


def _hard_gelu(x: Tensor) -> Tensor:
    return x * _HardSigmoid.apply(x, SLOPE)  # type: ignore[no-untyped-call]


def _hard_gelu_back(x: Tensor) -> Tensor:
    """Again, on the way back: to keep it would take half as much memory again.

    The factor is another by a millionth, or ONNX Runtime would see that it is the same and keep it.
    """
    return x * _HardSigmoid.apply(x, SLOPE * (1 + 1e-6))  # type: ignore[no-untyped-call]


def _hard_gelu_slope(x: Tensor) -> Tensor:
    """About its derivative: 2 SLOPE x + 1/2, where the gate is neither closed nor open, but not below 0 or above 1."""
    return _HardSigmoid.apply(x, 2 * SLOPE)  # type: ignore[no-untyped-call, no-any-return]


class _Gated(nn.Module):
    """integer.ops.gated."""

    def __init__(self, layers: Layers):
        super().__init__()
        self.mix = _Depthwise(layers["mix"])
        self.gate, self.value, self.down = (_Matrix(layers[name]) for name in ("gate", "value", "down"))

    def forward(self, x: Tensor) -> tuple[Tensor, Backward]:
        y = self.mix(x)
        gate, value = self.gate(y), _clamped(self.value(y))

        def back(gradient: Tensor) -> Tensor:
            inner = self.down.back(gradient)
            mixed = self.gate.back(inner * value * _hard_gelu_slope(gate))
            return gradient + self.mix.back(mixed + self.value.back(inner * _hard_gelu_back(gate)))

        return _clamped(x + self.down(_hard_gelu(gate) * value)), back


class _Dense(nn.Module):
    """integer.ops.dense."""

    def __init__(self, layers: Layers):
        super().__init__()
        self.up, self.down = _Matrix(layers["up"]), _Matrix(layers["down"])

    def forward(self, x: Tensor) -> tuple[Tensor, Backward]:
        hidden = self.up(x)

        def back(gradient: Tensor) -> Tensor:
            return gradient + self.up.back(self.down.back(gradient) * _hard_gelu_slope(hidden))

        return _clamped(x + self.down(_hard_gelu(hidden))), back


def _through(blocks: Iterable[nn.Module], x: Tensor) -> tuple[Tensor, Backward]:
    """Blocks one after another."""
    steps: list[Backward] = []
    for block in blocks:
        x, step = block(x)
        steps.append(step)

    def back(gradient: Tensor) -> Tensor:
        for step in reversed(steps):
            gradient = step(gradient)
        return gradient

    return x, back


def _features(c: Tensor, position: Tensor) -> tuple[Tensor, Backward]:
    """reconstruction.Dequantiser.features of coefficients in steps, and the way back."""
    unit, n = 1 << (STEP_BITS - LINEAR_BITS), c.shape[-1]
    size = c.abs()
    linear, logarithm = (c * unit).clamp(-128, 127), LOG_UNIT * torch.log1p(size) * torch.sign(c)

    def back(gradient: Tensor) -> Tensor:
        slope = torch.where(size > 0, LOG_UNIT / (1 + size), ZERO_SLOPE * LOG_UNIT)
        inside = (size * unit < 127).to(c.dtype) * unit
        return gradient[..., :n] * inside + gradient[..., n : 2 * n] * slope

    place = position.expand(*c.shape[:3], 1)
    return torch.cat((linear, logarithm.clamp(-128, 127), place), -1), back


class AdjointNetwork(nn.Module):
    """Coefficients and errors at strides 4, 8, 16 -> what the network adds to the errors; maps (1, h, w, n) of BANDS.

    All in steps; the low band's coefficients relative to their surroundings. position: (1, 1, 1, 1), the network's
    input for the quality without its zero point. Modules are named as the layers of integer/synthesis.py.
    """

    def __init__(self, layers: Layers, shape: SynthesisShape):
        super().__init__()
        for name in ("input4", "input8", "input16", "to8", "to16", "from16", "from8", "output4", "output8", "output16"):
            setattr(self, name, _Matrix(layers[name]))
        for part in ("down4", "down8", "middle", "up8", "up4"):
            blocks = (_Gated(under(layers, f"{part}.{k}")) for k in range(len(shape.of(part))))
            setattr(self, part, nn.ModuleList(blocks))
        self.dense = nn.ModuleList(_Dense(under(layers, f"dense.{k}")) for k in range(shape.wide))

    def forward(
        self, c4: Tensor, c8: Tensor, c16: Tensor, e4: Tensor, e8: Tensor, e16: Tensor, position: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        (x4, in4), (x8, in8), (x16, in16) = (_features(c, position) for c in (c4, c8, c16))
        pairs = zip_longest(self.middle, self.dense)
        h4, down4 = _through(self.down4, self.input4(x4))
        h8, down8 = _through(self.down8, self.input8(x8) + self.to8(space_to_depth(h4)))
        h16 = self.input16(x16) + self.to16(space_to_depth(h8))
        h16, middle = _through((block for pair in pairs for block in pair if block is not None), h16)
        h8, up8 = _through(self.up8, h8 + depth_to_space(self.from16(h16)))
        _, up4 = _through(self.up4, h4 + depth_to_space(self.from8(h8)))
        e4, e8, e16 = (e / (1 << STEP_BITS) for e in (e4, e8, e16))
        g4 = up4(self.output4.back(e4))
        g8 = up8(self.output8.back(e8) + self.from8.back(space_to_depth(g4)))
        g16 = middle(self.output16.back(e16) + self.from16.back(space_to_depth(g8)))
        g8 = down8(g8 + depth_to_space(self.to16.back(g16)))
        g4 = down4(g4 + depth_to_space(self.to8.back(g8)))
        return in4(self.input4.back(g4)), in8(self.input8.back(g8)), in16(self.input16.back(g16))


@torch.no_grad()
def adjoint_graph(layers: Layers, shape: SynthesisShape) -> bytes:
    """The ONNX graph for a decoder, for pictures of any size, with products in 8 bits. Needs onnx."""
    samples = [torch.zeros(1, 4 * k, 6 * k, n) for k, n in zip((4, 2, 1), BANDS, strict=True)] * 2
    out = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            AdjointNetwork(layers, shape).eval(),
            (*samples, torch.zeros(1, 1, 1, 1)),
            out,
            input_names=list(INPUTS),
            output_names=list(OUTPUTS),
            dynamic_axes={name: {1: f"h_{name}", 2: f"w_{name}"} for name in INPUTS[:-1]},
            opset_version=OPSET,
            dynamo=False,
        )
    return _without_weights(out.getvalue())


def _without_weights(graph: bytes) -> bytes:
    """A graph whose weights are supplied when it is loaded, those of products in 8 bits."""
    import onnx
    from onnx import TensorProto, helper

    model = onnx.load_from_string(graph)
    own = model.graph
    shapes = {tensor.name: list(tensor.dims) for tensor in own.initializer}
    weights = {name for name in shapes if name.rpartition(".")[2] in ("w", "t", "b")}
    kinds = dict.fromkeys(weights, TensorProto.FLOAT)
    adds = {node.input[k]: node for node in own.node if node.op_type == "Add" for k in (0, 1) if _bias(node, weights)}
    nodes, fused = [], set()
    for node in own.node:
        if node.op_type == "MatMul" and node.input[1] in weights:
            x, weight = node.input
            kinds[weight], kinds[f"{weight}s"] = TensorProto.INT8, TensorProto.FLOAT
            shapes[f"{weight}s"] = shapes[weight][1:]
            inputs, output = [x, weight, f"{weight}s"], node.output[0]
            if add := adds.get(output):
                inputs, output = [*inputs, "", _bias(add, weights)], add.output[0]
                fused.add(output)
            nodes.append(helper.make_node("DynamicQuantizeMatMul", inputs, [output], domain=OPERATORS))
        elif node.output[0] not in fused:
            nodes.append(node)
    kept = [tensor for tensor in own.initializer if tensor.name not in weights]
    del own.node[:], own.initializer[:]
    own.node.extend(nodes)
    own.initializer.extend(kept)
    for name, kind in sorted(kinds.items()):
        tensor = TensorProto(name=name, data_type=kind, dims=shapes[name], data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="supplied")
        own.initializer.append(tensor)
    model.opset_import.append(helper.make_opsetid(OPERATORS, 1))
    return model.SerializeToString()


def _bias(node: object, weights: set[str]) -> str:
    """The biases that an Add node adds; empty where it adds none."""
    return next((name for name in node.input if name in weights), "")  # type: ignore[attr-defined]
