"""Block flags of the context model: what they say, what they cost, and what they leave alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from vitcodec.context.arithmetic import FloatArithmetic
from vitcodec.context.config import ContextConfig
from vitcodec.context.density import RateEstimator, flag_bits, flag_chances
from vitcodec.context.groups import FLAGGED_LEVELS, CodingGroup, FlagGroup, block_flags
from vitcodec.context.heads import neighbourhood
from vitcodec.context.model import ContextModel
from vitcodec.context.phases import PHASES, known_places, overdue_symbols, overdue_values
from vitcodec.models.summary import table_of
from vitcodec.pretrained.config import context_config
from vitcodec.pretrained.presets import PRESETS
from vitcodec.subbands import Subbands
from vitcodec.training.model import dedicate_overdue_units, dedicate_units, load_grown

SMALL = ContextConfig(
    features=(8, 8, 8, 8), heads=(8, 8, 8, 8), low_head=8, conditional=8, extra_blocks=(0, 1, 1, 1), flags=True
)
STEP = torch.tensor([9.0])


def sparse_tokens(rows: int = 4, columns: int = 6, density: float = 0.05) -> Subbands:
    """Whole numbers as floats, mostly zero at the fine levels."""
    generator = torch.Generator().manual_seed(1)

    def band(h: int, w: int, c: int, share: float) -> torch.Tensor:
        values = (3 * torch.randn(1, h, w, c, generator=generator)).round()
        return values * (torch.rand(1, h, w, c, generator=generator) < share)

    details = (band(rows << 4 - l, columns << 4 - l, 9, min(1, density * l * l)) for l in range(1, 5))
    return Subbands(band(rows, columns, 3, 1), tuple(details))


def model(config: ContextConfig = SMALL) -> ContextModel:
    """Random weights in every layer, also in those that start as zero."""
    torch.manual_seed(0)
    context = ContextModel(config)
    for p in context.parameters():
        torch.nn.init.normal_(p, std=0.15)
    return context


@torch.no_grad()
def run(context: ContextModel, tokens: Subbands, coder) -> Subbands:
    return context.autoregressive_pass(FloatArithmetic(), context.step_features(STEP), *tokens.grid, coder)


def estimator(context: ContextModel, tokens: Subbands) -> RateEstimator:
    meter = RateEstimator(tokens, tokens, context.base, STEP)
    run(context, tokens, meter)
    return meter


def test_a_flag_says_whether_a_block_has_a_value():
    values = torch.zeros(1, 4, 6, 9)
    values[0, 1, 2, 0] = -1.0  # luma, block (0, 1)
    values[0, 2, 5, 8] = 2.0  # chroma, block (1, 2)
    assert block_flags(values).nonzero().tolist() == [[0, 0, 1, 0], [0, 1, 2, 1]]


def test_the_flags_of_all_phases_are_those_of_the_level():
    tokens, seen = sparse_tokens(), {level: [] for level in FLAGGED_LEVELS}

    def coder(group: CodingGroup | FlagGroup, parameters: torch.Tensor) -> torch.Tensor:
        if isinstance(group, FlagGroup):
            assert parameters.shape[-1] == 3
            seen[group.level].append(group.phase)
        return group.gather(tokens)

    coded = run(model(), tokens, coder)
    assert all(torch.equal(a, b) for a, b in coded.zip(tokens))
    assert all(len(set(phases)) == 4 for phases in seen.values())


class Decoder:
    """Reads the groups of a payload in order; values of unflagged blocks are zero, and nothing else is known."""

    def __init__(self, payload: list[torch.Tensor]):
        self.payload, self.flags = iter(payload), {}
        self.parameters: list[torch.Tensor] = []

    def __call__(self, group: CodingGroup | FlagGroup, parameters: torch.Tensor) -> torch.Tensor:
        values = next(self.payload)
        if isinstance(group, FlagGroup):
            self.parameters.append(parameters)
            B, h, w, _ = values.shape
            flags = self.flags.setdefault(group.level, values.new_zeros(B, 2 * h, 2 * w, 2))
            flags[:, group.phase[0] :: 2, group.phase[1] :: 2] = values
            return values
        if group.level in self.flags:
            flagged = self.flags[group.level][..., group.flag, None]
            self.parameters.append(parameters * flagged)
            return values * flagged
        self.parameters.append(parameters)
        return values


def test_a_decoder_that_knows_flagged_values_alone_predicts_the_same():
    tokens, context = sparse_tokens(), model()
    payload, known = [], []

    def encoder(group: CodingGroup | FlagGroup, parameters: torch.Tensor) -> torch.Tensor:
        values = group.gather(tokens)
        flag = None if isinstance(group, FlagGroup) else group.flag
        if flag is None:
            known.append(parameters)
            payload.append(values.clone())
            return values
        flagged = block_flags(tokens[group.level])[..., flag, None]
        payload.append(values + ~flagged * 7)  # what an unflagged block holds must not be read
        known.append(parameters * flagged)
        return values

    run(context, tokens, encoder)
    decoder = Decoder(payload)
    decoded = run(context, tokens, decoder)
    assert all(torch.equal(a, b) for a, b in decoded.zip(tokens))
    assert all(torch.equal(a, b) for a, b in zip(known, decoder.parameters, strict=True))


def test_the_bits_of_flags_are_those_of_their_probabilities():
    logits = torch.randn(5, 3, generator=torch.Generator().manual_seed(0))
    for luma in (0, 1):
        for chroma in (0, 1):
            flags = torch.tensor([float(luma), float(chroma)]).expand(5, 2)
            p = torch.sigmoid(logits)
            expected = torch.stack(
                [(p[:, 0] if luma else 1 - p[:, 0]), (p[:, 1 + luma] if chroma else 1 - p[:, 1 + luma])], -1
            )
            assert torch.allclose(flag_bits(flags, logits), -torch.log2(expected), atol=1e-5)


def test_empty_levels_cost_their_flags_alone():
    tokens = sparse_tokens()
    empty = Subbands(tokens.low, (tokens[1] * 0, tokens[2] * 0, *tokens.details[2:]))
    context = model()
    coarse = RateEstimator(empty, empty, context.base, STEP)
    with torch.no_grad():
        context.autoregressive_pass(FloatArithmetic(), context.step_features(STEP), 4, 6, coarse, finest=3)
    meter = estimator(context, empty)
    assert meter.bits().item() == pytest.approx((coarse.bits() + meter.flag_bits()).item(), rel=1e-6)
    assert coarse.flag_bits().item() == 0 < meter.flag_bits().item()


def test_latents_of_empty_blocks_cost_what_their_flag_would():
    """The analysis would raise what is rounded away for the distortion's sake alone, until all of it were coded."""
    tokens, context = sparse_tokens(), model()
    tokens[1][...] = 0
    soft = tokens.map(torch.clone)
    soft[1][0, 4, 6, 0], soft[1][0, 9, 3, 5], soft[1][0, 12, 12, 1] = 0.4, -0.4, 0.05
    soft = soft.map(lambda t: t.requires_grad_())
    meter = RateEstimator(tokens, soft, context.base, STEP)
    with torch.no_grad():
        plain = estimator(context, tokens).bits().item()
    context.autoregressive_pass(FloatArithmetic(), context.step_features(STEP), *tokens.grid, meter)
    bits = meter.bits()
    assert bits.item() == pytest.approx(plain, rel=1e-6)
    bits.sum().backward()
    slope = soft[1].grad[0]
    assert slope[4, 6, 0] > 3 and slope[9, 3, 5] < -3 and slope[12, 12, 1] == 0


