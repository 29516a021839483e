"""Promise 1: tokens are exact everywhere. The integer networks give the same numbers however they are summed."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from vitcodec import layers
from vitcodec.codec import Codec
from vitcodec.context import integer
from vitcodec.context.integer import ACTIVATION_LIMIT, EXACT, WEIGHT_LIMIT, IntegerDense, IntegerLinear, IntegerResidual
from vitcodec.errors import WeightsError
from vitcodec.quality import round_tokens
from vitcodec.subbands import Subbands


@pytest.fixture(scope="session")
def codec(floating):
    return floating


def same(a: Subbands, b: Subbands) -> bool:
    return all(torch.equal(x, y) for x, y in a.zip(b))


@pytest.fixture(scope="module")
def encoded(codec: Codec, picture) -> tuple[bytes, Subbands]:
    """A file, and the tokens that the encoder itself coded."""
    data = codec.encode(picture, quality=45, effort=1)
    return data, codec.encoded_tokens(picture, quality=45, effort=1)


def test_decoder_reads_what_the_encoder_coded(codec, encoded):
    data, coded = encoded
    assert same(codec.tokens(data), coded)
    assert any((d != 0).any() for d in coded.details)


def test_scales_are_fitted_to_the_picture(codec):
    """A kind of noise that no photograph has: the networks mispredict its scales, and the offsets in the stream say by
    how much.
    """
    noise = np.random.default_rng(0).uniform(-1, 1, (128, 128, 1)) ** 5 * 100 + 128
    image = torch.from_numpy(np.repeat(noise, 3, 2).round()).float()[None]
    point = codec.entropy.point(60, codec.autoencoder.steps)
    with torch.no_grad():
        tokens = round_tokens(codec.autoencoder.encode(image, point.step), 0.1)
    plain, fitted = (codec.entropy.encode(tokens, point, fit_scales=fit) for fit in (False, True))
    assert sum(map(len, fitted[0].values())) < 0.99 * sum(map(len, plain[0].values()))
    for payloads, coded in (plain, fitted):
        assert same(codec.entropy.decode(payloads, point, 8, 8), coded)


def test_certain_zeros_are_left_out_only_where_that_costs_less(codec):
    """Values that look certain to be zero, on a pattern, are not; on a flat picture they are."""
    y, x = np.mgrid[:64, :64]
    pattern = np.repeat((((x + y) % 4 != 0) * 255.0)[..., None], 3, 2)
    point = codec.entropy.point(90, codec.autoencoder.steps)
    with torch.no_grad():
        tokens = round_tokens(codec.autoencoder.encode(torch.from_numpy(pattern).float()[None], point.step), 0.1)
    _, coded = codec.entropy.encode(tokens, point)  # unless told what a loss costs, nothing is lost
    assert same(coded, tokens)
    free, dear = (codec.entropy.encode(tokens, point, loss=np.full((5, 9), cost)) for cost in (0, 1e3))
    assert not same(free[1], tokens) and same(dear[1], tokens)
    for payloads, coded in (free, dear):
        assert same(codec.entropy.decode(payloads, point, 4, 4), coded)
    flat = tokens.map(torch.zeros_like)
    explicit = sum(map(len, codec.entropy.encode(flat, point)[0].values()))
    assert explicit < 40  # 12,096 values


@pytest.mark.parametrize("threads", [1, 2])
def test_any_number_of_threads(codec, encoded, threads):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        assert same(codec.tokens(encoded[0]), encoded[1])
    finally:
        torch.set_num_threads(before)


def test_any_number_of_rows_at_once(codec, encoded, monkeypatch):
    """Networks that look at each site by itself take some rows at a time; the pixels are the same but for rounding."""
    pictures = []
    for sites in (1, 300, 10**9):
        monkeypatch.setattr(layers, "SITES_AT_ONCE", sites)
        assert same(codec.tokens(encoded[0]), encoded[1])
        pictures.append(codec.decode(encoded[0]).rgb.astype(int))
    assert max(np.abs(p - pictures[-1]).max() for p in pictures) <= 1


def numpy_product(x, weight, bias):
    """The reference: plain int64, where nothing can be rounded."""
    out = x.numpy().astype(np.int64) @ weight.numpy().astype(np.int64).T + bias.numpy().astype(np.int64)
    assert np.abs(out).max(initial=0) < EXACT
    return torch.from_numpy(out.astype(np.float32))


def test_numpy_int64_reference(codec, encoded, monkeypatch):
    monkeypatch.setattr(integer, "product", numpy_product)
    assert same(codec.tokens(encoded[0]), encoded[1])


def test_shuffled_order_of_summation(codec, encoded, monkeypatch):
    generator = torch.Generator().manual_seed(5)

    def shuffled(x, weight, bias):
        order = torch.randperm(weight.shape[1], generator=generator)
        half = len(order) // 2
        parts = [x[..., o].contiguous() @ weight[:, o].T for o in (order[:half], order[half:])]
        return parts[1] + bias + parts[0]

    monkeypatch.setattr(integer, "product", shuffled)
    assert same(codec.tokens(encoded[0]), encoded[1])


def test_fresh_process(codec, encoded, tmp_path):
    data, coded = encoded
    (tmp_path / "a.vitc").write_bytes(data)
    program = (
        "import sys, torch; from vitcodec.codec import Codec; torch.set_num_threads(1);"
        "t = Codec.load('cnn', 'cpu').tokens(open(sys.argv[1], 'rb').read()); "
        "torch.save([t.low, *t.details], sys.argv[2])"
    )
    subprocess.run([sys.executable, "-c", program, tmp_path / "a.vitc", tmp_path / "t.pt"], check=True, timeout=120)
    low, *details = torch.load(tmp_path / "t.pt", weights_only=True)
    assert same(Subbands(low, tuple(details)), coded)


def test_every_layer_at_the_limits_of_its_range(codec):
    """The largest and smallest sums that each shipped layer can meet, against int64."""
    linear = [m for m in codec.entropy.context.modules() if isinstance(m, IntegerLinear)]
    assert len(linear) > 100
    for layer in linear:
        sign = torch.where(layer.weight < 0, -1.0, 1.0)  # row r of the inputs drives output r to its limit
        for x in (sign * ACTIVATION_LIMIT, -sign * ACTIVATION_LIMIT):
            assert torch.equal(integer.product(x, layer.weight, layer.bias), numpy_product(x, layer.weight, layer.bias))


def test_rounding_between_layers_matches_int64():
    """floor((x W + b) / 2^shift) against int64 shifts, with sums up to the very bound."""
    rng = np.random.default_rng(0)
    layer = IntegerDense(518, 64)
    layer.weight.copy_(torch.from_numpy(rng.choice([-WEIGHT_LIMIT, WEIGHT_LIMIT], (64, 518)).astype(np.float32)))
    shift = rng.integers(0, 20, 64)
    layer.scale.copy_(torch.from_numpy(2.0**-shift).float())
    layer.bias.copy_(torch.from_numpy(rng.integers(-1000, 1000, 64).astype(np.float32)))
    layer.check("test")
    x = torch.from_numpy(rng.integers(-255, 256, (500, 518)).astype(np.float32))
    x[:64] = torch.sign(layer.weight) * 255
    wide = x.numpy().astype(np.int64) @ layer.weight.numpy().astype(np.int64).T + layer.bias.numpy().astype(np.int64)
    assert np.array_equal(layer(x).numpy(), np.clip(wide >> shift, 0, 255))


@pytest.mark.parametrize("spoil", ["weight", "fraction", "scale", "sum", "identity"])
def test_layers_that_could_round_are_refused(spoil):
    layer = IntegerResidual(300)
    if spoil == "weight":
        layer.expand.weight[0, 0] = 128
    elif spoil == "fraction":
        layer.expand.bias[0] = 0.5
    elif spoil == "scale":
        layer.expand.scale[0] = 0.3
    elif spoil == "sum":
        layer.expand.bias[0] = EXACT
    else:
        layer.identity[0] = EXACT / 255
    with pytest.raises(WeightsError):
        layer.check("residual")
        layer.expand.check("expand")
    IntegerResidual(300).check("fine")


def test_fixed_point_lowpass_is_close_to_the_float_one():
    """The integer lifting of the decoder's context follows the wavelet to a few sixteenths of a step."""
    from vitcodec import wavelet

    torch.manual_seed(0)
    low, details = torch.randint(-200, 200, (1, 8, 8, 3)).int(), torch.randint(-20, 20, (1, 8, 8, 9)).int()
    exact = wavelet.merge(low.double(), details.double())
    fixed = wavelet.merge(low << 4, details << 4, wavelet.times_fixed_point) / 16
    assert (exact - fixed).abs().max() < 0.5
