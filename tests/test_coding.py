"""The coding pass without torch: the same payloads by every engine, tokens come back, damage is seen."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_context import (
    COLUMNS,
    FLAGGED,
    PLAIN,
    ROWS,
    STEP,
    entropy_model,
    float_model,
    rounded,
    sparse_tokens,
)

from vitcodec import fixed_point
from vitcodec.bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SCALE_LOW, SHAPE_UNIT
from vitcodec.coding.entropy import CodingPoint
from vitcodec.coding.groups import block_flags
from vitcodec.coding.maps import COEFFICIENT_LIMIT, LookUp, difference, log_thresholds
from vitcodec.coding.prediction import predict
from vitcodec.coding.tables import FLAG_UNIT
from vitcodec.context.arithmetic import FloatArithmetic
from vitcodec.context.density import RateEstimator, bits, flag_bits
from vitcodec.engines.onnx import OnnxEngine
from vitcodec.engines.reference import ReferenceEngine
from vitcodec.engines.torch import TorchEngine
from vitcodec.errors import FormatError
from vitcodec.integer.onnx_ops import graph_of
from vitcodec.quality import step_of
from vitcodec.subbands import Subbands
from vitcodec.training.coding_tables import fit_coding_tables, with_tables
from vitcodec.training.rounded_context import _Arithmetic

QUALITY = min(range(1, 101), key=lambda q: abs(step_of(q) - STEP.item()))


@pytest.fixture(scope="module", params=[FLAGGED, PLAIN], ids=["flags", "plain"])
def model(request):
    networks, _ = rounded(request.param)
    return entropy_model(OnnxEngine({name: graph_of(n) for name, n in networks.items()}), request.param)


@pytest.fixture(scope="module")
def flagged():
    networks, _ = rounded()
    return entropy_model(OnnxEngine({name: graph_of(n) for name, n in networks.items()}))


def same(a: Subbands, b: Subbands) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in a.zip(b))


def full(value: int) -> Subbands:
    return sparse_tokens().map(lambda t: np.full_like(t, value))


def extremes() -> Subbands:
    rng = np.random.default_rng(3)
    return sparse_tokens().map(
        lambda t: rng.choice([-COEFFICIENT_LIMIT, 0, 1, COEFFICIENT_LIMIT], t.shape).astype("i4")
    )


def overdue() -> Subbands:
    """Blocks with values in the last phase alone, and not in its first channel."""
    rng, tokens = np.random.default_rng(4), sparse_tokens()
    for level in (1, 2):
        tokens[level][...] = 0
        last = tokens[level][:, 1::2, ::2, 1:3]
        last[...] = rng.choice([-3, -1, 0, 0, 0, 1, 2, 3], last.shape)
    return tokens


@pytest.mark.parametrize(
    "tokens", [sparse_tokens(), sparse_tokens(2, 2, 1), full(0), full(-7), extremes(), overdue()], ids=range(6)
)
def test_tokens_come_back(model, tokens):
    point = model.point(QUALITY)
    payloads, coded = model.encode(tokens, point)
    assert same(coded, tokens)
    assert same(model.decode(payloads, point, *tokens.grid), tokens)


def test_values_that_no_file_can_hold_are_clipped(flagged):
    point = flagged.point(QUALITY)
    payloads, coded = flagged.encode(full(40000), point)
    assert same(coded, full(COEFFICIENT_LIMIT))
    assert same(flagged.decode(payloads, point, ROWS, COLUMNS), coded)


def test_payloads_are_the_same_by_every_engine(flagged):
    networks, _ = rounded()
    tokens, point = sparse_tokens(), flagged.point(QUALITY)
    payloads, _ = flagged.encode(tokens, point)
    for engine in (ReferenceEngine(networks), TorchEngine(networks)):
        other = entropy_model(engine)
        assert other.encode(tokens, point)[0] == payloads
        assert same(other.decode(payloads, point, *tokens.grid), tokens)


def test_predictions_are_close_to_those_of_the_float_model(flagged):
    """In bits, by level; a wrong order of inputs or outputs would cost tens of percent."""
    context, tokens = float_model(), sparse_tokens(8, 8, 5)
    maps = flagged.predict(tokens, flagged.point(QUALITY))
    floats, step = tokens.map(lambda t: torch.from_numpy(t).float()), torch.tensor([step_of(QUALITY)])
    meter = RateEstimator(floats, floats, context.base, step)
    context.autoregressive_pass(FloatArithmetic(), context.step_features(step), 8, 8, meter)
    values, flags = 0.0, 0.0
    for level in range(5):
        mean, scale, shape = (torch.from_numpy(m[level]).float() for m in (maps.mean, maps.scale, maps.shape))
        symbols = torch.from_numpy(maps.symbols[level]).float()
        cost = bits(symbols, mean / MEAN_UNIT, SCALE_LOW + scale * LOG_SCALE_UNIT, shape * SHAPE_UNIT)
        if level in maps.logits:
            known = torch.from_numpy(block_flags(tokens[level])).float()
            known = known.view(1, *maps.logits[level].shape[1:3], 2)
            flags += flag_bits(known, torch.from_numpy(maps.logits[level]) * FLAG_UNIT).sum().item()
            spread = known.repeat_interleave(2, 1).repeat_interleave(2, 2)
            cost = cost * torch.cat((spread[..., :1].expand(-1, -1, -1, 3), spread[..., 1:].expand(-1, -1, -1, 6)), -1)
        values += cost.sum().item()
    assert flags == pytest.approx(meter.flag_bits().item(), rel=0.02)
    assert values == pytest.approx((meter.bits() - meter.flag_bits()).item(), rel=0.02)


@pytest.mark.parametrize("finest", [2, 3, 4])
def test_fine_levels_need_not_be_read(model, finest):
    tokens, point = sparse_tokens(), model.point(QUALITY)
    payloads, _ = model.encode(tokens, point)
    coarse = {level: data for level, data in payloads.items() if level == 0 or level >= finest}
    decoded = model.decode(coarse, point, *tokens.grid, finest)
    assert decoded.finest == finest and list(decoded.levels) == list(range(finest, 5))
    for level in (0, *decoded.levels):
        np.testing.assert_array_equal(decoded[level], tokens[level])


def test_erased_tokens_cost_nothing(model):
    tokens, point = sparse_tokens(), model.point(QUALITY)
    erased = np.zeros((1, ROWS, COLUMNS), bool)
    erased[:, 1:, 2:] = True
    whole, _ = model.encode(tokens, point)
    payloads, coded = model.encode(tokens, point, erased)
    assert sum(map(len, payloads.values())) < 0.6 * sum(map(len, whole.values()))
    assert same(model.decode(payloads, point, ROWS, COLUMNS, erased=erased), coded)
    for level in range(5):
        side = tokens[level].shape[1] // ROWS
        there = ~erased.repeat(side, 1).repeat(side, 2)
        np.testing.assert_array_equal(coded[level][there], tokens[level][there])
        if level in (1, 2) and model.networks.config.flags:
            assert not coded[level][~there].any()


def test_scales_are_fitted_to_the_tile(model):
    """Scales that are off everywhere, too large for sparse levels: the offsets in the payloads make up for some."""
    tokens = sparse_tokens()
    point = model.point(QUALITY)
    off = CodingPoint(point.features, np.full((5, 9), 90))
    plain, fitted = (model.encode(tokens, off, fit_scales=fit)[0] for fit in (False, True))
    assert sum(map(len, fitted.values())) < 0.97 * sum(map(len, plain.values()))
    assert same(model.decode(fitted, off, ROWS, COLUMNS), tokens)


def test_damage_is_a_format_error_or_other_tokens(model):
    tokens, point = sparse_tokens(), model.point(QUALITY)
    payloads, _ = model.encode(tokens, point)
    rng = np.random.default_rng(0)
    errors = 0
    for _ in range(12):
        level = int(rng.integers(0, 5))
        data = bytearray(payloads[level])
        for _ in range(3):
            data[rng.integers(len(data))] = rng.integers(256)
        cut = bytes(data[: rng.integers(1, len(data) + 1)])
        try:
            model.decode({**payloads, level: cut}, point, ROWS, COLUMNS)
        except FormatError:
            errors += 1
    assert errors
    with pytest.raises(FormatError):
        model.decode({**payloads, 1: payloads[1] + b"more of it"}, point, ROWS, COLUMNS)


def test_a_flag_without_a_value_is_harmless(flagged, monkeypatch):
    """A hostile file may flag blocks of zeros."""
    tokens, point = sparse_tokens(), flagged.point(QUALITY)
    with monkeypatch.context() as patch:
        patch.setattr(
            "vitcodec.coding.prediction.block_flags", lambda details: np.ones((details[0, ..., 0].size // 4, 2), bool)
        )
        payloads, _ = flagged.encode(tokens, point)
    assert same(flagged.decode(payloads, point, ROWS, COLUMNS), tokens)


def test_arithmetic_is_that_of_training():
    rng = np.random.default_rng(0)
    low = rng.integers(-9000, 9000, (1, 6, 10, 3)).astype(np.int32)
    details = rng.integers(-300, 300, (1, 6, 10, 9)).astype(np.int32)
    exact = _Arithmetic(torch.from_numpy(log_thresholds()))
    wanted = exact.difference(torch.from_numpy(low)).numpy()
    np.testing.assert_array_equal(difference(fixed_point.planar(low)), fixed_point.planar(wanted))
    wanted = exact.merge(torch.from_numpy(low), torch.from_numpy(details)).numpy()
    got = fixed_point.merge(fixed_point.planar(low), fixed_point.planar(details) << 4)
    np.testing.assert_array_equal(got, fixed_point.planar(wanted))
    x = rng.integers(-(2**31), 2**31, 99).astype(np.int32) >> rng.integers(0, 31, 99).astype(np.int32)
    pairs = LookUp(log_thresholds()).sixteenths(np.clip(x, -(2**29), 2**29))[:, None].view(np.uint8).astype(int)
    np.testing.assert_array_equal(pairs, exact.look_up(torch.from_numpy(x)[:, None]).numpy())


def test_residuals_and_values_are_inverse():
    rng = np.random.default_rng(1)
    parameters = rng.integers(-400, 400, (6, 500)).astype(np.int32)
    prediction = predict(parameters, np.array([[0], [40]]))
    values = rng.integers(-99, 99, (2, 500)).astype(np.int32)
    np.testing.assert_array_equal(prediction.restore(prediction.residuals(values)), values)
    tables = prediction.tables(np.zeros((2, 1), np.int32))
    assert tables.min() >= 0 and tables.max() < 3 * 24 * 64
    # what is left of a value less its mean is near zero
    assert np.abs(prediction.residuals(np.round(parameters[:2] / 8).astype(np.int32))).max() <= 3


def test_tables_are_fitted_to_what_is_coded(flagged):
    tokens, point = sparse_tokens(8, 12, 2), flagged.point(QUALITY)
    samples = ((sparse_tokens(8, 12, seed), QUALITY) for seed in (3, 4))
    fitted = with_tables(flagged, *fit_coding_tables(flagged, samples))
    before, after = (sum(map(len, m.encode(tokens, point)[0].values())) for m in (flagged, fitted))
    assert after < 0.9 * before
    assert same(fitted.decode(fitted.encode(tokens, point)[0], point, 8, 12), tokens)