def test_the_chance_of_a_flag_is_that_of_any_value():
    soft = torch.zeros(1, 2, 4, 9)
    soft[0, 0, 0, 0], soft[0, 1, 1, 2], soft[0, 0, 2, 4] = 0.6, -0.3, 5.0
    chances, count = (t[0, 0] for t in flag_chances(soft))
    assert chances[0, 0].item() == pytest.approx(1 - 0.5 * 0.8) and chances[0, 1] == 0
    assert chances[1, 0] == 0 and chances[1, 1].item() == pytest.approx(1, abs=1e-3)
    assert count[0, 0].item() == pytest.approx(0.7) and count[1, 1].item() == pytest.approx(1, abs=1e-3)


def test_neighbouring_flags_are_context_for_the_values():
    bands, context = sparse_tokens(), model()
    bands[1][...] = 0
    bands[1][:, 1:-1:2, 1:-1:2, 0] = 1  # of the second phase, so that only the flags can tell the first one
    changed = bands.map(torch.clone)
    changed[1][:, 21, 21, 0] = 0

    def first(bands: Subbands) -> torch.Tensor:
        out = []

        def coder(group: CodingGroup | FlagGroup, parameters: torch.Tensor) -> torch.Tensor:
            if isinstance(group, CodingGroup) and group.level == 1 and group.phase == (0, 0):
                out.append(parameters)
            return group.gather(bands)

        run(context, bands, coder)
        return out[0]

    difference = (first(bands) - first(changed)).abs().amax((0, 3))
    assert (difference[9:12, 9:12] > 1e-4).all()
    assert (difference[:8] < 1e-5).all() and (difference[13:] < 1e-5).all()


