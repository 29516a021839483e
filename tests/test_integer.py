"""Networks of small integers: NumPy's reference, torch and ONNX Runtime give the same numbers, on any layer."""

from __future__ import annotations

import numpy as np
import onnxruntime
import pytest
import torch

from vitcodec.errors import WeightsError
from vitcodec.integer import ops as blocks
from vitcodec.integer import synthesis
from vitcodec.integer.layers import ZERO_POINT, Layer, from_tensors, to_tensors
from vitcodec.integer.onnx_ops import build
from vitcodec.integer.reference import ReferenceOps, divided
from vitcodec.integer.torch_ops import TorchOps


def random_layer(rng, inputs, outputs, size=1, signs=(True, True), depthwise=False, worst=False):
    shape = (outputs, size, size, 1 if depthwise else inputs)
    weight = rng.integers(-64, 65, shape)
    if worst:
        weight[:] = rng.choice([-64, 64], (outputs, 1, 1, 1))
    products = weight[0].size
    spread = 255 * products if worst else 64 * products**0.5  # of the sums over a weight
    shift = rng.integers(0, 4, outputs) + int(np.log2(64 * spread / 200))
    bias = rng.integers(-9999, 9999, outputs)
    return Layer(weight.astype(np.int8), bias.astype(np.int32), shift.astype(np.uint8), *signs)


def run_all(network, maps):
    """The results of each engine. maps: name -> (values, signed)."""
    names = [f"y{k}" for k in range(9)]
    expected = network(ReferenceOps(), *(values.astype(np.int64) for values, _ in maps.values()))
    by_torch = network(TorchOps(), *(torch.from_numpy(values).float() for values, _ in maps.values()))
    kinds = {name: (values.shape[-1], signed) for name, (values, signed) in maps.items()}
    model = build(network, kinds, names[: len(expected)])
    feeds = {name: (values + ZERO_POINT * signed).astype(np.uint8) for name, (values, signed) in maps.items()}
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    by_onnx = session.run(None, feeds)
    for wanted, a, b in zip(expected, by_torch, by_onnx, strict=True):
        b = b.astype(np.int64)
        if wanted.min() < 0 and b.min() >= 0:  # a signed 8-bit map
            b -= ZERO_POINT
        yield wanted, a.detach().numpy().astype(np.int64), b


def check(network, maps):
    for wanted, by_torch, by_onnx in run_all(network, maps):
        assert len(np.unique(wanted)) > 2
        np.testing.assert_array_equal(by_torch, wanted)
        np.testing.assert_array_equal(by_onnx, wanted)


def signed_map(rng, h, w, c):
    return rng.integers(-128, 128, (1, h, w, c)), True


def unsigned_map(rng, h, w, c):
    return rng.integers(0, 256, (1, h, w, c)), False


@pytest.mark.parametrize("worst", [False, True])
@pytest.mark.parametrize("signs", [(True, True), (True, False), (False, True), (False, False)])
def test_layers_are_the_same_everywhere(signs, worst):
    rng = np.random.default_rng(0)
    product = random_layer(rng, 70, 40, signs=signs, worst=worst)
    mixing = random_layer(rng, 70, 70, 5, signs, depthwise=True, worst=worst)

    def network(ops, x):
        return ops.convolve(x, product), ops.convolve(x, mixing), ops.sums(x, product)

    x = (signed_map if signs[0] else unsigned_map)(rng, 7, 9, 70)
    if worst:
        x[0][:, :4] = 127 if signs[0] else 255
        x[0][:, 4:] = -128 if signs[0] else 0
    check(network, {"x": x})


