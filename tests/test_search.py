"""The encoder's search: costs, updates, emptied blocks, proposals, gradient."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from test_integer import small_synthesis
from test_reconstruction import dequantiser
from torch import nn

from vitcodec import options, wavelet
from vitcodec.analysis import forward, round_tokens
from vitcodec.coding.context_pass import Networks
from vitcodec.coding.entropy import EntropyModel
from vitcodec.coding.groups import Group, block_flags
from vitcodec.coding.maps import log_thresholds
from vitcodec.coding.tables import logistic_flags
from vitcodec.context.config import ContextConfig
from vitcodec.context.heads import ChannelCondition, Head
from vitcodec.context.model import ContextModel
from vitcodec.engines.onnx import OnnxEngine
from vitcodec.engines.torch import TorchEngine
from vitcodec.pipeline.integers import IntegerTransform
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.pretrained.integer_model import CodingNumbers, EncoderNumbers, IntegerModel
from vitcodec.quality import step_of
from vitcodec.search import moves, pixel_error
from vitcodec.search.costs import BITS, DOWN, MEAN, UP, CostCoder, StepCosts, signed_log
from vitcodec.search.efforts import EFFORTS, SearchConfig
from vitcodec.search.gradient import Gradient, RateCollector
from vitcodec.search.measures import Target, squared_error
from vitcodec.search.proposals import INPUTS, NETWORK, Proposals, by_level, by_stride, inputs, known_slopes
from vitcodec.search.rounds import Search
from vitcodec.search.sites import BestSites, site_costs
from vitcodec.search.smooth import SlopedArithmetic
from vitcodec.search.state import Evaluator
from vitcodec.search.tuning import SQUARED_ERROR
from vitcodec.subbands import Subbands
from vitcodec.tiles import Area, crop
from vitcodec.training.assemble import write_folder
from vitcodec.training.coding_tables import KINDS, frequencies, parametric
from vitcodec.training.proposals import ProposalNetwork, graph, loss, slopes
from vitcodec.training.round_context import base_scales, measure, round_context

QUALITY = 40
AREA = Area(0, 0, 4, 6)
SIZES = (1, 3), (8, 9), (4, 9), (2, 9), (1, 9)  # of a site's subbands: places along a side, channels
ALONE = (1, 0.0)  # a neighbourhood of which none but the four next sites count
SMALL = ContextConfig(
    features=(8, 12, 12, 8), heads=(8, 8, 12, 8), low_head=8, low_scales=2, conditional=8, flags=True, flag_head=8
)


def small_context(spread: float) -> ContextModel:
    """Predictions that depend on contexts by so much; at 0 not at all."""
    torch.manual_seed(0)
    context = ContextModel(SMALL)
    for module in context.modules():
        if isinstance(module, Head | ChannelCondition):
            nn.init.normal_(module.leave.weight, std=spread)
            nn.init.normal_(module.leave.bias, std=0.3)
    context.base[:] = 2.0
    return context.requires_grad_(False)


def random_tokens(rng, area=AREA, spread=0.6) -> Subbands:
    def band(scale, channels):
        return np.rint(rng.laplace(0, spread, (1, area.h * scale, area.w * scale, channels))).astype(np.int32)

    return Subbands(band(1, 3), tuple(band(1 << (4 - level), 9) for level in range(1, 5)))


def small_model(spread: float, corrections: bool = False) -> IntegerModel:
    context = small_context(spread)
    tokens = random_tokens(np.random.default_rng(0)).map(lambda t: torch.from_numpy(t).float())
    with torch.no_grad():
        context_layers, features = round_context(context, measure(context, iter([(tokens, torch.tensor([30.0]))])))
    layers, shape = small_synthesis(np.random.default_rng(4))
    for stride in (4, 8, 16):
        last = layers[f"output{stride}"]
        weight, bias = (last.weight // 32, last.bias // 32) if corrections else (0 * last.weight, 0 * last.bias)
        layers[f"output{stride}"] = replace(last, weight=weight, bias=bias)
    narrow, wide = (frequencies(parametric(scales, largest)) for scales, largest in KINDS)
    coding = CodingNumbers(features, base_scales(context), log_thresholds(), narrow, wide, logistic_flags())
    steps = np.array([step_of(q) for q in options.QUALITIES], np.float32)
    encoder = EncoderNumbers(np.ones((100, 5, 9), np.float32), steps, np.zeros(100, np.float32))
    return IntegerModel(context_layers, SMALL, coding, layers, shape, dequantiser(), encoder)


def evaluator(model: IntegerModel) -> Evaluator:
    engine, coding = TorchEngine(model.networks()), model.coding
    networks = Networks(engine, model.context_config, coding.look_up())
    entropy = EntropyModel(networks, coding.features, coding.base_scales, coding.tables())
    return Evaluator(entropy, IntegerTransform(engine, model.dequantiser, model.filter), SQUARED_ERROR)


@pytest.fixture(scope="module")
def plain() -> IntegerModel:
    """Wavelet and constant predictions: nothing is linearised, so that all that updates promise is true."""
    return small_model(0.0)


@pytest.fixture(scope="module")
def rich() -> IntegerModel:
    return small_model(0.05, corrections=True)


@pytest.fixture(scope="module")
def target() -> Target:
    with Image.open(Path(__file__).parent.parent / "examples" / "chelsea.png") as image:
        rgb = np.asarray(image.convert("RGB").crop((150, 80, 150 + 16 * AREA.w, 80 + 16 * AREA.h)))
    original = forward(rgb).map(lambda t: t / np.float32(step_of(QUALITY)))
    return Target(original, original, QUALITY, [AREA])


@pytest.fixture(scope="module")
def tokens(target) -> Subbands:
    return round_tokens(target.latents, 0.0)


def known(model, target, tokens):
    """An evaluator, the state of tokens, the known slopes, weights."""
    evaluate = evaluator(model)
    state, weights = evaluate(target, tokens), evaluate.weights(QUALITY)
    return evaluate, state, known_slopes(state, weights), weights


def test_the_error_is_that_of_the_pixels():
    rng = np.random.default_rng(4)
    for h, w in ((1, 1), (2, 3), (5, 2)):
        low, *details = (rng.normal(size=(1, h * k, w * k, c)).astype(np.float32) for k, c in SIZES)
        errors = Subbands(low, tuple(details))
        parameters = errors.map(lambda t: torch.from_numpy(t).requires_grad_())
        picture = wavelet.inverse(parameters) - 128
        (picture.square().sum() / 2).backward()
        planes = pixel_error.in_pixels(errors)
        sites = picture.detach().square().sum(-1)[0].unflatten(0, (h, 16)).unflatten(2, (w, 16)).sum((1, 3))
        np.testing.assert_allclose(pixel_error.of_sites(planes), sites, rtol=1e-4)
        for found, parameter in pixel_error.gradient(planes).zip(parameters):
            np.testing.assert_allclose(found, parameter.grad, atol=1e-4)


def test_the_rate_is_that_of_the_payloads(rich, target, tokens):
    evaluate = evaluator(rich)
    state = evaluate(target, tokens)
    payloads, coded = evaluate.entropy.encode(tokens, evaluate.entropy.point(QUALITY), None, False)
    assert all(np.array_equal(a, b) for a, b in coded.zip(tokens))
    assert state.rate == pytest.approx(8 * sum(map(len, payloads.values())), rel=0.03, abs=300)


def test_what_a_step_costs_is_what_tables_say(rich):
    costs = StepCosts(rich.coding.tables())
    rng = np.random.default_rng(1)
    keys = rng.integers(0, len(costs.tables.frequencies), 500)
    residuals = np.concatenate((rng.integers(-9, 10, 300), rng.integers(-5000, 5000, 200))).astype(np.int32)
    negative = rng.random(500) < 0.5
    sign = np.where(negative, -1, 1).astype(np.int32)
    bits, up, down = (costs.tables.bits(keys, residuals + step * sign) for step in (0, 1, -1))
    np.testing.assert_allclose(
        costs(keys, residuals, negative), np.stack((bits, up - bits, down - bits), -1), atol=1e-4
    )


def inside(y: int, x: int, height: int, width: int, border: int) -> bool:
    """Whether a place is so far from the picture's edges, where the wavelet mirrors and errors weigh otherwise."""
    return border <= y < height - border and border <= x < width - border