def test_only_flagged_blocks_are_computed():
    tokens, context = sparse_tokens(), model()
    tokens[1][:, :, :24] = 0
    rows = {}
    for name, module in context.named_modules():
        module.register_forward_hook(lambda m, i, output, name=name: rows.update({name: output}))
    run(context, tokens, lambda group, parameters: group.gather(tokens))
    blocks = block_flags(tokens[1])
    head, chroma = (rows[f"levels.3.{part}.leave"] for part in ("luma.heads.2", "chroma"))
    assert head[..., 0].numel() == blocks[..., 0].sum() and chroma[..., 0].numel() == blocks[..., 1].sum()
    assert rows["levels.3.enter"][..., 0].numel() == blocks.any(-1).sum() < blocks[..., 0].numel() / 2
    assert rows["levels.2.enter"].shape[1:3] == (8, 12)  # level 1 inherits these everywhere


def test_weights_without_flags_grow():
    plain, grown, tokens = model(replace(SMALL, flags=False)), ContextModel(SMALL), sparse_tokens(density=1.0)
    for level in FLAGGED_LEVELS:
        tokens[level][...] = tokens[level].sign() + (tokens[level] == 0)  # every block is flagged
    load_grown(grown, plain.state_dict())
    before, after = estimator(plain, tokens), estimator(grown, tokens)
    values = (after.bits() - after.flag_bits()).item()
    assert values == pytest.approx(before.bits().item(), rel=1e-5)
    blocks = sum(2 * tokens[level][0, ::2, ::2, 0].numel() for level in FLAGGED_LEVELS)
    assert after.flag_bits().item() == pytest.approx(blocks)  # one bit each: nothing is known of them yet
    with pytest.raises(RuntimeError):
        load_grown(grown, model(replace(SMALL, heads=(9, 8, 8, 8))).state_dict())


