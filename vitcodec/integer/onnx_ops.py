"""The operations as nodes of an ONNX graph, for ONNX Runtime. Used to export models; needs the package `onnx`.

8-bit maps are uint8 in the graph, signed ones with a zero point of 128. All scales are powers of two, so that ONNX
Runtime's rescaling in float32 is exact.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from .catalogue import Network
from .layers import ZERO_POINT, Layer
from .ops import GATE_FACTOR, GATE_HALF

MICROSOFT = "com.microsoft"  # the domain of ONNX Runtime's own operators
OPSET, IR_VERSION = 18, 9


@dataclass(frozen=True)
class Value:
    """A map in the graph."""

    name: str
    channels: int
    signed: bool


class OnnxOps:
    """Builds a graph: every operation appends nodes and returns the name of what they compute."""

    def __init__(self) -> None:
        self.nodes: list = []
        self.constants: dict[str, np.ndarray] = {}
        self._layers: dict[tuple[int, bool], tuple[Layer, str]] = {}

    def input(self, name: str, channels: int, signed: bool) -> Value:
        return Value(name, channels, signed)

    def convolve(self, x: Value, layer: Layer) -> Value:
        assert x.signed == layer.signed_input and x.channels == layer.inputs
        prefix = self._weights(layer)
        size = layer.weight.shape[1]
        inputs = [x.name, self._one, self._zero(x.signed), f"{prefix}.weight", f"{prefix}.scale", f"{prefix}.zero"]
        inputs += [self._one, self._zero(layer.signed_output), f"{prefix}.bias"]
        shape = {"kernel_shape": [size] * 2, "pads": [size // 2] * 4, "group": layer.groups, "channels_last": 1}
        return self._value("QLinearConv", inputs, len(layer.weight), layer.signed_output, MICROSOFT, **shape)

    def sums(self, x: Value, layer: Layer) -> Value:
        """float32 in the graph."""
        assert x.signed == layer.signed_input and layer.weight.shape[1] == 1
        prefix = self._weights(layer, transposed=True)
        rows = self._node("Reshape", [x.name, self._constant("rows", np.array([-1, x.channels]))])
        inputs = [rows, self._one, self._zero(x.signed), f"{prefix}.weight", f"{prefix}.scale", f"{prefix}.zero"]
        sums = self._node("QGemm", [*inputs, f"{prefix}.bias"], MICROSOFT)
        outputs = len(layer.weight)
        site = self._node("Shape", [x.name], start=0, end=3)
        shape = self._node("Concat", [site, self._constant("channels", np.array([outputs]))], axis=0)
        return self._value("Round", [self._node("Reshape", [sums, shape])], outputs, True)

    def add(self, x: Value, y: Value, signed: bool = True) -> Value:
        assert x.channels == y.channels and x.signed == signed and y.signed
        inputs = [x.name, self._one, self._zero(x.signed), y.name, self._one, self._zero(True)]
        return self._value("QLinearAdd", [*inputs, self._one, self._zero(signed)], x.channels, signed, MICROSOFT)

    def hard_sigmoid(self, x: Value) -> Value:
        assert x.signed
        factor = self._constant("gate_factor", np.float32(GATE_FACTOR))
        half = self._constant("gate_half", np.uint8(GATE_HALF))
        inputs = [x.name, factor, self._zero(True), half, self._one, self._zero(False), self._one, self._zero(False)]
        return self._value("QLinearAdd", inputs, x.channels, False, MICROSOFT)

    def multiply(self, x: Value, y: Value, shift: int, signed: bool) -> Value:
        assert x.channels == y.channels and x.signed and y.signed == signed
        scale = self._constant(f"scale_{shift}", np.float32(2.0**shift))
        inputs = [x.name, self._one, self._zero(True), y.name, self._one, self._zero(signed), scale, self._zero(True)]
        return self._value("QLinearMul", inputs, x.channels, True, MICROSOFT)

    def space_to_depth(self, x: Value) -> Value:
        blocks = self._shaped(x, [1, None, 2, None, 2, x.channels], [1, 2, 2], divide=True)
        turned = self._node("Transpose", [blocks], perm=[0, 1, 3, 2, 4, 5])
        name = self._shaped(x, [1, None, None, 4 * x.channels], [1, 2, 2], divide=True, source=turned)
        return Value(name, 4 * x.channels, x.signed)

    def depth_to_space(self, x: Value) -> Value:
        channels = x.channels // 4
        blocks = self._node("Reshape", [x.name, self._constant("d2s", np.array([0, 0, 0, 2, 2, channels]))])
        turned = self._node("Transpose", [blocks], perm=[0, 1, 3, 2, 4, 5])
        name = self._shaped(x, [1, None, None, channels], [1, 2, 2], divide=False, source=turned)
        return Value(name, channels, x.signed)

    def _shaped(
        self, x: Value, shape: Sequence[int | None], factors: Sequence[int], divide: bool, source: str = ""
    ) -> str:
        """Reshape `source`, or x, such that None stands for height and width of x, halved or doubled."""
        sides = self._node("Shape", [x.name], start=1, end=3)
        factor = self._constant("two", np.array(factors[1:]))
        sides = self._node("Div" if divide else "Mul", [sides, factor])
        parts, known = [], iter(range(2))
        for side in shape:
            if side is None:
                k = next(known)
                bounds = [self._constant(f"at_{v}", np.array([v])) for v in (k, k + 1)]
                parts.append(self._node("Slice", [sides, *bounds]))
            else:
                parts.append(self._constant(f"side_{side}", np.array([side])))
        return self._node("Reshape", [source or x.name, self._node("Concat", parts, axis=0)])

    def _weights(self, layer: Layer, transposed: bool = False) -> str:
        """The prefix of a layer's constants: weight, scale, zero point and bias."""
        key = id(layer), transposed
        if key in self._layers:
            return self._layers[key][1]
        prefix = f"layer_{len(self._layers)}"
        self._layers[key] = layer, prefix
        weight = layer.weight.transpose(0, 3, 1, 2)
        outputs = len(weight)
        # QGemm takes (inputs, outputs)
        self.constants[f"{prefix}.weight"] = np.ascontiguousarray(weight[:, :, 0, 0].T if transposed else weight)
        self.constants[f"{prefix}.scale"] = (2.0 ** -layer.shift.astype(np.float64)).astype(np.float32)
        self.constants[f"{prefix}.zero"] = np.zeros(outputs, np.int8)
        self.constants[f"{prefix}.bias"] = layer.bias.astype(np.int32)
        return prefix

    @property
    def _one(self) -> str:
        return self._constant("one", np.float32(1))

    def _zero(self, signed: bool) -> str:
        return self._constant(f"zero_{int(signed)}", np.uint8(ZERO_POINT if signed else 0))

    def _constant(self, name: str, value: np.ndarray | np.generic) -> str:
        value = np.asarray(value)
        same = name if value.ndim == 0 else f"{name}_{'_'.join(map(str, value.ravel()))}"
        self.constants[same] = value
        return same

    def _node(self, kind: str, inputs: list[str], domain: str = "", **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], domain=domain, **attributes))
        return name

    def _value(
        self, kind: str, inputs: list[str], channels: int, signed: bool, domain: str = "", **attributes: Any
    ) -> Value:
        return Value(self._node(kind, inputs, domain, **attributes), channels, signed)