def test_every_update_changes_the_cost_as_predicted(plain, target, tokens):
    evaluate, state, found, weights = known(plain, target, tokens)
    rng, sign, curved = np.random.default_rng(2), {UP: 1, DOWN: -1}, 0
    for level in range(1, 5):  # the low band's values are predicted relative to their neighbours in any case
        coded = np.argwhere(state.changes[level][..., UP] != 0)
        for place in map(tuple, coded[rng.integers(0, len(coded), 24 // level)]):
            wanted, predicted = {}, {}
            for fact, step in sign.items():
                changed = tokens.map(np.copy)
                changed[level][place] += step
                if level in (1, 2) and not np.array_equal(block_flags(changed[level]), block_flags(tokens[level])):
                    continue  # the flags' bits are not in it
                wanted[fact] = evaluate(target, changed).cost - state.cost
                predicted[fact] = state.changes[level][*place, fact] + step * found[level][place]
            if len(wanted) < 2:
                continue
            assert predicted[UP] - predicted[DOWN] == pytest.approx(wanted[UP] - wanted[DOWN], abs=0.04), place
            if inside(*place[1:3], *tokens[level].shape[1:3], 6):
                curvature = weights.curvature[level, place[-1]]
                assert predicted[UP] + curvature == pytest.approx(wanted[UP], abs=0.02), place
                curved += 1
    assert curved > 2


def test_with_pixel_weights_an_update_changes_the_distortion_as_predicted(plain, target, tokens):
    heavy = np.ones((16 * AREA.h, 16 * AREA.w), np.float32)
    heavy[:, 48:] = 0.1
    target = replace(target, pixel_weights=heavy)
    evaluate, state, found, weights = known(plain, target, tokens)
    curvature, tried = weights.curvature_at(state.curvature), {True: 0, False: 0}
    squares = (state.pixels.astype(float) ** 2).sum(0)
    assert state.distortion == pytest.approx(weights.error * (heavy * squares).sum(), rel=1e-3)
    for level, y, x, channel in [(1, 16, x, x % 9) for x in range(6, 42)] + [(2, 8, x, 4) for x in range(6, 18)]:
        if abs((x << level) - 48) <= 6 << level:
            continue  # there the curvature is in between
        changed = tokens.map(np.copy)
        changed[level][0, y, x, channel] += 1
        wanted = squared_error(target, evaluate.errors(target, changed), weights).distortion - state.distortion
        assert found[level][0, y, x, channel] + curvature[level][y, x, channel] == pytest.approx(wanted, abs=0.02)
        tried[x << level < 48] += 1
    assert min(tried.values()) > 8, tried


def test_equal_pixel_weights_are_a_weight_of_all(rich, target, tokens):
    even = replace(target, pixel_weights=np.full((16 * AREA.h, 16 * AREA.w), 0.25, np.float32))
    search = Search(evaluator(rich), SearchConfig(2, 0, True), Proposals(None))
    lighter = Search(evaluator(rich), SearchConfig(2, 0, True), Proposals(None))
    lighter.evaluate.weight = 0.25
    for a, b in search(even, tokens).zip(lighter(target, tokens)):
        assert (a != b).mean() < 0.002  # floats are added in another order
    one = replace(target, pixel_weights=np.ones((16 * AREA.h, 16 * AREA.w), np.float32))
    assert all(np.array_equal(a, b) for a, b in search(one, tokens).zip(search(target, tokens)))


def test_emptying_a_block_changes_the_cost_as_predicted(plain, target, tokens):
    evaluate, state, found, weights = known(plain, target, tokens)
    bits, tried = evaluate.entropy.tables.flag_bits, 0
    for level in (1, 2):
        saved = moves._saved_by_flags(state, level, bits)
        for y, x, part in np.argwhere(state.flags[level])[:: 12 // level]:
            if not inside(y, x, *state.flags[level].shape[:2], 3):
                continue
            block = (0, slice(2 * y, 2 * y + 2), slice(2 * x, 2 * x + 2), moves.PARTS[part])
            changed = tokens.map(np.copy)
            changed[level][block] = 0
            parts = tokens[level][block], found[level][block], state.changes[level][block][..., BITS]
            curvature = weights.curvature[level, moves.PARTS[part]]
            gain = saved[y, x, part] + moves.gains_of_emptying(*(m[None] for m in parts), curvature)[0]
            # that the block's values overlap in the pixels is left out
            overlap = float(0.3 * (curvature * parts[0] ** 2).sum())
            assert gain == pytest.approx(state.cost - evaluate(target, changed).cost, abs=0.02 + overlap)
            tried += 1
    assert tried > 3


def test_blocks_are_emptied_where_that_pays(plain, target, tokens):
    """A lone value that costs more than it helps goes, with its flag; updates of single values would not do it."""
    evaluate, state, found, weights = known(plain, target, tokens)
    after = moves.update(state, found, weights.curvature, evaluate.entropy.tables.flag_bits, ALONE)
    better = evaluate(target, after)
    emptied = sum(int((state.flags[level] & ~better.flags[level]).sum()) for level in (1, 2))
    assert emptied > 0 and better.cost < state.cost
    assert all(not (better.flags[level] & ~state.flags[level]).any() for level in (1, 2))


def test_where_nothing_is_flagged_nothing_is_changed(plain, target, tokens):
    empty = Subbands(tokens.low, tuple(np.zeros_like(band) for band in tokens.details))
    evaluate, state, found, weights = known(plain, target, empty)
    after = moves.update(state, found, weights.curvature, evaluate.entropy.tables.flag_bits, ALONE)
    assert not after[1].any() and not after[2].any() and after[3].any()


def test_rounds_lower_the_cost_and_are_repeatable(rich, target, tokens):
    evaluate = evaluator(rich)
    gradient = Gradient(rich)
    for config in (SearchConfig(2, 0, True), SearchConfig(1, 2, True, skip_after=1)):
        search = Search(evaluate, config, Proposals(None), gradient)
        first, second = search(target, tokens), search(target, tokens)
        assert all(np.array_equal(a, b) and a.dtype == np.int32 for a, b in first.zip(second))
        assert evaluate(target, first).cost < evaluate(target, tokens).cost
        coded = evaluate.entropy.encode(first, evaluate.entropy.point(QUALITY))[1]
        assert all(np.array_equal(a, b) for a, b in coded.zip(first))


def test_the_best_tokens_are_kept(plain, target, tokens):
    """Slopes that tell lies do no harm."""
    evaluate = evaluator(plain)

    def lies(target, state, weights):
        return known_slopes(state, weights).map(lambda t: -5 * t - 20)

    found = Search(replace_tuning(evaluate), SearchConfig(2, 0, True), lies)(target, tokens)
    assert evaluate(target, found).cost <= evaluate(target, tokens).cost


def replace_tuning(evaluate: Evaluator) -> Evaluator:
    """Every last round is checked."""
    evaluate.tuning = replace(SQUARED_ERROR, check_threshold=float("inf"))
    return evaluate


def test_tiles_are_costed_by_themselves(rich, target, tokens):
    evaluate = evaluator(rich)
    tiles = [Area(0, 0, 4, 2), Area(0, 2, 4, 4)]
    state = evaluate(replace(target, tiles=tiles), tokens)
    rates = []
    for tile in tiles:
        coder = CostCoder(
            crop(tokens, tile).map(np.ascontiguousarray), evaluate.entropy.point(QUALITY).base_scales, evaluate.costs
        )
        evaluate.entropy.run(evaluate.entropy.point(QUALITY), tile.h, tile.w, coder)
        rates.append(coder.rate)
        for joined, own in ((state.changes, coder.changes), (state.predicted, coder.predicted)):
            assert all(np.array_equal(a, b) for a, b in crop(joined, tile).zip(own))
    assert state.rate == pytest.approx(sum(rates)) and state.rate != pytest.approx(evaluate(target, tokens).rate)


@pytest.mark.parametrize(
    ("side", "outer", "crowding", "where"),
    [
        (3, 1.0, None, [(2, 2), (2, 6), (3, 3), (3, 7), (4, 4), (4, 5)]),
        (5, 1.0, 0.0, [(2, 2), (2, 6), (3, 3), (3, 7), (4, 4), (4, 5)]),
        (3, 1.0, 0.6, [(2, 2), (2, 6), (3, 7), (4, 4), (4, 5)]),
        (3, 0.0, 1.0, [(2, 2), (2, 6), (3, 3), (3, 7), (4, 4)]),
        # (3, 3) has a corner whose gain is more than twice its own, (3, 7) has not
        (3, 0.5, 1.0, [(2, 2), (2, 6), (3, 7), (4, 4)]),
        (3, 1.0, 1.0, [(2, 2), (2, 6), (4, 4)]),
        (5, 1.0, 1.0, [(4, 4)]),
    ],
)
def test_only_the_best_update_of_a_neighbourhood_is_made(side, outer, crowding, where):
    gain = np.zeros((7, 9), np.float32)
    for y, x, bits in [(2, 2, 3.0), (3, 3, 2.0), (4, 4, 5.0), (4, 5, 4.5), (2, 6, 4.0), (3, 7, 3.5)]:
        gain[y, x] = bits
    chosen = (gain > 0) & (gain >= moves.best_near(gain, side, outer, crowding))
    assert list(zip(*np.nonzero(chosen), strict=True)) == where


def test_a_share_of_the_updates_is_skipped_at_random():
    before = Subbands(np.zeros((1, 64, 64, 1), np.int32), (np.zeros((1, 128, 128, 1), np.int32),))
    after = before.map(lambda t: t + 2)
    mixed = moves.skip_at_random(after, before, 0.7, np.random.default_rng(0))
    assert [(b == 2).mean() for b in mixed] == pytest.approx([0.7, 0.7], abs=0.03)
    config = EFFORTS[9]
    assert [config.kept(k) for k in range(6)] == pytest.approx([1, 1, 1, 0.68, 0.67, 0.66])


def test_every_effort_has_its_configuration():
    assert list(EFFORTS) == list(options.EFFORTS)
    # about how long rounds take
    times = [config.proposals + 2 * config.exact + 16 * config.gradients for config in EFFORTS.values()]
    assert times == sorted(set(times))
    assert [c.gradients > 0 for c in EFFORTS.values()] == [False] * 6 + [True] * 3


# ---- proposals


def test_maps_by_stride_and_by_level():
    tokens = random_tokens(np.random.default_rng(3))
    assert all(np.array_equal(a, b) for a, b in by_level(by_stride(tokens)).zip(tokens))


def test_the_network_sees_what_belongs_to_a_place(rich, target, tokens):
    state = evaluator(rich)(target, tokens)
    seen = dict(zip(INPUTS, inputs(target, state), strict=True))
    h, w = AREA.h, AREA.w
    assert seen["d1"].shape == (1, 4 * h, 4 * w, 4 * 9 * 7) and seen["low"].shape == (1, h, w, 3 * 7)
    block = seen["d1"][0, 5, 7].reshape(7, 2, 2, 9)
    np.testing.assert_allclose(block[1, 1, 0], signed_log(tokens[1][0, 11, 14].astype(np.float32)), rtol=1e-6)
    np.testing.assert_allclose(block[3], state.predicted[1][0, 10:12, 14:16, :, MEAN], rtol=1e-6)
    np.testing.assert_array_equal(seen["f1"][0], state.flags[1])


def test_the_graph_computes_what_is_trained(rich, target, tokens):
    torch.manual_seed(1)
    net = ProposalNetwork((8, 8, 12))
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.05)
    engine = OnnxEngine({NETWORK: graph(net)})
    _, state, plain_slopes, weights = known(rich, target, tokens)
    found = Proposals(lambda *maps: engine.run(NETWORK, *maps))(target, state, weights)
    parts = [torch.from_numpy(np.ascontiguousarray(m)) for m in by_stride(plain_slopes)]
    with torch.no_grad():
        trained = slopes(net(*map(torch.from_numpy, inputs(target, state))), parts)
    for a, b in by_level([t.numpy() for t in trained]).zip(found):
        np.testing.assert_allclose(a, b, atol=1e-3)
    ones = [torch.ones_like(t) for t in trained]
    assert loss(trained, trained, ones) == 0 and loss(trained, parts, ones) > 0


def test_an_untrained_network_changes_nothing(rich, target, tokens):
    engine = OnnxEngine({NETWORK: graph(ProposalNetwork((8, 8, 12)))})
    _, state, plain_slopes, weights = known(rich, target, tokens)
    found = Proposals(lambda *maps: engine.run(NETWORK, *maps))(target, state, weights)
    for a, b in found.zip(plain_slopes):
        np.testing.assert_allclose(a, b, rtol=1e-5)


# ---- gradient


def test_the_smooth_context_predicts_what_the_integers_do(rich, tokens):
    evaluate, gradient = evaluator(rich), Gradient(rich)
    point = evaluate.entropy.point(QUALITY)
    coder = CostCoder(tokens, point.base_scales, evaluate.costs)
    evaluate.entropy.run(point, *tokens.grid, coder)
    means = tokens.map(lambda t: torch.zeros(t.shape))

    class Keeping(RateCollector):
        def __call__(self, group, parameters):
            if hasattr(group, "channels"):
                group.scatter(means, parameters.chunk(3, -1)[0])
            return super().__call__(group, parameters)

    floats = tokens.map(lambda t: torch.from_numpy(t).float())
    base = torch.zeros(5, 9)
    features = torch.from_numpy(rich.coding.features[QUALITY - 1 : QUALITY]).float()
    with torch.no_grad():
        gradient.context.autoregressive_pass(SlopedArithmetic(), features, *tokens.grid, Keeping(floats, base))
    for changes, predicted, smooth in zip(coder.changes, coder.predicted, means, strict=True):
        coded = changes[..., BITS] != 0
        exact, found = predicted[..., MEAN][coded], signed_log(smooth.numpy())[coded]
        assert np.abs(exact - found).mean() < 0.08 and np.corrcoef(exact, found)[0, 1] > 0.9


def test_without_contexts_the_gradient_is_what_is_known(plain, target, tokens):
    _, state, found, weights = known(plain, target, tokens)
    for a, b in zip(Gradient(plain)(target, state, weights).details, found.details, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=0.2)


def test_the_gradient_reaches_every_subband_through_contexts(rich, target, tokens):
    _, state, found, weights = known(rich, target, tokens)
    for a, b in Gradient(rich)(target, state, weights).zip(found):
        assert np.isfinite(a).all() and np.abs(a - b).max() > 0.05


# ---- without torch


FORWARD = """
import sys
from pathlib import Path
import numpy as np
from vitcodec.analysis import forward, round_tokens
from vitcodec.errors import UsageError
from vitcodec.pipeline import loading
from vitcodec.pretrained.config import PretrainedConfig
from vitcodec.search.measures import Target, squared_error
from vitcodec.tiles import Area

sys.modules["torch"] = None
search = loading.load(PretrainedConfig.read(Path(sys.argv[1])), "cpu", 1).encoder.searches
rgb = np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)
bands = forward(rgb).map(lambda t: t / np.float32(40))
target, before = Target(bands, bands, 40, [Area(0, 0, 4, 4)]), round_tokens(bands, 0.0)
default = search.search(3)
after = default(target, before)
assert search.network is not None
assert default.evaluate(target, after).cost < default.evaluate(target, before).cost
assert search.search(1)(target, before) is before
exact = search.search(6)
assert exact.exact is not None
assert exact.evaluate(target, exact(target, before)).cost < default.evaluate(target, before).cost
try:
    search.search(7)
except UsageError as error:
    assert "PyTorch" in str(error) and "at most 6" in str(error)
else:
    raise AssertionError("a gradient without torch")
"""


def test_rounds_of_proposals_need_no_torch(rich, tmp_path):
    from vitcodec.engines.onnx import GRAPHS, read_graphs
    from vitcodec.training.assemble import write_graphs

    write_folder(PretrainedConfig("small", "swin", tmp_path, "", {}, SMALL, 0.1), rich, None)
    graphs = read_graphs(tmp_path / GRAPHS) | {NETWORK: graph(ProposalNetwork((8, 8, 12)))}
    write_graphs(tmp_path, graphs)
    subprocess.run([sys.executable, "-c", FORWARD, str(tmp_path)], check=True)


def test_changes_of_overdue_values_are_those_of_their_symbols():
    rng, model = np.random.default_rng(0), small_model(0.0)
    costs, values = StepCosts(model.coding.tables()), np.arange(-3, 4)
    tokens = Subbands(
        np.zeros((1, 2, 2, 3), np.int32), tuple(np.zeros((1, 2 << k, 2 << k, 9), np.int32) for k in range(3, -1, -1))
    )
    places = np.arange(len(values))[:, None]
    overdue = np.ones(len(values), bool)
    parameters = rng.integers(-9, 9, (3, len(values))).astype(np.int32)

    def changes(step: int) -> np.ndarray:
        moved = tokens.map(np.copy)
        moved[1].reshape(-1, 9)[: len(values), 2] = values + step
        coder = CostCoder(moved, model.coding.base_scales[0].astype(np.int32), costs)
        coder.values(Group(1, slice(2, 3), places, overdue), parameters.copy())
        return coder.changes[1].reshape(-1, 9, 3)[: len(values), 2]

    bits, up, down = changes(0).T
    np.testing.assert_allclose(up, changes(1)[:, BITS] - bits, atol=1e-4)
    np.testing.assert_allclose(down, changes(-1)[:, BITS] - bits, atol=1e-4)


def test_the_best_of_every_site_is_kept(rich, target, tokens):
    evaluate = evaluator(rich)
    weights, flag_bits = evaluate.weights(QUALITY), evaluate.entropy.tables.flag_bits
    worse = tokens.map(np.copy)
    for level, band in enumerate(worse):  # the right half is spoiled, and of the first state the left
        band[:, :, band.shape[2] // 2 :] += 3 if level else 9
    other = tokens.map(np.copy)
    for level, band in enumerate(other):
        band[:, :, : band.shape[2] // 2] += 3 if level else 9
    states = [evaluate(target, t) for t in (worse, other)]
    for state in states:
        costs = site_costs(state, weights, flag_bits)
        assert costs.sum() == pytest.approx(state.cost, rel=1e-3)
    best = BestSites(flag_bits)
    for state in states:
        best.add(state, weights)
    assert evaluate(target, best.tokens).cost < min(state.cost for state in states)
    columns = tokens.grid[1]
    for found, original in best.tokens.zip(tokens):
        k = found.shape[2] // columns
        edge = slice(0, k), slice(-k, None)  # far from where the halves meet
        assert all(np.array_equal(found[:, :, part], original[:, :, part]) for part in edge)
