"""Training the context model with its rounding in the loop: the same numbers as the integers that are stored."""

from __future__ import annotations

import numpy as np
import torch
from test_search import AREA, evaluator, random_tokens, small_model

from vitcodec.bitstream.tables import LOG_SCALE_UNIT, MEAN_UNIT, SCALE_LOW
from vitcodec.context.groups import CodingGroup, FlagGroup, block_flags
from vitcodec.integer.layers import WEIGHT_LIMIT
from vitcodec.quality import step_of
from vitcodec.search.costs import MEAN, CostCoder, signed_log
from vitcodec.subbands import Subbands
from vitcodec.training.rounded_context import RoundedContext, _Arithmetic

QUALITY = 40


class Means:
    """The coder of known tokens that keeps the predicted means, in the integers' unit."""

    def __init__(self, tokens: Subbands):
        self.tokens, self.found = tokens, tokens.map(torch.zeros_like)

    def __call__(self, group: CodingGroup | FlagGroup, parameters: torch.Tensor) -> torch.Tensor:
        if isinstance(group, FlagGroup):
            return group.select(block_flags(self.tokens[group.level]).float())
        group.scatter(self.found, parameters.detach().chunk(3, -1)[0].int())
        return group.gather(self.tokens)


def test_it_predicts_what_the_integers_predict():
    model = small_model(0.05)
    net, evaluate = RoundedContext(model), evaluator(model)
    tokens = random_tokens(np.random.default_rng(0), AREA)
    point = evaluate.entropy.point(QUALITY)
    coder = CostCoder(tokens, point.base_scales, evaluate.costs)
    evaluate.entropy.run(point, *tokens.grid, coder)
    means = Means(tokens.map(torch.from_numpy))
    features = net.features[QUALITY - 1 : QUALITY]
    net.context.autoregressive_pass(_Arithmetic(net.thresholds), features, *tokens.grid, means)
    coded = 0
    for level, (own, found) in enumerate(zip(means.found, coder.predicted, strict=True)):
        known = np.ones(own.shape, bool)
        if level in coder.flags_of:
            flags = coder.flags_of[level].reshape(own.shape[1] // 2, own.shape[2] // 2, 2).repeat(2, 0).repeat(2, 1)
            known[0] = flags[..., [0, 0, 0, 1, 1, 1, 1, 1, 1]]
        expected = signed_log(own.numpy().astype(np.float32) / MEAN_UNIT)
        np.testing.assert_allclose(found[..., MEAN][known], expected[known], atol=1e-6)
        coded += int((expected[known] != 0).sum())
    assert coded > 1000


def test_it_exports_what_it_was_made_of_and_learns():
    model = small_model(0.05)
    net = RoundedContext(model)
    for name, layer in net.export().items():
        assert np.array_equal(layer.weight, model.context[name].weight), name
        assert np.array_equal(layer.bias, model.context[name].bias), name
    assert net.export().keys() == model.context.keys()
    tokens = random_tokens(np.random.default_rng(1), AREA).map(torch.from_numpy)
    base = torch.from_numpy(model.coding.base_scales[0]).float() * LOG_SCALE_UNIT + SCALE_LOW
    base += float(np.log(step_of(1)))
    optimiser, costs = torch.optim.Adam(net.parameters(), lr=0.05), []
    for _ in range(25):
        bits = net.measured(tokens, torch.tensor([QUALITY]), base, torch.tensor([step_of(QUALITY)])).bits()
        optimiser.zero_grad()
        bits.sum().backward()
        optimiser.step()
        costs.append(bits.item())
    assert costs[-1] < 0.97 * costs[0]
    changed = net.export()
    assert any(not np.array_equal(layer.weight, model.context[name].weight) for name, layer in changed.items())
    assert all(abs(layer.weight.astype(int)).max() <= WEIGHT_LIMIT for layer in changed.values())