@pytest.mark.parametrize("size", [3, 5])
def test_known_neighbours_are_those_of_earlier_phases(size):
    for k, phase in enumerate(PHASES):
        offsets = [(p // size - size // 2, p % size - size // 2) for p in range(size**2)]
        known = {p for p, offset in enumerate(offsets) if _phase_at(phase, offset) in PHASES[:k]}
        places = known_places(k, size)
        assert set(places) == known and len(places) == len(known)


def _phase_at(phase: tuple[int, int], offset: tuple[int, int]) -> tuple[int, int]:
    return (phase[0] + offset[0]) % 2, (phase[1] + offset[1]) % 2


def test_flag_heads_of_whole_neighbourhoods_grow():
    """Older ones saw 5x5 flags, zeros for those not coded yet, and nothing of the low band."""
    tokens, context, generator = sparse_tokens(), ContextModel(SMALL), torch.Generator().manual_seed(0)
    older, grown, inputs, level = context.state_dict(), ContextModel(SMALL), [], context.levels[3]
    names = [f"levels.3.flags.heads.{k}.enter.weight" for k in range(4)]
    around = level.flags.inputs - 9 * 24
    for k, name in enumerate(names):
        columns = around + 50 * (k > 0)
        older[name] = torch.randn(len(older[name]), columns, generator=generator)
    load_grown(grown, older)
    for head in grown.levels[3].flags.heads:
        head.enter.register_forward_hook(lambda module, x, output: inputs.append(x[0].flatten(1, 2)))
    run(grown, tokens, lambda group, parameters: group.gather(tokens))
    flags, known = block_flags(tokens[1]).float(), torch.zeros(1, 16, 24, 2)
    for k, ((i, j), name) in enumerate(zip(PHASES, names, strict=True)):
        # by the modules' definition: what is known of a site, its features first, then the coarser values last
        parts = [inputs[k][..., : around - 9 * 18], inputs[k][..., around + 9 * 6 : level.flags.inputs]]
        if k:
            parts.append(neighbourhood(known, 5, i, j, 2).flatten(3).flatten(1, 2))
        wanted = torch.cat(parts, -1) @ older[name].T
        got = inputs[k] @ grown.state_dict()[name].T
        assert torch.allclose(got, wanted, atol=1e-4)
        known[:, i::2, j::2] = flags[:, i::2, j::2]


def test_flags_are_predicted_from_the_low_band():
    """Also where the coarser levels say nothing of it."""
    context, logits = model(), []
    torch.nn.init.zeros_(context.levels[2].up.weight)
    torch.nn.init.zeros_(context.levels[2].up.bias)
    for contrast in (0, 9):
        tokens = sparse_tokens().map(torch.zeros_like)
        tokens.low[:, 2, 3] = contrast

        def coder(group: CodingGroup | FlagGroup, parameters: torch.Tensor, tokens: Subbands = tokens) -> torch.Tensor:
            if isinstance(group, FlagGroup) and group.level == 1 and group.phase == (0, 0):
                logits.append(parameters)
            return group.gather(tokens)

        run(context, tokens, coder)
    assert (logits[0] - logits[1]).abs().max() > 0.01


@pytest.mark.parametrize("index", [2, 3])
def test_a_dedicated_unit_says_that_a_flagged_block_is_empty_so_far(index):
    tokens, context = sparse_tokens(density=0.1), model()
    dedicate_units(context)
    level = context.levels[index]
    hidden = []
    for head in level.luma.heads:
        head.enter.register_forward_hook(lambda module, inputs, output: hidden.append(output[0, :, 0]))
    run(context, tokens, lambda group, parameters: group.gather(tokens))
    luma = tokens[level.level][..., :3]
    flagged = block_flags(tokens[level.level])[..., 0]
    empty = torch.ones_like(flagged)
    for k, ((i, j), head) in enumerate(zip(PHASES, level.luma.heads, strict=True)):
        if k:
            (unit,) = torch.nonzero((head.leave.weight == 0).all(0)).flatten()
            assert torch.equal(hidden[k][:, unit], empty[flagged].float())
        empty &= (luma[:, i::2, j::2] == 0).all(-1)
    assert not empty[flagged].any()


def overdue_groups(context: ContextModel, tokens: Subbands) -> list[tuple[CodingGroup, torch.Tensor]]:
    found = []

    def coder(group: CodingGroup | FlagGroup, parameters: torch.Tensor) -> torch.Tensor:
        if isinstance(group, CodingGroup) and group.overdue is not None:
            found.append((group, parameters))
        return group.gather(tokens)

    run(context, tokens, coder)
    return found


def test_blocks_are_overdue_when_little_is_left_to_be_not_zero():
    tokens = sparse_tokens(density=0.1)
    groups = overdue_groups(model(), tokens)
    assert [(g.level, g.phase, g.channels.start) for g, _ in groups] == [(l, (1, 0), c) for l in (2, 1) for c in (1, 2)]
    for group, _ in groups:
        luma = tokens[group.level][0, ..., :3].clone()
        flagged = block_flags(tokens[group.level])[0, ..., 0]
        luma[1::2, 0::2, group.channels.start :] = 0  # what is left to be coded
        nothing = ~block_flags(torch.nn.functional.pad(luma, (0, 6))[None])[0, ..., 0]
        assert torch.equal(group.overdue[0, ..., 0] & flagged, nothing & flagged) and (nothing & flagged).any()


def test_symbols_of_overdue_values_are_a_permutation():
    values = torch.arange(-5, 6)
    symbols = overdue_symbols(values)
    assert symbols.tolist() == [-5, -4, -3, -2, -1, 2, 0, 1, 3, 4, 5]
    assert torch.equal(overdue_values(symbols), values)


def test_overdue_values_cost_what_their_symbols_do():
    tokens, context = sparse_tokens(density=0.1), model()
    groups = overdue_groups(context, tokens)
    meter = estimator(context, tokens)
    collected = [q for q, *_ in meter.collected]
    for group, _ in groups:
        q = group.gather(tokens)
        symbols = torch.where(group.overdue, overdue_symbols(q), q).flatten(1)
        assert any(c.shape == symbols.shape and torch.equal(c, symbols) for c in collected)


def test_a_dedicated_unit_moves_predictions_of_overdue_values():
    context, tokens = model(), sparse_tokens(density=0.1)
    for module in context.modules():
        if getattr(module, "overdue", False):
            for condition in module.conditionals:
                torch.nn.init.zeros_(condition.leave.weight)
    before = overdue_groups(context, tokens)
    dedicate_overdue_units(context)
    for (group, a), (_, b) in zip(before, overdue_groups(context, tokens), strict=True):
        flagged = block_flags(tokens[group.level])[..., 0]
        change = (b - a)[flagged]
        overdue = group.overdue[..., 0][flagged].float()[:, None]
        assert torch.allclose(change, overdue * torch.tensor([-0.5, -1.0, 0.0]), atol=1e-5)


def test_everything_that_codes_flags_learns():
    context, tokens = model(), sparse_tokens()
    meter = RateEstimator(tokens, tokens, context.base, STEP)
    context.autoregressive_pass(FloatArithmetic(), context.step_features(STEP), *tokens.grid, meter)
    meter.bits().sum().backward()
    heads = [(n, p) for n, p in context.named_parameters() if ".flags." in n]
    assert len(heads) == 2 * 4 * 8 and all(p.grad.abs().sum() > 0 for n, p in heads)


def test_weights_that_do_not_say_so_have_no_flags():
    assert not context_config({"features": [8, 8, 8, 8]}).flags
    assert not any("flags" in name for name in ContextModel(replace(SMALL, flags=False)).state_dict())


def test_the_layer_table_counts_the_flags():
    preset = PRESETS["cnn"]
    rows = {row.layer: row for row in table_of(preset.family, preset.config, SMALL, 256, 256)}
    context = ContextModel(SMALL)
    counted = sum(row.parameters for name, row in rows.items() if name.startswith("context"))
    assert counted == sum(p.numel() for p in context.parameters())