def test_gates_and_sums_are_the_same_everywhere():
    rng = np.random.default_rng(1)

    def network(ops, x, y, u):
        products = [ops.multiply(x, y, shift, signed=True) for shift in (3, 6, 7)]
        return [
            *products,
            ops.add(x, y),
            ops.add(u, x, signed=False),
            ops.hard_sigmoid(x),
            ops.multiply(x, u, 8, signed=False),
            blocks.hard_gelu(ops, x),
            ops.depth_to_space(ops.space_to_depth(y)),
        ]

    maps = {"x": signed_map(rng, 6, 8, 8), "y": signed_map(rng, 6, 8, 8), "u": unsigned_map(rng, 6, 8, 8)}
    check(network, maps)


def test_rounding_is_half_to_even():
    x = np.array([-5, -3, -1, 1, 3, 5, 6, 7])
    np.testing.assert_array_equal(divided(x, np.int64(1)), [-2, -2, 0, 0, 2, 2, 3, 4])
    np.testing.assert_array_equal(divided(x, np.int64(0)), x)


def small_synthesis(rng):
    """A whole network with few channels."""
    widths = {4: 8, 8: 12, 16: 16}
    layers = {}
    for stride, features in zip(widths, synthesis.FEATURES, strict=True):
        layers[f"input{stride}"] = random_layer(rng, features, widths[stride])
    layers["to8"], layers["to16"] = random_layer(rng, 32, 12), random_layer(rng, 48, 16)
    layers["from16"], layers["from8"] = random_layer(rng, 16, 48), random_layer(rng, 12, 32)
    for part, width, size in (
        ("down4.0", 8, 5),
        ("down8.0", 12, 5),
        ("middle.0", 16, 7),
        ("middle.1", 16, 5),
        ("up8.0", 12, 5),
        ("up4.0", 8, 5),
    ):
        layers[f"{part}.mix"] = random_layer(rng, width, width, size, depthwise=True)
        layers[f"{part}.gate"], layers[f"{part}.value"] = (random_layer(rng, width, 2 * width) for _ in range(2))
        layers[f"{part}.down"] = random_layer(rng, 2 * width, width)
    layers["dense.0.up"], layers["dense.0.down"] = random_layer(rng, 16, 32), random_layer(rng, 32, 16)
    for stride, width, bands in zip(widths, widths.values(), synthesis.BANDS, strict=True):
        layers[f"output{stride}"] = random_layer(rng, width, bands)
    return layers, synthesis.SynthesisShape((1, 1), 1, 1, (7, 6, 7, 5, 7, 7))


def test_the_synthesis_is_the_same_everywhere():
    rng = np.random.default_rng(2)
    layers, shape = small_synthesis(rng)

    def whole(ops, x4, x8, x16):
        h4, h8, h16 = synthesis.down(ops, x4, x8, x16, layers, shape)
        return synthesis.up(ops, h4, h8, synthesis.middle(ops, h16, layers, shape), layers, shape)

    maps = {f"x{s}": signed_map(rng, 48 // s, 64 // s, f) for s, f in zip((4, 8, 16), synthesis.FEATURES, strict=True)}
    check(whole, maps)


def test_layers_are_stored_and_checked():
    rng = np.random.default_rng(3)
    layers, _ = small_synthesis(rng)
    tensors = to_tensors(layers)
    for name, layer in from_tensors(tensors).items():
        np.testing.assert_array_equal(layer.weight, layers[name].weight)
        assert layer.signed_input == layers[name].signed_input
    del tensors["to8.bias"]
    with pytest.raises(WeightsError, match="to8"):
        from_tensors(tensors)
    tensors = to_tensors(layers)
    tensors["to8.weight"] = np.full_like(tensors["to8.weight"], 65)
    with pytest.raises(WeightsError, match="to8"):
        from_tensors(tensors)


def test_the_gradient_passes_rounding_and_stops_at_clamps():
    layer = Layer(np.full((1, 1, 1, 1), 64, np.int8), np.zeros(1, np.int32), np.array([5], np.uint8), True, True)
    x = torch.tensor([3.0, 100.0]).view(1, 1, 2, 1).requires_grad_()
    TorchOps().convolve(x, layer).sum().backward()
    assert x.grad is not None and x.grad.flatten().tolist() == [2.0, 0.0]