def build(
    network: Callable[..., Sequence[Value]],
    inputs: dict[str, tuple[int, bool]],
    outputs: Sequence[str],
    height: int | None = None,
) -> bytes:
    """A network as an ONNX model.

    network: takes OnnxOps and a Value for each input. inputs: channels of each, and whether it is signed.
    outputs: their names; sums are float32, maps uint8.
    """
    ops = OnnxOps()
    results = network(ops, *(ops.input(name, *kind) for name, kind in inputs.items()))
    sums = {node.output[0] for node in ops.nodes if node.op_type == "Round"}
    named = []
    for value, name in zip(results, outputs, strict=True):
        ops.nodes.append(helper.make_node("Identity", [value.name], [name]))
        kind = TensorProto.FLOAT if value.name in sums else TensorProto.UINT8
        named.append(helper.make_tensor_value_info(name, kind, [1, None, None, value.channels]))
    graph = helper.make_graph(
        ops.nodes,
        "network",
        [
            helper.make_tensor_value_info(name, TensorProto.UINT8, [1, None, None, channels])
            for name, (channels, _) in inputs.items()
        ],
        named,
        [numpy_helper.from_array(value, name) for name, value in ops.constants.items()],
    )
    opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString()


def graph_of(network: Network) -> bytes:
    """A network of the catalogue as an ONNX model."""
    return build(network.function, dict(network.inputs), list(network.outputs))
